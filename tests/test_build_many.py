"""Several corpora in one command: one fails, one is not there, and the others are built."""

from pathlib import Path

import pytest
from huggingface_hub import DatasetCard
from make_trees import EMODB, RAVDESS, names, raw, snapshot, stems

from dataset_scripts.build import main
from dataset_scripts.corpus import corpus_names
from ser_generalize.command import run_command


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    raw(tmp_path / "raw" / "ravdess", RAVDESS)
    raw(tmp_path / "raw" / "emodb", EMODB, seed=50)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "raw"


def run(*corpora: str) -> int:
    return run_command("build", main, [*corpora, "--source", "raw", "--out", "data"])


def configs() -> list[str]:
    return [config["config_name"] for config in DatasetCard.load("data/README.md").data["configs"]]


@pytest.mark.parametrize("corpora", [["all"], ["emodb", "ravdess"], ["ravdess", "emodb", "emodb"]])
def test_several_corpora_are_built_as_one_by_one(
    trees: Path, capsys: pytest.CaptureFixture[str], corpora: list[str]
) -> None:
    assert run(*corpora) == 0
    said = capsys.readouterr().out
    assert said.count("ravdess: 5 clips in data/ravdess") == 1
    assert said.count("emodb: 3 clips in data/emodb") == 1
    assert configs() == ["emodb", "ravdess", "default", "folds"]
    for corpus in ("ravdess", "emodb"):
        one_by_one = [corpus, "--source", f"raw/{corpus}", "--out", "alone"]
        assert run_command("build", main, one_by_one) == 0
    assert snapshot(Path("data")) == snapshot(Path("alone"))


def test_all_names_what_is_not_there(trees: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trees / "emodb").rename(trees / "not a corpus")
    assert run("all") == 0
    absent = [name for name in corpus_names() if name != "ravdess"]
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == f"not below raw, left out: {', '.join(absent)}"
    assert configs() == ["ravdess", "default", "folds"]


def test_a_corpus_that_fails_loses_no_other(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (trees / "emodb" / "wav").iterdir():
        path.write_bytes(b"")
    assert run("emodb", "ravdess") == 2
    output = capsys.readouterr()
    (line,) = [line for line in output.err.splitlines() if line.startswith("build: ")]
    assert line.startswith("build: 1 of 2 corpora were not built: emodb (EmoDB")
    assert "none is usable" in line
    assert "ravdess: 5 clips" in output.out
    assert names(Path("data")) == stems(*RAVDESS)
    assert configs() == ["ravdess", "default", "folds"]


def test_a_corpus_that_was_named_has_to_be_there(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trees / "emodb").rename(trees / "elsewhere")
    assert run("emodb", "ravdess") == 2
    assert "emodb (--source raw/emodb is not a folder)" in capsys.readouterr().err
    assert names(Path("data")) == stems(*RAVDESS)


@pytest.mark.parametrize(
    ("corpora", "says"),
    [
        (["ravdess", "emodbb"], "unknown corpus 'emodbb'; choose one of: "),
        (["all"], "--source raw has no folder of a corpus; `all` looks for "),
    ],
)
def test_a_mistake_comes_before_the_work(
    trees: Path, capsys: pytest.CaptureFixture[str], corpora: list[str], says: str
) -> None:
    if corpora == ["all"]:
        trees.rename("elsewhere")
        trees.mkdir()
    assert run(*corpora) == 2
    assert f"build: {says}" in capsys.readouterr().err
    assert not Path("data").exists()


def test_a_partial_copy_is_built_with_a_note(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        "emodb: 3 of the 535 clips of a complete copy; fewer are neutral 0 of 79, "
        "happiness 1 of 71, sadness 0 of 62, anger 1 of 127, fear 0 of 69 and 2 more"
    ) in lines
    assert any(
        line.startswith("ravdess: 5 of the 1,440 clips of a complete copy; ") for line in lines
    )


def test_a_fabricated_copy_is_not_compared_with_the_corpus(
    raw_ravdess: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ravdess", "--source", str(raw_ravdess), "--out", str(tmp_path / "data")]
    assert run_command("build", main, arguments) == 0
    assert capsys.readouterr().out == f"ravdess: 120 clips in {tmp_path / 'data' / 'ravdess'}\n"
