"""Rows of a report made from predictions: what every part of the study says of its runs alike.

Scores and differences have their interval and n, differences in UAR their test over speakers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ser_generalize.benchmark.sections import DIFFERENCE, POOLED, SCORE, Row
from ser_generalize.predictions import About, Predictions
from ser_generalize.significance import (
    ALPHA,
    holm,
    mean_ranks,
    p_values,
    paired,
    smallest_p,
    undecidable,
)
from ser_generalize.statistics import (
    MACRO_AVERAGE,
    Clusters,
    Estimate,
    MakeEstimate,
    Result,
    common_clips,
    difference_estimate,
    results,
    score_estimate,
    speaker_clusters,
)
from ser_generalize.statistics import pooled as pool
from ser_generalize.summary import percent, points

UAR = "uar"
MEAN_RANK = "mean rank"
# What `effect_rows` says of a difference beside its size.
RANK_BISERIAL = "rank-biserial correlation"  # its p is that of Wilcoxon's test
STANDARDISED = "standardised difference"
DETECTABLE = "detectable difference"  # found four times of five


def score_rows(
    part: str,
    table: str,
    run: Predictions,
    metrics: Sequence[str] = (UAR,),
    pooled: bool = False,
    **said: Any,
) -> list[Row]:
    """Return the scores of a run: of every corpus, macro-averaged and, if asked for, pooled.

    `said` are columns that the run itself does not know, or says otherwise.
    """
    found = _results(speaker_clusters([run]), score_estimate, pooled)
    return _rows(part, table, run.about, found, metrics, SCORE, said)


def difference_rows(
    part: str,
    table: str,
    first: Predictions,
    second: Predictions,
    metrics: Sequence[str] = (UAR,),
    pooled: bool = False,
    **said: Any,
) -> list[Row]:
    """Return `second` minus `first` on their common clips, see `statistics.compare`.

    Rows of UAR have the p-value of the permutation test; `adjusted` adjusts those of a table.
    """
    clusters = speaker_clusters(common_clips(first, second))
    said = {"compared_with": first.about.run, **said}
    found = _results(clusters, difference_estimate, pooled)
    rows = _rows(part, table, second.about, found, metrics, DIFFERENCE, said)
    tested = {**p_values(clusters), **p_values(_together(clusters, pooled))}
    return [
        replace(row, p=tested[result.corpus]) if row.metric == UAR else row
        for row, result in zip(rows, [one for one in found for _ in metrics], strict=True)
    ]


def effect_rows(
    part: str, table: str, first: Predictions, second: Predictions, **said: Any
) -> list[Row]:
    """Return how large `second` minus `first` is against its spread over speakers.

    These are no shares: see `significance.Paired`. What does not exist has no row.
    """
    said = {**of_about(second.about), "compared_with": first.about.run, **said}
    rows = []
    for one in paired(speaker_clusters(common_clips(first, second))):
        values = {
            RANK_BISERIAL: one.rank_biserial,
            STANDARDISED: one.standardised,
            DETECTABLE: one.detectable,
        }
        for metric, value in values.items():
            if value is not None:
                row = Row(part, table, value, one.corpus, metric=metric, speakers=one.speakers)
                p = one.wilcoxon if metric == RANK_BISERIAL else None
                rows.append(replace(row, p=p, **said))
    return rows


def adjusted(rows: Sequence[Row], smallest: Sequence[float] = ()) -> list[Row]:
    """Return the rows of a table with Holm-adjusted p-values, all that have a p being a family.

    A row whose speakers are too few for any p-value of this family to count says so; `smallest` are
    the smallest p-values that rows can have, by default those of paired tests.
    """
    family = sum(row.p is not None for row in rows)
    least = smallest or [smallest_p(row.speakers) for row in rows]
    values = holm([row.p for row in rows])
    return [
        row
        if p is None
        else replace(
            row, p_adjusted=p, note=_notes(row.note, undecidable(row.speakers, low, family))
        )
        for row, p, low in zip(rows, values, least, strict=True)
    ]


def families(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with adjusted p-values: averages over corpora are a family, corpora another.

    Who asks about all corpora together does not pay for every question about one of them.
    """
    kinds = [
        [row for row in rows if row.corpus in (MACRO_AVERAGE, POOLED)],
        [row for row in rows if row.corpus not in (MACRO_AVERAGE, POOLED)],
    ]
    return [row for kind in kinds for row in adjusted(kind)]


