"""Adaptation: by whose unlabelled clips, how far few of them count, and that no label is used."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make_dataset import Row, change_dataset, rows_of
from make_runs import runs_in, score_of
from make_store import embeddings, write_store
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ser_generalize import adapt
from ser_generalize.adapt import (
    CORPUS,
    SPEAKER,
    Adaptation,
    Column,
    UnlabelledClips,
    calibrate,
    domains,
    parse_adapt,
)
from ser_generalize.errors import InputError
from ser_generalize.heads import Scaler, fit_scaler
from ser_generalize.mixture import Mixture
from ser_generalize.predictions import Predictions
from ser_generalize.summary import group_runs, read_runs
from ser_generalize.training import Job, Recipe
from ser_generalize.training import train as train_heads

LAYERS, WIDTH = 2, 3
ALL = Adaptation(SPEAKER)


@st.composite
def clips(draw: st.DrawFn, fewest: int = 1) -> tuple[Tensor, Column]:
    """Draw features [clips, layers, width] and their domains, each with so many clips or more."""
    counts = draw(st.lists(st.integers(fewest, 9), min_size=2, max_size=5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = np.repeat([f"speaker:{number}" for number in range(len(counts))], counts)
    offsets = 5 * generator.normal(size=(len(counts), LAYERS, WIDTH))
    values = np.repeat(offsets, counts, axis=0) + generator.normal(size=(len(names), LAYERS, WIDTH))
    order = generator.permutation(len(names))
    return torch.from_numpy(values[order].astype(np.float32)), names[order].astype(object)


def training_of(features: Tensor) -> Scaler:
    return fit_scaler(features, torch.arange(len(features)))


@given(clips(fewest=4))
@settings(deadline=None, max_examples=30)
def test_without_shrinkage_every_domain_is_standardised_by_itself(
    drawn: tuple[Tensor, Column],
) -> None:
    features, names = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapt, "SHRINKAGE", 1e-9)
        scaler = UnlabelledClips(features, names, ALL).in_scoring.of_all(training_of(features))
    found = scaler(features).flatten(1).numpy()
    for name in set(names):
        own = features[torch.from_numpy(names == name)].flatten(1).numpy()
        bessel = np.sqrt((len(own) - 1) / len(own))
        expected = StandardScaler().fit_transform(own) * bessel
        np.testing.assert_allclose(found[names == name], expected, rtol=1e-3, atol=1e-3)


@given(clips())
@settings(deadline=None, max_examples=30)
def test_with_all_shrinkage_or_without_clips_the_training_statistics_stay(
    drawn: tuple[Tensor, Column],
) -> None:
    features, names = drawn
    training = training_of(features)
    nothing = UnlabelledClips(features, names, Adaptation(SPEAKER, 0)).in_scoring.of_all(training)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapt, "SHRINKAGE", 1e9)
        shrunk = UnlabelledClips(features, names, ALL).in_scoring.of_all(training)
    for scaler in (nothing, shrunk):
        for found, expected in zip(astuple(scaler), astuple(training), strict=True):
            torch.testing.assert_close(found, expected.expand_as(found), rtol=1e-4, atol=1e-4)


def astuple(scaler: Scaler) -> tuple[Tensor, Tensor]:
    return scaler.mean, scaler.deviation


@given(clips(), st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_a_domain_depends_on_its_own_clips_alone(drawn: tuple[Tensor, Column], count: int) -> None:
    features, names = drawn
    training, mine = training_of(features), torch.from_numpy(names == names[0])
    others = torch.where(mine[:, None, None], features, 100 * features + 7)
    renamed = np.where(names == names[0], names, "another")
    adaptation = Adaptation(SPEAKER, count)
    first = UnlabelledClips(features, names, adaptation).in_scoring.of_all(training)
    for values, called in ((others, names), (others, renamed)):
        second = UnlabelledClips(values, called, adaptation).in_scoring.of_all(training)
        for one, two in zip(astuple(first), astuple(second), strict=True):
            torch.testing.assert_close(one[mine], two[mine])


@given(clips(), st.integers(0, 8))
@settings(deadline=None, max_examples=30)
def test_a_checkpoint_is_calibrated_as_a_run_is(drawn: tuple[Tensor, Column], row: int) -> None:
    """What `predict --calibrate` computes for one speaker is what scoring did for all of them."""
    features, names = drawn
    training, mine = training_of(features), torch.from_numpy(names == names[row % len(names)])
    run = UnlabelledClips(features, names, ALL).in_scoring.of_all(training)
    found = calibrate(training, features[mine])
    for one, two in zip(astuple(run), astuple(found), strict=True):
        torch.testing.assert_close(one[mine][0], two)


def test_nothing_known_changes_nothing_and_what_never_varies_divides_by_no_zero() -> None:
    features = torch.ones(40, LAYERS, WIDTH)
    training = training_of(features)
    for known in (features[:0], features[:1], features):
        found = calibrate(training, known)
        assert (found.deviation > 0).all()
        torch.testing.assert_close(found(features), torch.zeros_like(features))


def test_more_clips_include_the_fewer() -> None:
    features = torch.zeros(30, LAYERS, WIDTH)
    features[:, 0, 0] = 2.0 ** torch.arange(30)  # the sum names its clips
    names = np.array(["speaker:1"] * 30, dtype=object)

    def heard(count: int) -> int:
        known = UnlabelledClips(features, names, Adaptation(SPEAKER, count)).in_scoring
        assert known.clips.tolist() == [count]
        return round(float(known.mean[0, 0, 0].double()) * count)

    assert heard(5) & heard(2) == heard(2) and heard(5).bit_count() == 5
    assert heard(2) != 0b11  # drawn, not the first of them: those are all neutral in RAVDESS


def test_a_head_hears_speakers_known_by_no_clip_few_and_all() -> None:
    names = np.repeat([f"speaker:{number}" for number in range(50)], 30).astype(object)
    features = torch.randn(len(names), 1, 2, generator=torch.Generator().manual_seed(0))
    unlabelled = UnlabelledClips(features, names, ALL)
    counts = unlabelled.in_epoch(3).clips
    assert set(counts.tolist()) == {*adapt.SIMULATED, 30}
    torch.testing.assert_close(counts, unlabelled.in_epoch(3).clips)
    assert (counts != unlabelled.in_epoch(4).clips).any()
    assert (unlabelled.in_scoring.clips == 30).all()
    corpus = UnlabelledClips(features, names, Adaptation(CORPUS))
    assert (corpus.in_epoch(3).clips == 30).all()  # a corpus is never known by a few


def test_a_fold_does_not_depend_on_the_company_it_is_trained_in() -> None:
    generator = np.random.default_rng(0)
    names = np.repeat(["one", "two", "three"], 24).astype(object)
    labels = np.tile([0, 1], 36)
    features = torch.from_numpy(generator.normal(size=(72, LAYERS, 4)).astype(np.float32))
    features[:, 0, 0] += torch.from_numpy(labels)
    jobs = [job(names, labels, name, seed) for seed, name in enumerate(["one", "two"])]
    unlabelled = UnlabelledClips(features, names, Adaptation(SPEAKER, 5))

    def logits(of: Sequence[Job]) -> list[np.ndarray]:  # type: ignore[type-arg]
        trained = train_heads(
            features, labels, of, (8,), 2, Recipe(epochs=3), unlabelled=unlabelled
        )
        return [one.logits for one in trained]

    together = logits(jobs)
    for one, alone in zip(together, [logits([each])[0] for each in jobs], strict=True):
        np.testing.assert_allclose(one, alone, atol=1e-5)


def job(names: Column, labels: np.ndarray, test: str, seed: int) -> Job:  # type: ignore[type-arg]
    rows, none = np.flatnonzero(names != test), np.zeros(0, dtype=np.int64)
    unmixed = np.zeros(len(rows), dtype=np.float32)
    mixture = Mixture(rows, rows, unmixed, labels[rows], labels[rows])
    return Job(test, seed, mixture, rows, np.flatnonzero(names == test), none)


def test_clips_of_unknown_speaker_stand_together_by_corpus() -> None:
    corpora = np.array(["a", "a", "b", "b"], dtype=object)
    speakers = np.array(["a:1", None, "b:1", None], dtype=object)
    assert domains(SPEAKER, corpora, speakers).tolist() == ["a:1", "a", "b:1", "b"]
    assert domains(CORPUS, corpora, speakers).tolist() == corpora.tolist()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("none", "none"),
        ("corpus", "corpus-adapted"),
        ("speaker", "speaker-adapted"),
        ("speaker:5", "speaker-adapted by 5 clips"),
        ("speaker:1", "speaker-adapted by 1 clip"),
    ],
)
def test_every_adaptation_has_its_name(text: str, name: str) -> None:
    assert parse_adapt(text).name == name


@pytest.mark.parametrize("text", ["", "all", "speaker:", "speaker:-1", "speaker:few", "corpus:3"])
def test_another_adaptation_is_a_clear_mistake(text: str) -> None:
    with pytest.raises(InputError, match=r"none, corpus, speaker .* speaker:5"):
        parse_adapt(text)


Run = Callable[..., Predictions]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs_in(tmp_path)


def shifted(dataset: Path, store: Path, out: Path) -> Path:
    """Write a store in which speakers are far apart and classes are not."""
    rows, generator = rows_of(dataset), np.random.default_rng(0)
    values = embeddings(rows, store).astype(np.float32)
    values[:] = generator.normal(size=values.shape)
    emotion = generator.normal(size=(24, *values.shape[1:]))
    voice = {name: 6 * generator.normal(size=values.shape[1:]) for name in speakers(rows)}
    for row, value in zip(rows, values, strict=True):
        value += 1.5 * emotion[row["emotion"]] + voice[row["speaker"]]
    return write_store(out, rows, values.astype(np.float16), like=store)


def speakers(rows: Sequence[Row]) -> list[str]:
    return sorted({row["speaker"] for row in rows})


@pytest.mark.parametrize("head", ["32", "logistic", "lda"])
def test_speakers_far_apart_are_brought_together(
    head: str, run: Run, dataset: Path, store: Path, tmp_path: Path
) -> None:
    far = shifted(dataset, store, tmp_path / "far")
    plain = run(dataset, far, head=head)
    adapted = run(dataset, far, "--adapt", "speaker", head=head)
    assert score_of(adapted) > score_of(plain) + 0.2
    assert score_of(adapted) > 0.8
    assert (plain.about.adapt, adapted.about.adapt) == ("none", "speaker-adapted")
    assert adapted.about.run.startswith("speaker-adapted ")
    assert "adapted" not in plain.about.run
    assert any(
        "clips that are scored among them; 0 of 4 have fewer than" in note
        for note in adapted.about.notes
    )


def test_no_label_of_a_test_speaker_is_used(
    run: Run, dataset: Path, store: Path, tmp_path: Path
) -> None:
    """Exchange the classes of one speaker's clips: what is predicted of that speaker stays."""

    def exchange(rows: list[Row]) -> list[Row]:
        return [
            row | ({"label4": 3 - row["label4"]} if is_of_four(row, "ravdess:02") else {})
            for row in rows
        ]

    changed = change_dataset(dataset, tmp_path / "data", exchange)
    found = [run(data, store, "--adapt", "speaker:5") for data in (dataset, changed)]
    mine = found[0].column("speaker") == "ravdess:02"
    assert (found[0].labels()[mine] != found[1].labels()[mine]).all()
    np.testing.assert_array_equal(*(one.probabilities()[mine] for one in found))


