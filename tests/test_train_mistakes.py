"""Mistakes in a `train` command: exit code 2, one line that helps, and nothing written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from make_dataset import Row, change_dataset, rows_of
from make_store import embeddings, write_store, write_two_corpora

from ser_generalize import train
from ser_generalize.command import run_command

Refused = Callable[..., str]
SPEAKERS = [f"ravdess:0{number}" for number in (1, 2, 3)]


@pytest.fixture
def refused(
    dataset: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Return a `train` that must fail; keywords replace what is right; it returns the line."""

    def call(
        *options: str, data: Path = dataset, kept: Path = store, out: Path | None = None
    ) -> str:
        folders = {"--dataset": data, "--embeddings": kept, "--out": out or tmp_path / "run"}
        argv = [str(each) for pair in folders.items() for each in pair] + list(options)
        before = snapshot(tmp_path)
        capsys.readouterr()
        assert run_command("ser-generalize train", train.main, argv) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith("ser-generalize train: ")
        assert printed.err.count("\n") == 1
        assert printed.err.endswith("\n")
        assert not printed.out
        assert snapshot(tmp_path) == before
        return printed.err

    return call


def snapshot(folder: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--protocol", "lasso"), "unknown protocol 'lasso'; choose one of: loso"),
        (("--labels", "six"), "unknown label set 'six'; choose one of: four, five, native"),
        (
            ("--labels-from", "raters"),
            "unknown --labels-from 'raters'; choose one of: acted, votes",
        ),
        (("--labels-from", "votes", "--labels", "native"), "is for --labels four or five"),
        (("--labels-from", "votes"), "holds no votes of raters for ravdess; no corpus asked"),
        (("--sampler", "smoke"), "'smoke'; choose one of: none, under, over, smote, borderline, "),
        (("--loss", "mse"), "unknown loss 'mse'; choose one of: ce, weighted, focal"),
        (("--stop", "late"), "unknown --stop 'late'; choose one of: fixed, early"),
        (("--seeds", "0"), "--seeds 0 is no number of seeds; give 1 or more"),
        (("--head", "logistic", "--sampler", "mixup"), "--sampler mixup is for heads that are"),
        (("--head", "lda", "--loss", "focal"), "--loss focal is for heads that are trained"),
        (("--head", "lda", "--dtype", "bf16"), "--dtype bf16 is for heads that are trained in"),
        (("--dtype", "fp16"), "--dtype"),
        (("--head", "logistic", "--stop", "early"), "--stop early is for heads that are trained"),
        (("--head", "big"), "unknown head 'big'; give hidden sizes such as 128 or 4096,2048"),
        (
            ("--train-on", "all"),
            "unknown --train-on for protocol loso 'all'; choose one of: each, union, matched",
        ),
        (("--corpora", "emodb", "ravdess"), "has no corpus emodb; it holds: ravdess"),
        (
            ("--epochs", "3"),
            "unrecognized arguments: --epochs 3 (see `ser-generalize train --help`",
        ),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else "",
)
def test_unknown_names_are_refused_with_the_valid_ones(
    refused: Refused, options: tuple[str, ...], line: str
) -> None:
    assert line in refused(*options)


def test_a_store_that_does_not_fit_is_refused(
    refused: Refused, dataset: Path, store: Path, tmp_path: Path
) -> None:
    rows = rows_of(dataset)
    values = embeddings(rows, store)
    changed = [row | {"sha256": row["sha256"][::-1]} for row in rows]
    other = write_store(tmp_path / "other", changed, values, like=store)
    short = write_store(tmp_path / "short", rows[1:], values[1:], like=store)
    halted = write_store(tmp_path / "halted", rows, values, like=store)
    (halted / "manifest.json").unlink()
    assert "does not exist; make it with `ser-generalize embed`" in refused(kept=tmp_path / "no")
    assert "lacks 56 of 56 clips as they are in the dataset" in refused(kept=other)
    assert f"lacks 1 of 120 clips as they are in the dataset ({rows[0]['clip_id']})" in refused(
        "--labels", "native", kept=short
    )
    assert "embed` has not finished there" in refused(kept=halted)


def test_data_that_cannot_be_split_or_resampled_are_refused(
    refused: Refused, dataset: Path, tmp_path: Path
) -> None:
    def changed(name: str, change: Callable[[list[Row]], list[Row]]) -> Path:
        return change_dataset(dataset, tmp_path / name, change)

    def of(speakers: list[str]) -> Callable[[list[Row]], list[Row]]:
        return lambda rows: [row for row in rows if row["speaker"] in speakers]

    one = changed("one", of(SPEAKERS[:1]))
    afraid = changed("afraid", lambda rows: [r for r in rows if r["native_label"] == "fearful"])
    dull = changed("dull", lambda rows: [row | {"native_label": "bored"} for row in rows])
    assert "ravdess leaves nothing to train on when ravdess:01 is tested" in refused(data=one)
    assert "is in the label set four" in refused(data=afraid)
    only = "ravdess has clips of one class only (bored) in the label set native: nothing to tell"
    assert only in refused("--labels", "native", data=dull)
    assert "neither a folder nor a Hub id" in refused(data=tmp_path / "nowhere")


def test_native_labels_of_two_corpora_are_refused(
    refused: Refused, dataset: Path, store: Path, tmp_path: Path
) -> None:
    data, kept = write_two_corpora(tmp_path, dataset, store)
    line = refused("--labels", "native", data=data, kept=kept)
    assert "--labels native is for one corpus, not 2 (other, ravdess); add --corpora" in line


def test_a_folder_of_something_else_is_refused_and_left_alone(
    refused: Refused, dataset: Path, store: Path, tmp_path: Path
) -> None:
    run = tmp_path / "finished"
    folders = ["--dataset", str(dataset), "--embeddings", str(store), "--out", str(run)]
    train.main([*folders, "--head", "8"])
    line = refused("--sampler", "under", "--head", "4", out=run)
    assert "another run (head '8', not '4', sampler 'none', not 'under'); give a new" in line

    names = {"thesis.txt": "x", "config.json": '{"model_type": "whisper"}', "done": ""}
    for name, text in names.items():
        folder = tmp_path / f"folder with {name}"
        folder.mkdir()
        (folder / name).write_text(text)
        assert "exists and is no run folder; give a new one" in refused(out=folder)
    file = tmp_path / "file"
    file.write_text("x")
    assert "exists and is no run folder" in refused(out=file)
    assert "cannot be written (Not a directory)" in refused(out=file / "run")
