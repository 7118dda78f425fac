"""`train` under protocols that name other corpora, languages, and clips that are never tested."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make_dataset import Row
from make_store import write_corpora

from ser_generalize import train
from ser_generalize.cell import Cell
from ser_generalize.command import run_command
from ser_generalize.data import make_folds, read_data
from ser_generalize.predictions import Predictions, read_predictions
from ser_generalize.summary import read_runs

Corpora = tuple[Path, Path]
Train = Callable[..., Predictions]


def german(rows: list[Row]) -> list[Row]:
    return [row | {"language": "de"} for row in rows]


def half_australian(rows: list[Row]) -> list[Row]:
    """Of actors 01 and 02 nobody says who they are."""
    return [
        row | {"language": "en-AU", "speaker": None} if row["speaker"][-2:] < "03" else row
        for row in rows
    ]


@pytest.fixture(scope="module")
def corpora(dataset: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    folder = tmp_path_factory.mktemp("corpora")
    return write_corpora(folder, dataset, store, {"emodb": german, "other": half_australian})


@pytest.fixture
def trained(corpora: Corpora, tmp_path: Path) -> Train:
    folders = ["--dataset", str(corpora[0]), "--embeddings", str(corpora[1])]

    def call(*options: str) -> Predictions:
        train.main([*folders, "--out", str(tmp_path / "run"), "--head", "8", *options])
        return read_predictions(tmp_path / "run")

    return call


def test_cross_predicts_every_clip_once_per_training_corpus(trained: Train, tmp_path: Path) -> None:
    found = trained("--protocol", "cross", "--languages", "all")
    clips, folds = found.column("clip_id"), found.column("fold")
    assert len(set(zip(clips, folds, strict=True))) == len(clips) == 2 * len(set(clips))
    pairs = [f"{one}>{two}" for one in ("emodb", "other", "ravdess")
             for two in ("emodb", "other", "ravdess") if one != two]  # fmt: skip
    assert set(folds) == set(pairs)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics["folds"]) == set(pairs)
    into = [metrics["folds"][pair]["uar"] for pair in ("other>emodb", "ravdess>emodb")]
    assert metrics["corpora"]["emodb"]["uar"] == pytest.approx(np.mean(into))
    assert metrics["corpora"]["emodb"]["clips"] == metrics["folds"]["other>emodb"]["clips"]
    (run,) = read_runs([tmp_path / "run"])
    scored = {result.corpus for result in run.results}
    assert scored == {"emodb", "other", "ravdess", "macro-average"}


def test_only_cross_may_predict_a_clip_twice(trained: Train, tmp_path: Path) -> None:
    trained("--protocol", "loco", "--corpora", "emodb", "ravdess")
    path = tmp_path / "run" / "predictions.parquet"
    table = pq.read_table(path)
    twice = table.slice(0, 1).set_column(table.column_names.index("fold"), "fold", [["another"]])
    both = pa.concat_tables([table, twice]).replace_schema_metadata(table.schema.metadata)
    pq.write_table(both, path)
    assert run_command("report", lambda _: read_predictions(tmp_path / "run"), []) == 2


def test_unions_are_english_unless_corpora_are_named(trained: Train, corpora: Corpora) -> None:
    found = trained("--protocol", "loso", "--train-on", "union")
    assert set(found.column("language")) == {"en"}
    notes = " | ".join(found.about.notes)
    assert "languages are en: clips of others left out (120 de), all of emodb among them" in notes
    assert "28 of 112 clips are not tested: their speaker is unknown" in notes
    common = {"dataset": str(corpora[0]), "embeddings": corpora[1]}
    named = read_data(Cell(**common, train_on="union", corpora=("emodb", "ravdess")))
    assert set(named.column("language")) == {"de", "en"}
    alone = read_data(Cell(**common))
    assert set(alone.column("corpus")) == {"emodb", "other", "ravdess"}
    some = read_data(Cell(**common, languages=("de", "en-AU")))
    assert set(some.column("language")) == {"de", "en-AU"}


@pytest.mark.parametrize(
    ("protocol", "leaks"),
    [("random", ("speaker", "session", "text")), ("loco", ()), ("text", ()), ("emobox", ())],
)
def test_what_a_protocol_does_not_promise_is_said(
    trained: Train, protocol: str, leaks: tuple[str, ...]
) -> None:
    corpora = ("emodb", "ravdess") if protocol == "loco" else ("ravdess",)
    about = trained("--protocol", protocol, "--corpora", *corpora).about
    assert (about.protocol, about.leaks) == (protocol, leaks)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--protocol", "louso"), "unknown protocol 'louso'; choose one of: loso, session, loco"),
        (("--protocol", "loco", "--corpora", "ravdess"), "loco needs two corpora"),
        (("--protocol", "cross", "--train-on", "union"), "for protocol cross 'union'"),
        (("--protocol", "session"), "by session, and corpus emodb names none among its 56 clips"),
        (("--protocol", "official"), "by official split, and corpus emodb names none"),
        (("--protocol", "emobox"), "no speaker-disjoint folds for emodb, only for"),
        (("--languages", "it"), "is in it; choose --languages from: de, en, en-AU, or all"),
    ],
)
def test_what_cannot_be_divided_is_one_line(
    trained: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...], line: str,
) -> None:  # fmt: skip
    assert run_command("train", lambda given: trained(*given), options) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_folds_of_a_cell_are_those_of_its_clips(corpora: Corpora) -> None:
    """Every column reaches the protocol: under `text` no test sentence is trained on."""
    cell = Cell(dataset=str(corpora[0]), embeddings=corpora[1], protocol="text")
    data = read_data(cell)
    texts = data.column("text_id")
    for fold in make_folds(cell, data):
        assert not set(texts[fold.test]) & set(texts[fold.train])