def is_of_four(row: Row, speaker: str) -> bool:
    return row["speaker"] == speaker and row["label4"] is not None


def test_a_speakers_clips_outside_the_label_set_count(
    run: Run, dataset: Path, store: Path, tmp_path: Path
) -> None:
    """Choosing the clips inside it would be using their labels."""
    rows = rows_of(dataset)
    values = embeddings(rows, store)
    outside = [row["label4"] is None and row["speaker"] == "ravdess:02" for row in rows]
    values[outside] = values[outside][:, :, :, ::-1]
    other = write_store(tmp_path / "other", rows, values, like=store)
    for adaptation, same in (("none", True), ("speaker", False), ("corpus", False)):
        pair = [run(dataset, one, "--adapt", adaptation) for one in (store, other)]
        first, second = (one.probabilities() for one in pair)
        assert np.array_equal(first, second) == same, adaptation


def test_a_report_keeps_adapted_results_apart(
    run: Run, dataset: Path, store: Path, tmp_path: Path
) -> None:
    for adaptation in ("none", "corpus", "speaker:2", "none"):
        options = ["--sampler", "over"] if (tmp_path / "run1").exists() else []
        run(dataset, store, "--adapt", adaptation, *options)
    groups = group_runs(read_runs(sorted(tmp_path.glob("run*"))))
    titles = [group.label_set for group in groups]
    assert titles == ["four", "four, corpus-adapted", "four, speaker-adapted by 2 clips"]
    assert [len(group.runs) for group in groups] == [2, 1, 1]
    assert [len(group.comparisons) for group in groups] == [1, 0, 0]


def test_a_few_clips_need_a_head_that_is_trained_in_epochs(
    run: Run, dataset: Path, store: Path
) -> None:
    with pytest.raises(InputError, match="--adapt speaker:5 is for heads"):
        run(dataset, store, "--adapt", "speaker:5", head="logistic")


def test_old_predictions_are_plain(run: Run, dataset: Path, store: Path) -> None:
    fields = asdict(run(dataset, store).about)
    del fields["adapt"]
    assert type(run(dataset, store).about)(**fields).adapt == "none"
