"""Intervals and paired differences: coverage, agreement with a plain loop, pairing by clip."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from make_predictions import predictions, speaker_recalls
from numpy.typing import NDArray

from ser_generalize import scores, statistics
from ser_generalize.errors import InputError
from ser_generalize.predictions import Predictions
from ser_generalize.statistics import Interval, Result, compare, score

CORPORA = {"ravdess": (24, 4), "savee": (4, 10), "tess": (2, 20)}
TOLERANCE = 0.02  # three standard errors of a coverage of .95 over 1,000 simulations
SIMULATIONS = 1_000


def shuffled(run: Predictions, seed: int = 0) -> Predictions:
    order = np.random.default_rng(seed).permutation(run.table.num_rows)
    return Predictions(run.about, run.table.take(order))


def renamed(run: Predictions, column: str, values: list[object]) -> Predictions:
    index = run.table.column_names.index(column)
    field = run.table.schema.field(column)
    return Predictions(run.about, run.table.set_column(index, field, pa.array(values, field.type)))


def interval(result: Result, metric: str = "uar") -> Interval:
    found = result.estimates[metric].interval
    assert found is not None, result.estimates[metric].note
    return found


def confusions(
    generator: np.random.Generator, mean: float, clips: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Draw the counts [S, 4, 4] of new speakers, `clips` [S, 4] per speaker and class."""
    recalls = speaker_recalls(generator, len(clips), 4, mean, 0.7)
    shares = np.repeat((1 - recalls[..., None]) / 3, 4, axis=-1)
    shares[:, range(4), range(4)] = recalls
    return generator.multinomial(clips, shares)


def expected_recall(mean: float) -> float:
    return float(speaker_recalls(np.random.default_rng(9), 200_000, 4, mean, 0.7).mean())


def coverage(clips: Callable[[np.random.Generator], NDArray[np.int64]], mean: float) -> float:
    generator, truth, hits = np.random.default_rng(3), expected_recall(mean), 0
    for _ in range(SIMULATIONS):
        counts = confusions(generator, mean, clips(generator))
        sampled = statistics.sample(counts[None])["uar"]
        found = statistics.score_estimate(sampled, len(counts)).interval
        hits += found is not None and found.low <= truth <= found.high
    return hits / SIMULATIONS