def rank_rows(rows: Sequence[Row], method: str, table: str) -> tuple[list[Row], float | None]:
    """Return a row with the mean rank over corpora of every method, and the critical difference.

    `rows` are scores; `method` names the Row field that tells the methods apart. A corpus counts
    where every method was scored. No rows for fewer than three methods or two such corpora.
    """
    scores: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.corpus not in (MACRO_AVERAGE, POOLED) and row.metric == UAR and row.kind == SCORE:
            scores.setdefault(row.corpus, {})[getattr(row, method)] = row
    methods = list(dict.fromkeys(getattr(row, method) for row in rows))
    complete = [found for found in scores.values() if len(found) == len(methods)]
    if len(methods) < 3 or len(complete) < 2:
        return [], None
    ranks = mean_ranks(np.array([[found[name].value for name in methods] for found in complete]))
    common: dict[str, Any] = {
        "table": table,
        "corpus": MACRO_AVERAGE,
        "metric": MEAN_RANK,
        "low": None,
        "high": None,
        "chance": None,
        "clips": sum(found[methods[0]].clips for found in complete),
        "speakers": sum(found[methods[0]].speakers for found in complete),
        "note": f"over {ranks.corpora} corpora; Friedman p {p_value(ranks.p)}",
    }
    made = [
        replace(complete[0][name], value=mean, **common)
        for name, mean in zip(methods, ranks.mean, strict=True)
    ]
    return made, ranks.critical


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


def macro(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the row that speaks for all corpora: their macro-average, or of one corpus its own."""
    rows = list(rows)
    averages = [row for row in rows if row.corpus == MACRO_AVERAGE]
    yield from averages or rows


def in_words(row: Row) -> str:
    """Return a number with its interval and what it rests on: "71.3 (65.0 to 76.9; 9 speakers)"."""
    show = points if row.kind == DIFFERENCE else percent
    ends = "no interval"
    if row.low is not None and row.high is not None:
        ends = f"{show(row.low)} to {show(row.high)}"
    who, p = f"{row.speakers:,} speakers", _p(row)
    said = [ends, who, *([] if p is None else [f"p {p_value(p)}"])]
    return f"{show(row.value)} ({'; '.join(said)})"


def p_value(p: float) -> str:
    """Return a p-value with its sign of relation, e.g. "= .031" or "< .001"."""
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("= 0.", "= .")


def is_clear(row: Row) -> bool:
    """Return whether a difference is one: its interval leaves zero out, and its test agrees."""
    if row.low is None or row.high is None or row.low <= 0 <= row.high:
        return False
    p = _p(row)
    return p is None or p <= ALPHA


def verdict(row: Row, second: str, first: str) -> str:
    """Return a sentence on `second` minus `first`: better, worse or not to be told apart."""
    if row.low is None:
        said = f"too few speakers to tell {second} from {first}"
    elif is_clear(row):
        said = f"{second} {'beat' if row.value > 0 else 'fell behind'} {first}"
    else:
        said = f"{second} and {first} cannot be told apart"
    return f"{said} {where(row)}: {in_words(row)} points"


def clear_first(verdicts: Iterable[str]) -> list[str]:
    """Return sentences of `verdict`, those that say of a difference that it is one first."""
    return sorted(verdicts, key=lambda said: "cannot be told apart" in said)


def where(row: Row) -> str:
    """Return where a row was measured, for a sentence."""
    averages = {MACRO_AVERAGE: "in the macro-average over corpora", POOLED: "over all clips pooled"}
    return averages.get(row.corpus, f"on {row.corpus}")


def _p(row: Row) -> float | None:
    return row.p if row.p_adjusted is None else row.p_adjusted


def _results(
    clusters: Mapping[str, Clusters], estimate: MakeEstimate, pooled: bool
) -> list[Result]:
    """Return results per corpus, of several macro-averaged and, if asked for, pooled."""
    return [*results(clusters, estimate), *results(_together(clusters, pooled), estimate)]


def _together(clusters: Mapping[str, Clusters], pooled: bool) -> dict[str, Clusters]:
    return {POOLED: pool(clusters)} if pooled and len(clusters) > 1 else {}


def _rows(
    part: str,
    table: str,
    about: About,
    found: Iterable[Result],
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
                chance=result.chance if kind == SCORE and metric == UAR else None,
                clips=result.clips,
                speakers=result.speakers,
                **of_about(about),
                **estimated(result.estimates[metric]),
            ),
            **said,
        )
        for result in found
        for metric in metrics
    ]


def _notes(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
