"""The demo, on two corpora: it leaves a report, goes on where it stopped, and replaces nothing."""

from pathlib import Path

import pytest

from ser_generalize import demo
from ser_generalize.checkpoint import load_checkpoint
from ser_generalize.command import run_command
from ser_generalize.errors import InputError
from ser_generalize.predictions import read_predictions


@pytest.fixture(scope="module")
def done(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    demo.demo(out, str(tiny_encoder), corpora=("emov_db", "tess"), speakers=2, clips=6)
    return out


def test_every_speaker_of_every_corpus_was_left_out_once(done: Path) -> None:
    for sampler in demo.SAMPLERS:
        (run,) = (done / "study" / "runs").glob(f"loso-four-each-{sampler}-*")
        predictions = read_predictions(run)
        speakers = set(predictions.column("speaker"))
        assert speakers == {"emov_db:bea", "emov_db:sam", "tess:OAF", "tess:YAF"}
        assert set(predictions.column("elicitation")) == {"synthetic"}
    report = (done / "study" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Leave one corpus out" in report
    assert "these figures say nothing about real voices" in report


def test_it_leaves_a_model_that_says_its_voices_were_fabricated(done: Path) -> None:
    folder = done / "runs" / demo.FINAL / "checkpoint"
    assert load_checkpoint(str(folder)).config.training["adapt"] == "speaker-adapted by 5 clips"
    assert "FABRICATED TRAINING DATA" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_demo_that_was_interrupted_goes_on(
    done: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is not fabricated again, and done runs are not trained again."""
    monkeypatch.setattr("dataset_scripts.fabricate.fabricate_corpus", None)
    monkeypatch.setattr("ser_generalize.experiment._train_folds", None)
    demo.demo(done, str(tiny_encoder), corpora=("emov_db", "tess"))


def test_all_eleven_corpora_are_the_default(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def remember(name: str, *_: object) -> None:
        asked.append(name)
        if len(asked) == 11:
            raise InputError("enough")

    monkeypatch.setattr("dataset_scripts.fabricate.fabricate_corpus", remember)
    with pytest.raises(InputError, match="enough"):
        demo.demo(tmp_path / "out", str(tiny_encoder))
    assert len(set(asked)) == 11
    assert demo.HELD_OUT not in asked


def test_the_demo_leaves_what_is_not_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    assert run_command("demo", demo.main, ["--out", str(tmp_path)]) == 2
    assert "exists and is no demo" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
