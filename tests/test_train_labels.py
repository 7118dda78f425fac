"""`train` on corpora that lack classes, and on labels that raters chose."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_dataset import Row, rows_of
from make_store import write_corpora

from ser_generalize import report, train
from ser_generalize.command import run_command
from ser_generalize.labels import EMOTIONS, FOUR
from ser_generalize.predictions import Predictions, read_predictions

Corpora = tuple[Path, Path]
Change = Callable[[list[Row]], list[Row]]


def without(*labels: str) -> Change:
    return lambda rows: [row for row in rows if row["native_label"] not in labels]


def of_speakers(*numbers: int) -> Change:
    names = tuple(f"{number:02}" for number in numbers)
    return lambda rows: [row for row in rows if row["speaker"].endswith(names)]


def one_has_no_anger(rows: list[Row]) -> list[Row]:
    """EmoV-DB's josh was never angry; here he is also the only one who is ever sad, and once."""
    found, sad = [], False
    for row in rows:
        josh = row["speaker"].endswith("01")
        if row["native_label"] == "sad" and (sad or not josh):
            continue
        sad |= row["native_label"] == "sad"
        if not (josh and row["native_label"] == "angry"):
            found.append(row)
    return found


def nothing_in_common(rows: list[Row]) -> list[Row]:
    """Two speakers, and each has a class that the other lacks and nothing else."""
    wanted = {"01": "neutral", "02": "angry"}
    return [row for row in rows if wanted.get(row["speaker"][-2:]) == row["native_label"]]


