"""Heads that are trained on degraded copies of their training clips as well."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_dataset import Row, few, rows_of
from make_runs import arguments, runs_in, score_of, trained
from make_store import embeddings, write_store
from numpy.typing import NDArray

from ser_generalize import report, train
from ser_generalize.cell import Cell
from ser_generalize.data import read_data, read_features
from ser_generalize.embed import embed
from ser_generalize.embeddings import read_manifest, write_manifest
from ser_generalize.encoder import Settings
from ser_generalize.errors import InputError
from ser_generalize.mixture import BALANCED, MIXUP, SHUFFLED, Mixture
from ser_generalize.predictions import Predictions
from ser_generalize.resampling import SAMPLERS

NOISE, FAST = "noise:0", "speed:1.1"  # of the fixtures `noisy` and `fast`

Values = NDArray[np.float16]
Run = Callable[..., Predictions]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs_in(tmp_path)


@pytest.fixture(scope="module")
def fast(dataset: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the dataset, every clip faster and higher."""
    folder = tmp_path_factory.mktemp("fast") / "store"
    settings = Settings(dtype="fp32")
    embed(str(dataset), str(tiny_encoder), folder, settings=settings, degradation=FAST)
    return folder


def planted(rows: Sequence[Row], like: Values, seed: int) -> Values:
    """Return embeddings in which every emotion has a place, drawn anew for every seed."""
    places = np.random.default_rng(seed).normal(size=(24, *like.shape[1:]))
    noise = np.random.default_rng(99).normal(size=like.shape)
    return (3 * places[[row["emotion"] for row in rows]] + noise).astype(np.float16)


