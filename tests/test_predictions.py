"""The predictions file: what is written is read, and nothing else is taken for it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make_predictions import predictions, write_run

from ser_generalize.errors import InputError
from ser_generalize.labels import FOUR
from ser_generalize.predictions import (
    FILE_NAME,
    METADATA_KEY,
    Predictions,
    read_predictions,
    write_predictions,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with predictions that have a note and leaks."""
    return write_run(tmp_path / "run", predictions(leaks=("speaker",), notes=("2 of 3 folds: ü",)))


def test_what_is_written_is_read(run: Path) -> None:
    written = predictions(leaks=("speaker",), notes=("2 of 3 folds: ü",))
    found = read_predictions(run)
    assert found.about == written.about
    assert found.table.cast(written.table.schema).equals(written.table.sort_by("clip_id"))
    assert found.labels().tolist() == [FOUR.index(name) for name in found.column("label")]
    assert found.probabilities().dtype == np.float32
    np.testing.assert_array_equal(
        found.probabilities()[:, 2], found.table.column("p_sad").to_numpy()
    )
    assert set(found.column("age")) == {None}


def test_the_order_of_the_rows_does_not_change_a_byte(run: Path, tmp_path: Path) -> None:
    found = read_predictions(run)
    shuffled = found.table.take(np.random.default_rng(0).permutation(len(found.table)))
    again = write_run(tmp_path / "again", Predictions(found.about, shuffled))
    assert (again / FILE_NAME).read_bytes() == (run / FILE_NAME).read_bytes()


def test_a_failed_write_leaves_what_was_there(run: Path) -> None:
    before, found = (run / FILE_NAME).read_bytes(), read_predictions(run)
    other = replace(found.about, classes=("a", "b"))
    with pytest.raises((ValueError, KeyError)):
        write_predictions(run / FILE_NAME, Predictions(other, found.table))
    assert [path.name for path in run.iterdir()] == [FILE_NAME]
    assert (run / FILE_NAME).read_bytes() == before


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=r"holds no predictions.parquet: give the --out fold"):
            read_predictions(folder)


def rewrite(run: Path, table: pa.Table) -> None:
    pq.write_table(table, run / FILE_NAME)


def about_changed(table: pa.Table, **changes: object) -> pa.Table:
    about = {**json.loads(table.schema.metadata[METADATA_KEY]), **changes}
    kept = {name: value for name, value in about.items() if value is not None}
    return table.replace_schema_metadata({METADATA_KEY: json.dumps(kept)})


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.replace_schema_metadata(None),
        lambda table: table.replace_schema_metadata({METADATA_KEY: b"{"}),
        lambda table: table.replace_schema_metadata({METADATA_KEY: b"[]"}),
        lambda table: about_changed(table, classes=None),
        lambda table: about_changed(table, encoder=None),
        lambda table: about_changed(table, written_by="a later version"),
    ],
    ids=["none", "no JSON", "a list", "no classes", "no encoder", "one too many"],
)
def test_a_file_that_does_not_say_what_it_is_is_refused(run: Path, change: object) -> None:
    rewrite(run, change(pq.read_table(run / FILE_NAME)))  # type: ignore[operator]
    with pytest.raises(InputError, match=r"predictions.parquet is not a predictions file"):
        read_predictions(run)


@pytest.mark.parametrize("size", [0, 3, 500, -9])
def test_a_file_that_is_cut_off_is_refused(run: Path, size: int) -> None:
    (run / FILE_NAME).write_bytes((run / FILE_NAME).read_bytes()[:size])
    with pytest.raises(InputError, match="is not a predictions file of this package"):
        read_predictions(run)


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda t: t.drop_columns(["speaker", "p_sad"]), "lacks the columns p_sad, speaker"),
        (
            lambda t: with_column(t, "label", pa.array(["mad", *t["label"].to_pylist()[1:]])),
            "labels outside its label set: mad",
        ),
        (
            lambda t: with_column(t, "label", pa.array([None, *t["label"].to_pylist()[1:]])),
            "labels outside its label set: None",
        ),
        (lambda t: with_column(t, "p_sad", pa.array(["x"] * len(t))), "something else in .*p_sad"),
        (
            lambda t: with_column(t, "p_sad", pa.nulls(len(t), pa.float32())),
            "lacks probabilities of .* more",
        ),
        (
            lambda t: with_column(t, "p_sad", pa.array([float("nan")] * len(t), pa.float32())),
            "lacks probabilities of .* more",
        ),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "more than once: ravdess/00-.*-000$"),
    ],
    ids=["columns", "label", "no label", "text", "null", "nan", "twice"],
)
def test_what_breaks_the_contract_is_named(run: Path, change: object, line: str) -> None:
    rewrite(run, change(pq.read_table(run / FILE_NAME)))  # type: ignore[operator]
    with pytest.raises(InputError, match=line):
        read_predictions(run)


def test_another_column_does_no_harm(run: Path) -> None:
    table = pq.read_table(run / FILE_NAME)
    rewrite(run, table.append_column("listener", pa.array(["me"] * len(table))))
    assert read_predictions(run).about.classes == FOUR
