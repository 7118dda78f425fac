"""Rows of a report made from predictions: what every part of the study says of its runs alike."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ser_generalize.benchmark.sections import DIFFERENCE, POOLED, SCORE, Row
from ser_generalize.predictions import About, Predictions
from ser_generalize.scores import chance
from ser_generalize.statistics import (
    MACRO_AVERAGE,
    Estimate,
    Result,
    compare,
    sample,
    score,
    score_estimate,
    speaker_clusters,
)
from ser_generalize.summary import percent, points


def score_rows(
    part: str,
    table: str,
    run: Predictions,
    metrics: Sequence[str] = ("uar",),
    pooled: bool = False,
    **said: Any,
) -> list[Row]:
    """Return the scores of a run: of every corpus, macro-averaged and, if asked for, pooled.

    `said` are columns that the run itself does not know, or says otherwise.
    """
    results = score(run)
    if pooled and len(results) > 1:
        results = [*results, pooled_result(run)]
    return _rows(part, table, run.about, results, metrics, SCORE, said)


def difference_rows(
    part: str,
    table: str,
    first: Predictions,
    second: Predictions,
    metrics: Sequence[str] = ("uar",),
    **said: Any,
) -> list[Row]:
    """Return `second` minus `first` on their common clips, see `statistics.compare`."""
    said = {"compared_with": first.about.run, **said}
    return _rows(part, table, second.about, compare(first, second), metrics, DIFFERENCE, said)


def pooled_result(run: Predictions) -> Result:
    """Score all clips of all corpora together, so that large corpora rule."""
    clusters = speaker_clusters([run]).values()
    counts = np.concatenate([one.counts for one in clusters], axis=1)
    speakers = sum(one.known for one in clusters)
    estimates = {
        name: score_estimate(sampled, speakers) for name, sampled in sample(counts).items()
    }
    clips = sum(one.clips for one in clusters)
    return Result(POOLED, clips, speakers, float(chance(counts[0].sum(0))), estimates)


def of_about(about: About) -> dict[str, Any]:
    """Return the columns of a row that a run knows of itself."""
    return {
        "trained_on": about.train_on,
        "protocol": about.protocol,
        "leaks": ",".join(about.leaks),
        "label_set": about.label_set,
        "encoder": about.encoder,
        "window": about.window,
        "sampler": about.sampler,
        "head": about.head,
        "adapt": about.adapt,
        "run": about.run,
    }


def estimated(estimate: Estimate) -> dict[str, Any]:
    """Return the columns of a row that an estimate fills."""
    interval = estimate.interval
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {"value": estimate.value, "low": low, "high": high, "note": estimate.note}


def _rows(
    part: str,
    table: str,
    about: About,
    results: Iterable[Result],
    metrics: Sequence[str],
    kind: str,
    said: dict[str, Any],
) -> list[Row]:
    return [
        replace(
            Row(
                part=part,
                table=table,
                corpus=result.corpus,
                metric=metric,
                kind=kind,
                chance=result.chance if kind == SCORE and metric == "uar" else None,
                clips=result.clips,
                speakers=result.speakers,
                **of_about(about),
                **estimated(result.estimates[metric]),
            ),
            **said,
        )
        for result in results
        for metric in metrics
    ]


def macro(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the row that speaks for all corpora: their macro-average, or of one corpus its own."""
    rows = list(rows)
    averages = [row for row in rows if row.corpus == MACRO_AVERAGE]
    yield from averages or rows


def in_words(row: Row) -> str:
    """Return a number with its interval and what it rests on: "71.3 (65.0 to 76.9; 9 speakers)"."""
    show = points if row.kind == DIFFERENCE else percent
    who = f"{row.speakers:,} speakers"
    if row.low is None or row.high is None:
        return f"{show(row.value)} (no interval; {who})"
    return f"{show(row.value)} ({show(row.low)} to {show(row.high)}; {who})"


def is_clear(row: Row) -> bool:
    """Return whether the interval of a difference leaves zero out."""
    return row.low is not None and row.high is not None and (row.low > 0 or row.high < 0)