@pytest.fixture(scope="module")
def corpora(dataset: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    """Corpora that lack what the real ones lack."""
    return write_corpora(
        tmp_path_factory.mktemp("corpora"),
        dataset,
        store,
        {
            "emov_db": without("happy", "sad"),
            "emofilm": without("neutral"),
            "tess": of_speakers(1, 2),
            "odd": one_has_no_anger,
            "apart": nothing_in_common,
            "asleep": without("neutral", "happy", "sad", "angry"),
        },
    )


def trained(corpora: Corpora, out: Path, *options: str, head: str = "8") -> Predictions:
    data, store = corpora
    folders = ["--dataset", str(data), "--embeddings", str(store), "--out", str(out)]
    train.main([*folders, "--head", head, *options])
    return read_predictions(out)


@pytest.mark.parametrize(
    ("train_on", "sampler", "head"),
    [
        ("each", "none", "8"),
        ("each", "none", "logistic"),
        ("each", "under", "8"),
        ("each", "smote", "8,8"),
        ("each", "smote", "logistic"),
        ("each", "borderline", "8"),
        ("each", "adasyn", "8"),
        ("union", "none", "logistic"),
        ("union", "smote", "8"),
    ],
)
def test_corpora_with_other_classes_run_in_one_command(
    corpora: Corpora, tmp_path: Path, train_on: str, sampler: str, head: str
) -> None:
    options = ("--train-on", train_on, "--sampler", sampler)
    found = trained(corpora, tmp_path / "run", *options, head=head)
    assert np.isfinite(found.probabilities()).all()
    np.testing.assert_allclose(found.probabilities().sum(1), 1, atol=1e-5)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["corpora"]
    assert {name: row["classes"] for name, row in metrics.items()} == {
        "apart": 2, "emofilm": 3, "emov_db": 2, "odd": 4, "ravdess": 4, "tess": 4,
    }  # fmt: skip
    notes = " | ".join(found.about.notes)
    assert "no clip in the label set four: asleep" in notes
    single = "a single class to train on"
    if train_on == "union":
        assert single not in notes
        assert "without a training clip" not in notes
        return
    assert f"1 of 18 folds: {single} (angry), predicted for every clip" in notes
    assert f"1 of 18 folds: {single} (neutral), predicted for every clip" in notes
    for absent in ("sad", "angry", "neutral"):
        assert f"1 of 18 folds: tested on a class without a training clip ({absent})" in notes
    repeated = "clips repeated, not synthesised, of a class with under 6 training clips"
    assert (f"{repeated} (neutral)" in notes) == (sampler in {"smote", "borderline", "adasyn"})


def test_a_fold_with_one_class_predicts_that_class(corpora: Corpora, tmp_path: Path) -> None:
    found = trained(corpora, tmp_path / "run", "--corpora", "apart", "--sampler", "smote")
    anger = found.column("label") == "angry"
    assert (found.probabilities()[anger] == [1, 0, 0, 0]).all()
    assert (found.probabilities()[~anger] == [0, 0, 0, 1]).all()


def test_what_a_corpus_lacks_changes_no_other(corpora: Corpora, tmp_path: Path) -> None:
    alone = trained(corpora, tmp_path / "alone", "--corpora", "ravdess")
    together = trained(corpora, tmp_path / "all", "--train-on", "each")
    here = together.column("corpus") == "ravdess"
    # Heads of other folds are trained beside these, which rounds sums differently.
    np.testing.assert_allclose(together.probabilities()[here], alone.probabilities(), atol=1e-6)


def test_the_report_says_over_which_classes(
    corpora: Corpora, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(corpora, tmp_path / "run", "--corpora", "emov_db", "emofilm", "ravdess")
    capsys.readouterr()
    report.main([str(tmp_path / "run"), "--out", str(tmp_path / "report")])
    printed = capsys.readouterr().out
    line = "verages on emov_db are over 2 of 4 classes (neutral, angry): it tests no other"
    assert line in printed
    assert "emov_db (chance 50.0)" in printed
    assert "averages on ravdess" not in printed
    assert line in (tmp_path / "report" / "report.html").read_text()
    scores = json.loads((tmp_path / "report" / "results.json").read_text())["scores"]
    assert {row["corpus"]: row["classes"] for row in scores} == {
        "emov_db": ["neutral", "angry"], "emofilm": ["happy", "sad", "angry"],
        "ravdess": list(FOUR), "macro-average": None,
    }  # fmt: skip


def voted(votes: Callable[[int, str], list[tuple[str, int | None]]]) -> Change:
    """Give every clip votes by its number and native label."""
    return lambda rows: [
        row | {"votes": [{"label": label, "count": count}
                         for label, count in votes(number, row["native_label"])]}
        for number, row in enumerate(rows)
    ]  # fmt: skip


def like_crema_d(number: int, label: str) -> list[tuple[str, int | None]]:
    """Winners without numbers: some tie, some are not listed, most heard neutral or the truth."""
    if number % 10 == 0:
        return [("angry", None), ("fearful", None)]
    if number % 10 == 1:
        return []
    return [("neutral" if number % 2 else {"disgust": "disgusted"}.get(label, label), None)]


def like_iemocap(number: int, label: str) -> list[tuple[str, int | None]]:
    """Three raters: excited counts as happy, but apart; two may outvote one."""
    if label == "happy":
        return [("excited", 2), ("happy", 1)]
    if label == "sad" and number % 2:
        return [("sad", 1), ("neutral", 1), ("frustrated", 1)]
    emotion = label if label in EMOTIONS else "other"
    return [(emotion, 3)] if number % 3 else [(emotion, 2), ("happy", 1)]


@pytest.fixture(scope="module")
def rated(dataset: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    """A corpus with the winners of the votes, one with their numbers, and RAVDESS with neither."""
    changes = {"crema_d": voted(like_crema_d), "iemocap": voted(like_iemocap)}
    return write_corpora(tmp_path_factory.mktemp("rated"), dataset, store, changes)


def by_corpus(found: Predictions) -> list[dict[str, str]]:
    """Return the label of every clip of crema_d and of iemocap."""
    labels = list(zip(found.column("clip_id"), found.column("label"), strict=True))
    return [{clip: label for clip, label in labels if clip.startswith(corpus)}
            for corpus in ("crema_d", "iemocap")]  # fmt: skip


def test_votes_replace_the_labels(rated: Corpora, tmp_path: Path) -> None:
    both = ("--corpora", "crema_d", "iemocap")
    found = trained(rated, tmp_path / "votes", *both, "--labels-from", "votes")
    acted = trained(rated, tmp_path / "acted", *both)
    assert set(found.column("label_source")) == {"perceived"}
    assert set(acted.column("label_source")) == {"acted"}
    (crema, iemocap), (acted_crema, acted_iemocap) = by_corpus(found), by_corpus(acted)
    # What two of three raters called "excited" is happy; where all three differ it is nothing.
    ties = acted_iemocap.keys() - iemocap.keys()
    assert {acted_iemocap[clip] for clip in ties} == {"sad"}
    assert iemocap == {clip: acted_iemocap[clip] for clip in acted_iemocap if clip not in ties}
    heard = {crema[clip] for clip in crema if crema[clip] != acted_crema.get(clip)}
    assert heard == {"neutral"}
    assert crema.keys() - acted_crema.keys()  # acted as fear, heard as neutral


def test_ties_and_clips_without_votes_are_counted_and_reported(
    rated: Corpora, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--corpora", "crema_d", "--labels-from", "votes")
    found = trained(rated, tmp_path / "votes", *options)
    line = (
        "labels are the emotion that most raters chose; of 120 clips 12 were left out because "
        "raters tied, and 12 because they have no votes"
    )
    assert line in found.about.notes
    assert f"train: {line}\n" in capsys.readouterr().out
    assert len(found.table) < 96
    trained(rated, tmp_path / "acted", "--corpora", "crema_d")
    runs = [str(tmp_path / name) for name in ("acted", "votes")]
    report.main([*runs, "--out", str(tmp_path / "report")])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Label set four by votes: neutral" in printed
    assert line in printed
    assert "none 8 votes " in printed
    page = (tmp_path / "report" / "report.html").read_text()
    assert "the emotion that most raters chose" in page
    assert "label set four by votes" in page


def test_a_run_of_other_labels_is_another_run(
    rated: Corpora, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(rated, tmp_path / "run", "--corpora", "crema_d", head="4")
    data, store = rated
    argv = ["--dataset", str(data), "--embeddings", str(store), "--out", str(tmp_path / "run")]
    argv += ["--corpora", "crema_d", "--head", "4", "--labels-from", "votes"]
    assert run_command("train", train.main, argv) == 2
    assert "labels_from 'acted', not 'votes'" in capsys.readouterr().err


def test_a_corpus_without_votes_is_named_with_those_that_have(
    rated: Corpora, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, store = rated
    argv = ["--dataset", str(data), "--embeddings", str(store), "--out", str(tmp_path / "run")]
    assert run_command("train", train.main, [*argv, "--labels-from", "votes"]) == 2
    line = capsys.readouterr().err
    assert "holds no votes of raters for ravdess; add --corpora crema_d iemocap, or" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "run").exists()


CALM = "ravdess-calm-is-neutral"


def test_a_disputed_mapping_is_decided_the_other_way_and_named(
    dataset: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = (dataset, store)
    usual = trained(folders, tmp_path / "usual", head="logistic")
    calm = trained(folders, tmp_path / "calm", "--label-map", CALM, head="logistic")
    were_calm = {row["clip_id"] for row in rows_of(dataset) if row["native_label"] == "calm"}
    assert were_calm and not were_calm & set(usual.column("clip_id"))
    label = dict(zip(calm.column("clip_id"), calm.column("label"), strict=True))
    assert label.keys() - set(usual.column("clip_id")) == were_calm
    assert {label[clip_id] for clip_id in were_calm} == {"neutral"}
    assert calm.about.alternatives == (CALM,) and f"label map: {CALM}" in calm.about.notes

    report.main([str(tmp_path / "usual"), str(tmp_path / "calm"), "--out", str(tmp_path / "page")])
    printed = capsys.readouterr().out
    assert f"Label set four, {CALM}: " in printed  # in a group of its own: other clips are scored


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--label-map", "calm"), "unknown --label-map 'calm'; choose one of: iemocap-excited"),
        (("--labels", "native", "--label-map", CALM), "is for --labels four or five: native"),
    ],
)
def test_a_label_map_that_means_nothing_is_refused(
    options: tuple[str, ...], message: str, dataset: Path, store: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    argv = ["--dataset", str(dataset), "--embeddings", str(store), "--out", str(tmp_path / "out")]
    assert run_command("train", train.main, [*argv, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
