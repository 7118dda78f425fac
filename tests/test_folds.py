"""The config `folds`: exactly the folds that training scores, readable without this code."""

from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import get_dataset_config_names, load_dataset
from make_trees import EMODB, raw, rows

from dataset_scripts.build import build
from ser_generalize.cell import Cell
from ser_generalize.data import make_folds, read_data
from ser_generalize.dataset import load_clips

COLUMNS = ["clip_id", "labels", "protocol", "fold", "part"]


Published = dict[tuple[str, str], dict[str, dict[str, list[str]]]]


@pytest.fixture(scope="module")
def published(dataset: Path) -> Published:
    """The clips of every part of every fold, as plain `datasets` reads them."""
    found: Published = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    folds = load_dataset(str(dataset), "folds", split="train")
    assert folds.column_names == COLUMNS
    for row in folds:
        found[row["labels"], row["protocol"]][row["fold"]][row["part"]].append(row["clip_id"])
    return found


@pytest.mark.parametrize("labels", ["four", "five", "native"])
@pytest.mark.parametrize("protocol", ["loso", "within", "emobox", "text"])
def test_they_are_the_folds_of_train(
    published: Published, dataset: Path, store: Path, labels: str, protocol: str
) -> None:
    """What is in no part is trained on: the promise of the card."""
    cell = Cell(dataset=str(dataset), embeddings=store, labels=labels, protocol=protocol)
    data = read_data(cell)
    clip_ids = data.column("clip_id")
    folds = make_folds(cell, data)
    assert list(published[labels, protocol]) == [fold.name for fold in folds]
    for fold in folds:
        parts = published[labels, protocol][fold.name]
        assert parts["test"] == clip_ids[fold.test].tolist()
        assert parts["validation"] == clip_ids[fold.validation].tolist()
        listed = {clip_id for part in parts.values() for clip_id in part}
        assert set(clip_ids[fold.train]) == set(clip_ids) - listed
        assert bool(parts["unused"]) == (protocol == "text")


def test_protocols_that_the_corpus_does_not_fit_have_none(published: Published) -> None:
    """RAVDESS has neither sessions nor a split of its own."""
    assert {protocol for _, protocol in published} == {"loso", "within", "emobox", "text"}


def test_folds_are_no_corpus(dataset: Path) -> None:
    assert get_dataset_config_names(str(dataset)) == ["ravdess", "default", "folds"]
    assert set(load_clips(str(dataset))["corpus"]) == {"ravdess"}
    assert len(load_dataset(str(dataset), split="train")) == len(rows(dataset))


def test_speakers_share_folds_by_their_clips_inside_the_label_set(tmp_path: Path) -> None:
    """Of the 10 clips of each speaker one is bored, so that `four` holds 9 of each."""
    files = [
        f"wav/{speaker}{text}{emotion}a.wav"
        for speaker in ("03", "08", "09", "10")
        for text, emotion in [(f"a0{n}", e) for n in (1, 2, 4) for e in "NFW"] + [("b01", "L")]
    ]
    build("emodb", raw(tmp_path / "raw", files), tmp_path / "data")
    found = pq.read_table(tmp_path / "data" / "folds" / "emodb.parquet").to_pylist()
    folds = {(row["labels"], row["fold"]) for row in found if row["protocol"] == "loso"}
    assert {fold for labels, fold in folds if labels == "four"} == {"emodb:03+1", "emodb:09+1"}
    alone = {f"emodb:{speaker}" for speaker in ("03", "08", "09", "10")}
    assert {fold for labels, fold in folds if labels == "native"} == alone


def test_a_label_set_with_one_class_has_no_folds(tmp_path: Path) -> None:
    """There is nothing to tell apart: `train` refuses it too."""
    files = [
        f"wav/{speaker}a0{n}{e}a.wav" for speaker in ("03", "08") for n in (1, 2) for e in "NL"
    ]
    build("emodb", raw(tmp_path / "raw", files), tmp_path / "data")
    found = pq.read_table(tmp_path / "data" / "folds" / "emodb.parquet")
    assert set(found.column("labels").to_pylist()) == {"native"}


def test_a_corpus_without_folds_has_none_and_loses_those_it_had(tmp_path: Path) -> None:
    source, out = tmp_path / "raw", tmp_path / "data"
    files = [f"wav/{s}a0{n}{e}a.wav" for s in ("03", "08") for n in (1, 2, 4, 5, 7) for e in "NF"]
    build("emodb", raw(source, files), out)
    assert (out / "folds" / "emodb.parquet").is_file()
    for file in files[: len(files) // 2]:
        (source / file).unlink()
    build("emodb", source, out)
    assert not (out / "folds").exists()
    assert get_dataset_config_names(str(out)) == ["emodb", "default"]


def test_a_rebuild_is_never_hidden_by_the_cache_of_datasets(tmp_path: Path) -> None:
    source, out = tmp_path / "raw", tmp_path / "data"
    files = [f"wav/{s}a0{n}{e}a.wav" for s in ("03", "08") for n in (1, 2, 4, 5, 7) for e in "NFW"]
    build("emodb", raw(source, files), out)
    before = load_dataset(str(out), "folds", split="train")["clip_id"]
    (source / files[0]).unlink()
    build("emodb", source, out)
    after = load_dataset(str(out), "folds", split="train")["clip_id"]
    assert set(before) - set(after) == {f"emodb/{Path(files[0]).stem}"}


def test_there_is_a_file_for_every_corpus_that_has_folds(tmp_path: Path, raw_ravdess: Path) -> None:
    build("ravdess", raw_ravdess, tmp_path / "data")
    build("emodb", raw(tmp_path / "one speaker", EMODB[:1]), tmp_path / "data")
    assert [path.name for path in (tmp_path / "data" / "folds").iterdir()] == ["ravdess.parquet"]