@pytest.fixture
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a simulation take seconds: 1,000 resamples suffice for a standard error."""
    monkeypatch.setattr(statistics.resample, "__defaults__", (1_000, statistics.SEED))


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("speakers", [4, 10, 12, 24, 91])
@pytest.mark.parametrize("mean", [0.8, 2.5], ids=["UAR .68", "UAR .90"])
def test_interval_covers_the_uar_of_new_speakers(speakers: int, mean: float) -> None:
    found = coverage(lambda _: np.full((speakers, 4), 10), mean)
    assert found == pytest.approx(0.95, abs=TOLERANCE)


@pytest.mark.usefixtures("fewer_resamples")
def test_interval_covers_where_few_speakers_have_most_clips() -> None:
    def clips(generator: np.random.Generator) -> NDArray[np.int64]:
        sizes = generator.lognormal(0, 1.2, (60, 1)) * [8, 3, 2, 3]
        return np.ceil(sizes).astype(np.int64)

    assert coverage(clips, 0.3) == pytest.approx(0.95, abs=TOLERANCE)


def test_bootstrap_equals_a_plain_loop() -> None:
    counts = np.random.default_rng(5).integers(0, 9, (6, 3, 3))
    weights, drawn = statistics.speaker_weights(6, 50, 1), statistics.resample(counts, 50, 1)
    for weight, one in zip(weights, drawn, strict=True):
        resampled = [counts[speaker] for speaker in range(6) for _ in range(int(weight[speaker]))]
        assert len(resampled) == 6
        assert (sum(resampled) == one).all()


def test_score_is_pooled_then_averaged_over_corpora() -> None:
    results = {result.corpus: result for result in score(predictions(corpora=CORPORA))}
    point = scores.corpus_metrics(predictions(corpora=CORPORA))
    for corpus in CORPORA:
        assert results[corpus].estimates["uar"].value == point["corpora"][corpus]["uar"]
    average = results[statistics.MACRO_AVERAGE]
    assert average.estimates["macro_f1"].value == pytest.approx(point["macro_average"]["macro_f1"])
    assert 0 < interval(average).low < average.estimates["uar"].value < interval(average).high < 1
    assert average.speakers == 30


def test_no_interval_under_four_speakers_nor_without_variation() -> None:
    tess = score(predictions(corpora={"tess": (3, 20)}))[0].estimates["uar"]
    assert tess.interval is None
    assert "3 known speakers, at least 4" in tess.note
    perfect = score(predictions(mean=99.0))[0].estimates["uar"]
    assert (perfect.value, perfect.interval) == (1.0, None)
    assert "every speaker scores the same" in perfect.note


def test_interval_narrows_with_speakers_not_with_clips_of_the_same_speakers() -> None:
    def width(speakers: int, clips: int) -> float:
        found = interval(score(predictions(corpora={"x": (speakers, clips)}, spread=1.2))[0])
        return found.high - found.low

    assert width(80, 20) < 0.6 * width(16, 20)
    assert width(16, 100) > 0.6 * width(16, 20)


def test_row_order_does_not_matter() -> None:
    run, other = predictions(corpora=CORPORA), predictions(mean=1.5, corpora=CORPORA)
    assert score(run) == score(shuffled(run))
    assert compare(run, other) == compare(shuffled(run), shuffled(other, seed=7))


def test_clips_of_unknown_speaker_count_but_are_no_speaker() -> None:
    run = predictions(corpora={"asvp_esd": (6, 5)})
    speakers = [name if name != "asvp_esd:03" else None for name in run.column("speaker")]
    result = score(renamed(run, "speaker", speakers))[0]
    assert (result.speakers, result.clips) == (5, 120)
    assert interval(result).speakers == 5


def test_a_run_does_not_differ_from_itself() -> None:
    run = predictions(corpora=CORPORA)
    for result in compare(run, shuffled(run)):
        assert result.estimates["uar"].value == 0
        if result.corpus != "tess":
            assert (interval(result).low, interval(result).high) == (0, 0)


def test_difference_is_that_of_the_common_clips_and_narrower_than_unpaired() -> None:
    first, second = predictions(mean=0.5), predictions("better", mean=1.0)
    kept = np.random.default_rng(0).permutation(second.table.num_rows)[:600]
    second = Predictions(second.about, second.table.take(kept))
    shared = set(second.column("clip_id"))
    rows = [row for row, clip in enumerate(first.column("clip_id")) if clip in shared]
    cut = Predictions(first.about, first.table.take(rows))
    result = compare(first, second)[0]
    scores = [score(run)[0].estimates["uar"] for run in (cut, second)]
    assert result.clips == 600
    assert result.estimates["uar"].value == pytest.approx(scores[1].value - scores[0].value)
    paired, single = interval(result), scores[0].interval
    assert single is not None and paired.high - paired.low < single.high - single.low
    assert paired.low > 0


@pytest.mark.usefixtures("fewer_resamples")
def test_paired_difference_covers() -> None:
    generator, hits = np.random.default_rng(4), 0
    truth = expected_recall(1.3) - expected_recall(0.8)
    clips = np.full((12, 4), 10)
    for _ in range(SIMULATIONS):
        counts = np.stack([confusions(generator, mean, clips) for mean in (0.8, 1.3)])
        found = statistics.difference_estimate(statistics.sample(counts)["uar"], 12).interval
        hits += found is not None and found.low <= truth <= found.high
    assert hits / SIMULATIONS == pytest.approx(0.95, abs=TOLERANCE)


def test_runs_that_predict_clips_in_several_folds_are_joined_on_clip_and_fold() -> None:
    def crossed(mean: float) -> Predictions:
        one, two = (predictions(mean=mean, seed=0), predictions(mean=mean, seed=1))
        two = renamed(two, "fold", ["other"] * two.table.num_rows)
        return Predictions(one.about, pa.concat_tables([one.table, two.table]))

    result = compare(crossed(0.5), shuffled(crossed(1.5)))[0]
    assert result.clips == 24 * 4 * 8
    assert result.estimates["uar"].value > 0


def test_runs_that_cannot_be_compared_are_refused() -> None:
    run = predictions()
    with pytest.raises(InputError, match="no clip in common"):
        compare(run, predictions(corpora={"emodb": (5, 5)}))
    with pytest.raises(InputError, match="different classes"):
        compare(run, predictions(classes=("sad", "angry"), label_set="native"))
    with pytest.raises(InputError, match="true class of 192 clips: ravdess/00-angry-000, "):
        labels = ["sad" if label == "angry" else label for label in run.column("label")]
        compare(run, renamed(run, "label", labels))
    with pytest.raises(InputError, match="predicts a clip twice in one fold"):
        compare(run, replace(run, table=run.table.take([0, 0, 1])))
    with pytest.raises(InputError, match="predicts no clip"):
        score(replace(run, table=run.table.slice(0, 0)))