@given(
    st.sampled_from([SHUFFLED, BALANCED, MIXUP]),
    st.integers(1, 4),
    st.integers(0, 9),
)
def test_an_epoch_hears_half_of_the_rows_in_some_copy(batches: str, copies: int, seed: int) -> None:
    rows, labels = np.arange(600), np.arange(600) % 3
    weight = np.linspace(0, 1, 600, dtype=np.float32)
    plain = Mixture(rows, rows[::-1].copy(), weight, labels, labels, batches)
    further = tuple(1000 * copy for copy in range(1, copies + 1))
    augmented = Mixture(rows, rows[::-1].copy(), weight, labels, labels, batches, further)
    before, after = (one.epoch(np.random.default_rng(seed)) for one in (plain, augmented))
    moved = after.first - before.first
    np.testing.assert_array_equal(moved, after.second - before.second)  # both in the same copy
    assert set(moved) == {0, *further}
    assert (moved > 0).mean() == pytest.approx(0.5, abs=0.1)
    for name in ("weight", "label", "second_label"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


@pytest.mark.parametrize("options", [
    *[("--sampler", name) for name in SAMPLERS],
    ("--adapt", "corpus"),
    ("--seeds", "2"),
    ("--layers", "1", "--pooling", "std"),
    ("--stop", "early", "--loss", "weighted"),
])  # fmt: skip
def test_copies_that_are_no_different_change_nothing(
    options: tuple[str, ...], run: Run, dataset: Path, store: Path, noisy: Path, tmp_path: Path
) -> None:
    rows = rows_of(dataset)
    copy = write_store(tmp_path / "copy", rows, embeddings(rows, store), like=noisy)
    usual = run(dataset, store, *options)
    augmented = run(dataset, store, *options, "--augment", copy)
    np.testing.assert_array_equal(usual.probabilities(), augmented.probabilities())
    assert (usual.about.augmented, augmented.about.augmented) == ((), (NOISE,))
    assert f"augmented {NOISE}" in augmented.about.run
    assert any(f"in a degraded copy of it: {NOISE}" in note for note in augmented.about.notes)


@pytest.mark.parametrize("head", ["64", "logistic", "lda"])
def test_what_was_heard_in_training_is_recognised(
    head: str, run: Run, dataset: Path, store: Path, noisy: Path, tmp_path: Path
) -> None:
    rows = rows_of(dataset)
    like = embeddings(rows, store)
    good = write_store(tmp_path / "good", rows, planted(rows, like, 0), like=store)
    bad = write_store(tmp_path / "bad", rows, planted(rows, like, 1), like=noisy)
    unheard = run(dataset, good, "--test-embeddings", bad, head=head)
    heard = run(dataset, good, "--test-embeddings", bad, "--augment", bad, head=head)
    assert score_of(unheard) < 0.5 < 0.9 < score_of(heard)
    assert score_of(run(dataset, good, "--augment", bad, head=head)) > 0.9
    assert (heard.about.degraded, heard.about.augmented) == (NOISE, (NOISE,))


def test_every_copy_is_heard_and_what_is_tested_is_none_of_them(
    run: Run, dataset: Path, store: Path, noisy: Path, fast: Path, tmp_path: Path
) -> None:
    rows = rows_of(dataset)
    like = embeddings(rows, store)
    good, *others = (
        write_store(tmp_path / str(seed), rows, planted(rows, like, seed), like=key)
        for seed, key in enumerate((store, noisy, fast))
    )
    for tested in others:
        found = run(dataset, good, "--augment", *others, "--test-embeddings", tested, head="64")
        assert score_of(found) > 0.8
    first, second = others
    found = run(dataset, good, "--augment", first, "--test-embeddings", second, head="64")
    assert score_of(found) < 0.5
    assert (found.about.augmented, found.about.degraded) == ((NOISE,), FAST)


@pytest.mark.parametrize("adapt", ["none", "corpus"])
def test_the_rows_of_every_store_lie_where_the_cell_says(
    adapt: str, dataset: Path, store: Path, noisy: Path, fast: Path
) -> None:
    tested = noisy if adapt == "none" else None
    augment = (fast,) if tested else (fast, noisy)
    cell = Cell(str(dataset), store, adapt=adapt, augment=augment, test_embeddings=tested)
    data = read_data(cell)
    features, size = read_features(cell, data), len(data.clips)
    assert bool(len(data.others)) == (adapt != "none")
    for start, other in [(0, store), *zip(data.copies, data.augmented.values(), strict=True)]:
        plain = replace(cell, embeddings=other, augment=(), test_embeddings=None)
        alone = read_features(plain, read_data(plain))
        np.testing.assert_array_equal(features[start : start + data.total], alone)
    if tested:
        plain = replace(cell, embeddings=tested, augment=(), test_embeddings=None)
        alone = read_features(plain, read_data(plain))
        np.testing.assert_array_equal(features[data.tested_from :], alone[:size])
    else:
        assert data.tested_from == 0 and len(features) == data.total * 3


@pytest.mark.parametrize("options", [(), ("--adapt", "speaker:5", "--sampler", "smote")])
def test_no_copy_of_a_tested_clip_is_trained_on(
    options: tuple[str, ...], run: Run, dataset: Path, store: Path, noisy: Path, tmp_path: Path
) -> None:
    """Change the copies of one speaker's clips: what is predicted of that speaker stays."""
    rows = rows_of(dataset)
    values = embeddings(rows, noisy)
    theirs = np.array([row["speaker"] == "ravdess:02" for row in rows])
    values[theirs] = values[theirs][..., ::-1]
    changed = write_store(tmp_path / "changed", rows, values, like=noisy)
    found = [run(dataset, store, *options, "--augment", one) for one in (noisy, changed)]
    mine = found[0].column("speaker") == "ravdess:02"
    first, second = (one.probabilities() for one in found)
    np.testing.assert_array_equal(first[mine], second[mine])
    assert (first[~mine] != second[~mine]).any(axis=1).all()


def test_the_order_of_the_copies_does_not_count(
    run: Run, dataset: Path, store: Path, noisy: Path, fast: Path
) -> None:
    first = run(dataset, store, "--augment", noisy, fast)
    second = run(dataset, store, "--augment", fast, noisy)
    assert first.about == second.about and first.about.augmented == (NOISE, FAST)
    assert first.table.equals(second.table)


def test_a_clip_that_a_copy_lacks_is_left_out(
    run: Run, dataset: Path, store: Path, noisy: Path, tmp_path: Path
) -> None:
    rows = [row for row in rows_of(dataset) if row["label4"] is not None]
    lost, kept = rows[0], rows[1:]
    other = write_store(tmp_path / "other", kept, embeddings(kept, noisy), like=noisy)
    write_manifest(other, read_manifest(noisy)[0], [{"clip_id": lost["clip_id"], "reason": "why"}])
    found = run(dataset, store, "--augment", other)
    assert set(found.column("clip_id")) == {row["clip_id"] for row in kept}
    said = "1 clips have no embedding in every store given and were left out"
    assert said in found.about.notes
    nothing = write_store(tmp_path / "nothing", kept[:3], embeddings(kept[:3], noisy), like=noisy)
    skipped = [{"clip_id": row["clip_id"], "reason": "why"} for row in rows]
    write_manifest(nothing, read_manifest(noisy)[0], skipped)
    with pytest.raises(InputError, match="no clip in the label set four has an embedding in every"):
        run(dataset, store, "--augment", nothing)


def test_what_is_trained_on_degraded_recordings_only_says_so(
    run: Run, dataset: Path, store: Path, noisy: Path, tmp_path: Path
) -> None:
    found = run(dataset, noisy)
    assert found.about.degraded == NOISE and f"trained on {NOISE}" in found.about.run
    assert f"trained on degraded recordings: {NOISE}" in found.about.notes
    clean = run(dataset, noisy, "--test-embeddings", store)
    assert clean.about.degraded == "none" and f"trained on {NOISE}" in clean.about.run
    run(dataset, store)
    with pytest.raises(InputError, match="degradation 'none', not 'noise:0'"):
        train.main(arguments(dataset, noisy, tmp_path / "run2"))


def test_what_is_no_copy_is_a_clear_mistake(
    run: Run, dataset: Path, store: Path, noisy: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="holds recordings as they are; give degraded copies"):
        run(dataset, store, "--augment", store)
    with pytest.raises(InputError, match=r"is degraded as .*store is \(noise:0\)"):
        run(dataset, noisy, "--augment", noisy)
    again = write_store(
        tmp_path / "again", rows_of(dataset), embeddings(rows_of(dataset), noisy), like=noisy
    )
    with pytest.raises(InputError, match=r"again is degraded as .* is \(noise:0\)"):
        run(dataset, store, "--augment", noisy, again)
    with pytest.raises(InputError, match="nothing does not exist"):
        run(dataset, store, "--augment", tmp_path / "nothing")
    other, settings = tmp_path / "fewer", Settings(dtype="fp32", layers=(0,))
    embed(str(dataset), str(tiny_encoder), other, settings=settings, degradation=NOISE)
    with pytest.raises(InputError, match=r"fewer holds embeddings of .* \(layers \(0,\)\)"):
        run(dataset, store, "--augment", other)
    with pytest.raises(InputError, match="--augment is for heads on a frozen encoder"):
        run(dataset, store, "--augment", noisy, "--tune", "lora")
    some = few(dataset, tmp_path / "some", 2)
    part = tmp_path / "part"
    settings = Settings(dtype="fp32")
    embed(str(some), str(tiny_encoder), part, settings=settings, degradation=NOISE)
    with pytest.raises(InputError, match=r"part lacks \d+ of"):
        run(dataset, store, "--augment", part)
    assert not list(tmp_path.glob("run*"))


def test_a_checkpoint_says_what_it_has_heard(
    run: Run, dataset: Path, store: Path, noisy: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    final = ("--final", "--encoder", tiny_encoder)
    run(dataset, store, *final)
    run(dataset, store, "--augment", noisy, *final)
    plain, augmented = (tmp_path / name / "checkpoint" for name in ("run0", "run1"))
    configs = [json.loads((one / "config.json").read_text()) for one in (plain, augmented)]
    assert [one["training"]["augmented"] for one in configs] == [[], [NOISE]]
    weights = [(one / "model.safetensors").read_bytes() for one in (plain, augmented)]
    assert weights[0] != weights[1]
    cards = [(one / "README.md").read_text() for one in (plain, augmented)]
    assert [f"in a degraded copy of it: {NOISE}" in card for card in cards] == [False, True]


def test_a_run_goes_on_only_with_the_same_copies(
    dataset: Path, store: Path, noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = ("--augment", str(noisy))
    trained(dataset, store, tmp_path / "run")
    with pytest.raises(InputError, match="augmented"):
        trained(dataset, store, tmp_path / "run", *copies)
    trained(dataset, store, tmp_path / "other", *copies)
    capsys.readouterr()
    report.main([str(tmp_path / "other"), "--out", str(tmp_path / "report")])
    assert f"in a degraded copy of it: {NOISE}" in " ".join(capsys.readouterr().out.split())
