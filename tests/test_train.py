"""`train` end to end: what a run folder holds, what options change, what its notes count."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from make_dataset import change_dataset, rows_of
from make_runs import SMOTE, SPEAKERS, contents, trained
from make_store import embeddings, write_store, write_two_corpora
from watching import count_calls

from ser_generalize import groups
from ser_generalize.errors import InputError
from ser_generalize.labels import FIVE, FOUR
from ser_generalize.predictions import COLUMNS, FILE_NAME, Predictions, read_predictions
from ser_generalize.resampling import NOTHING_GENERATED
from ser_generalize.scores import corpus_metrics
from ser_generalize.statistics import compare, score

FABRICATED = "fabricated speech: these figures say nothing about real voices"


def test_predictions_follow_the_contract(dataset: Path, smote: Path) -> None:
    clips = {row["clip_id"]: row for row in rows_of(dataset) if row["label4"] is not None}
    predictions = read_predictions(smote)
    found = predictions.table.to_pylist()
    assert predictions.table.column_names == [n for n, _ in COLUMNS] + [f"p_{n}" for n in FOUR]
    # Each once a seed, and none outside.
    assert [row["clip_id"] for row in found] == sorted([*clips] * 3)
    assert [row["seed"] for row in found] == [0, 1, 2] * len(clips)
    for row in found:
        clip = clips[row["clip_id"]]
        for column in ("corpus", "speaker", "sex", "age", "language", "elicitation"):
            assert row[column] == clip[column]
        assert row["label"] == FOUR[clip["label4"]]
        assert row["fold"] == row["speaker"]
    np.testing.assert_allclose(predictions.probabilities().sum(1), 1, atol=1e-5)
    assert set(predictions.column("speaker")) == set(SPEAKERS)


def test_the_run_folder_says_what_was_run(dataset: Path, smote: Path) -> None:
    assert {path.name for path in smote.iterdir()} == {
        "config.json", FILE_NAME, "metrics.json", "done",
    }  # fmt: skip
    config, about = json.loads((smote / "config.json").read_text()), read_predictions(smote).about
    asked = {"sampler": "smote", "protocol": "loso", "head": "8", "train_on": "each", "seeds": 3}
    for name, value in asked.items():
        assert config["cell"][name] == getattr(about, name) == value
    assert config["cell"]["corpora"] == ["ravdess"]
    assert config["versions"]["torch"] == torch.__version__
    assert (about.label_set, about.classes, about.leaks) == ("four", FOUR, ())
    assert about.notes == (FABRICATED, "averaged over 3 seeds: confusions count every clip 3 times")
    metrics = json.loads((smote / "metrics.json").read_text())
    assert metrics == corpus_metrics(read_predictions(smote))


def test_scores_are_means_over_seeds(smote: Path) -> None:
    found = read_predictions(smote)
    of_each = [
        Predictions(found.about, found.table.filter(found.table["seed"].to_numpy() == seed))
        for seed in range(3)
    ]
    whole, each = corpus_metrics(found), [corpus_metrics(one)["macro_average"] for one in of_each]
    assert len({one["uar"] for one in each}) > 1
    for name in ("uar", "accuracy"):
        assert whole["macro_average"][name] == pytest.approx(np.mean([one[name] for one in each]))
        assert [seed[name] for seed in whole["seeds"].values()] == [one[name] for one in each]
        assert score(found)[0].estimates[name].value == pytest.approx(whole["macro_average"][name])
    assert whole["corpora"]["ravdess"]["clips"] == 56
    assert whole["corpora"]["ravdess"]["speakers"] == len(SPEAKERS)


def test_runs_of_more_and_of_fewer_seeds_are_compared(
    dataset: Path, store: Path, smote: Path, tmp_path: Path
) -> None:
    one = read_predictions(trained(dataset, store, tmp_path / "run", "--sampler", "smote"))
    three = read_predictions(smote)
    [result] = compare(one, three)
    expected = score(three)[0].estimates["uar"].value - score(one)[0].estimates["uar"].value
    assert result.estimates["uar"].value == pytest.approx(expected)
    assert result.clips == 56


def test_seeds_are_trained_each_from_its_own(
    dataset: Path, store: Path, smote: Path, tmp_path: Path
) -> None:
    one = read_predictions(trained(dataset, store, tmp_path / "run", "--sampler", "smote"))
    found = read_predictions(smote)
    first = found.probabilities()[found.column("seed") == 0]
    np.testing.assert_allclose(first, one.probabilities(), atol=1e-6)
    assert not np.allclose(found.probabilities()[found.column("seed") == 1], first, atol=1e-3)


def test_early_stopping_uses_validation_speakers_and_no_others(
    dataset: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_calls(monkeypatch, groups, "train")
    found = read_predictions(trained(dataset, store, tmp_path / "run", "--stop", "early"))
    rows = {row["clip_id"]: row for row in rows_of(dataset) if row["label4"] is not None}
    speakers = np.array([rows[name]["speaker"] for name in sorted(rows)])
    jobs = [job for call in calls for job in call[2]]
    assert sorted(job.name for job in jobs) == SPEAKERS
    for job in jobs:
        parts = [set(speakers[part]) for part in (job.train, job.validation, job.test)]
        assert [len(part) for part in parts] == [2, 1, 1]
        assert set.union(*parts) == set(SPEAKERS)
        assert set(job.mixture.first) <= set(job.train)
    assert found.about.stop == "early"
    plain = read_predictions(trained(dataset, store, tmp_path / "plain"))
    assert len({len(job.validation) for call in calls[-1:] for job in call[2]}) == 1
    assert not np.allclose(found.probabilities(), plain.probabilities(), atol=0.01)


@pytest.mark.parametrize("loss", ["weighted", "focal"])
def test_a_loss_is_another_run(dataset: Path, store: Path, tmp_path: Path, loss: str) -> None:
    options = ("--labels", "five")
    found = read_predictions(trained(dataset, store, tmp_path / "run", "--loss", loss, *options))
    plain = read_predictions(trained(dataset, store, tmp_path / "plain", *options))
    assert found.about.loss == loss
    assert loss in found.about.run
    assert not np.allclose(found.probabilities(), plain.probabilities(), atol=1e-4)


def test_products_in_bfloat16_are_another_run_that_says_nearly_the_same(
    dataset: Path, store: Path, tmp_path: Path
) -> None:
    usual, half = (
        trained(dataset, store, tmp_path / dtype, "--dtype", dtype) for dtype in ("fp32", "bf16")
    )
    found = [read_predictions(run).probabilities() for run in (usual, half)]
    assert 0 < np.abs(found[0] - found[1]).max() < 0.1
    with pytest.raises(InputError, match="another"):
        trained(dataset, store, half)


def test_five_classes_are_five(dataset: Path, store: Path, tmp_path: Path) -> None:
    found = read_predictions(trained(dataset, store, tmp_path / "run", "--labels", "five"))
    assert found.about.classes == FIVE
    assert set(found.column("label")) == set(FIVE)
    assert found.table.column_names[-5:] == [f"p_{name}" for name in FIVE]


def test_native_labels_of_one_corpus(dataset: Path, store: Path, tmp_path: Path) -> None:
    found = read_predictions(trained(dataset, store, tmp_path / "run", "--labels", "native"))
    native = {row["clip_id"]: row["native_label"] for row in rows_of(dataset)}
    assert dict(zip(found.column("clip_id"), found.column("label"), strict=True)) == native
    assert found.about.classes == tuple(sorted(set(native.values())))


def test_rows_are_joined_on_clip_ids(
    dataset: Path, store: Path, smote: Path, tmp_path: Path
) -> None:
    order = np.random.default_rng(0)
    shuffled, stored = (list(order.permutation(rows_of(dataset))) for _ in range(2))
    data = change_dataset(dataset, tmp_path / "data", lambda _: shuffled)
    values = write_store(tmp_path / "store", stored, embeddings(stored, store), like=store)
    again = trained(data, values, tmp_path / "run", *SMOTE)
    assert contents(again) == contents(smote)


def test_adasyn_that_could_do_nothing_is_counted_in_the_notes(
    dataset: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(dataset)
    values = np.random.default_rng(0).normal(size=embeddings(rows, store).shape)
    far_apart = np.unique([row["native_label"] for row in rows], return_inverse=True)[1]
    for row, place in enumerate(far_apart):
        values[row, :, :, place] += 1000
    easy = write_store(tmp_path / "store", rows, values.astype(np.float16), like=store)
    run = trained(dataset, easy, tmp_path / "run", "--sampler", "adasyn")
    note = f"4 of 4 folds: {NOTHING_GENERATED}"
    assert read_predictions(run).about.notes == (note, FABRICATED)
    assert note in capsys.readouterr().out


def test_a_class_that_only_the_test_speaker_has_is_counted_in_the_notes(
    dataset: Path, store: Path, tmp_path: Path
) -> None:
    data = change_dataset(
        dataset,
        tmp_path / "data",
        lambda rows: [
            row for row in rows if row["native_label"] != "angry" or row["speaker"] == "ravdess:01"
        ],
    )
    notes = read_predictions(trained(data, store, tmp_path / "run")).about.notes
    assert "1 of 4 folds: tested on a class without a training clip (angry)" in notes


def test_clips_without_embeddings_are_left_out_and_counted(
    dataset: Path, store: Path, tmp_path: Path
) -> None:
    clips = rows_of(dataset)
    inside = [row["clip_id"] for row in clips if row["label4"] is not None]
    outside = [row["clip_id"] for row in clips if row["label4"] is None]
    copy = write_store(tmp_path / "store", clips, embeddings(clips, store), like=store)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["skipped"] = [{"clip_id": name, "reason": "silence"} for name in inside[:2] + outside]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    real = change_dataset(
        dataset, tmp_path / "data", lambda rows: [row | {"elicitation": "acted"} for row in rows]
    )
    found = read_predictions(trained(real, copy, tmp_path / "run"))
    assert found.about.notes == ("2 clips have no embedding and were left out",)
    assert set(found.column("clip_id")) == set(inside[2:])


def test_each_corpus_alone_or_all_together(dataset: Path, store: Path, tmp_path: Path) -> None:
    two = write_two_corpora(tmp_path, dataset, store)
    alone = trained(*two, tmp_path / "each", "--corpora", "ravdess")
    each = trained(*two, tmp_path / "each-of-two", "--corpora", "ravdess", "other")
    union = trained(*two, tmp_path / "union", "--train-on", "union")
    swapped = trained(
        *two, tmp_path / "swapped", "--train-on", "union", "--corpora", "other", "ravdess"
    )
    first, both, together = (read_predictions(run) for run in (alone, each, union))
    here = both.column("corpus") == "ravdess"
    # A head beside others differs from a head alone by the rounding of a sum, and by nothing else.
    np.testing.assert_allclose(both.probabilities()[here], first.probabilities(), atol=1e-6)
    np.testing.assert_array_equal(both.column("clip_id"), together.column("clip_id"))
    assert not np.allclose(both.probabilities(), together.probabilities(), atol=0.01)
    assert contents(swapped) == contents(union)
    assert set(json.loads((union / "metrics.json").read_text())["corpora"]) == {"other", "ravdess"}
