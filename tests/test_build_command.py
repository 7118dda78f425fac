"""`python -m dataset_scripts.build`: a mistake is one line, exit code 2, and changes nothing."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from make_trees import (
    ANGRY,
    CALM,
    EMODB,
    HAPPY,
    NEUTRAL,
    RAVDESS,
    SURPRISED,
    names,
    raw,
    record,
    skipped,
    snapshot,
    stems,
)

from dataset_scripts.build import main
from dataset_scripts.corpus import corpus_names
from ser_generalize.command import run_command


def source_of(tmp_path: Path, kind: str) -> Path:
    source = tmp_path / "raw"
    source.mkdir()
    if kind == "another corpus":
        raw(source, EMODB)
    elif kind == "leftovers of macOS":
        record(source / "._03-01-05-01-02-01-12.wav", 0)
    elif kind == "no corpus":
        record(source / "birdsong.wav", 0)
    elif kind == "all bad":
        for number, file in enumerate(RAVDESS):
            (source / file).parent.mkdir(exist_ok=True)
            (source / file).write_bytes(b"no audio" * number)
    elif kind == "good":
        raw(source, RAVDESS)
    return source


KNOWN = f"one of: {', '.join(corpus_names())}"
ALL_BAD = ["none is usable (", "03-01-01-01-01-01-01.wav: the file is empty (0 bytes)", "2 more"]
MISTAKES: dict[str, tuple[str, Sequence[str], Sequence[str]]] = {
    "no arguments": ("", [], ["required: corpus, --source, --out", "--help"]),
    "no source": ("", ["ravdess", "--out", "data"], ["required: --source", "--help"]),
    "unknown corpus": ("good", ["ravdes", "--source", "raw", "--out", "data"],
                       ["unknown corpus 'ravdes'", KNOWN]),
    "source is not there": ("", ["ravdess", "--source", "nowhere", "--out", "data"],
                            ["--source nowhere is not a folder"]),
    "source is a file": ("good", ["ravdess", "--source", f"raw/{CALM}", "--out", "data"],
                         [f"--source raw/{CALM} is not a folder"]),
    "empty": ("", ["ravdess", "--source", "raw", "--out", "data"],
              ["no audio file below raw", "RAVDESS"]),
    "leftovers of macOS": ("leftovers of macOS", ["ravdess", "--source", "raw", "--out", "data"],
                           ["no audio file below raw"]),
    "another corpus": ("another corpus", ["ravdess", "--source", "raw", "--out", "data"],
                       ["no RAVDESS", "such as 03-01-05-01-02-01-12.wav", "3 audio files",
                        "03a01Fa.wav", "it looks like emodb"]),
    "no corpus": ("no corpus", ["emodb", "--source", "raw", "--out", "data"],
                  ["no EmoDB", "1 audio file below raw", "the first is birdsong.wav"]),
    "all bad": ("all bad", ["ravdess", "--source", "raw", "--out", "data"], ALL_BAD),
    "out is a file": ("good", ["ravdess", "--source", "raw", "--out", f"raw/{CALM}"],
                      [f"raw/{CALM} is a file"]),
}  # fmt: skip


def without_bar(stderr: str) -> list[str]:
    lines = stderr.replace("\r", "\n").splitlines()
    return [line for line in lines if line and not re.match(r"build \w+: +\d+%\|", line)]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mistake: str,
) -> None:
    kind, arguments, says = MISTAKES[mistake]
    source_of(tmp_path, kind)
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    assert run_command("build", main, arguments) == 2
    output = capsys.readouterr()
    (line,) = without_bar(output.err)
    assert line.startswith("build: ")
    assert all(part in line for part in says), line
    assert not output.out
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("out", "says"),
    [
        (".", "--out . would replace --source ravdess"),
        ("raw", "raw/ravdess is no earlier build and would be replaced"),
    ],
)
def test_a_raw_corpus_is_never_replaced_by_its_build(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: str,
    says: str,
) -> None:
    """`--source corpora/ravdess --out corpora` would write to where the raw corpus lies."""
    raw(tmp_path / "ravdess", RAVDESS)
    raw(tmp_path / "raw" / "ravdess", RAVDESS)
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    assert run_command("build", main, ["ravdess", "--source", "ravdess", "--out", out]) == 2
    assert says in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    full = [sys.executable, "-m", "dataset_scripts.build", *arguments]
    return subprocess.run(full, capture_output=True, text=True, cwd=tmp_path)


@pytest.mark.parametrize("mistake", ["unknown corpus", "all bad"])
def test_the_real_command_fails_in_one_line(tmp_path: Path, mistake: str) -> None:
    kind, arguments, says = MISTAKES[mistake]
    source_of(tmp_path, kind)
    done = command(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = without_bar(done.stderr)
    assert all(part in line for part in says), line
    assert not (tmp_path / "data").exists()


def test_the_real_command_builds_and_lists_what_it_skipped(tmp_path: Path) -> None:
    source = source_of(tmp_path, "good")
    (source / CALM).write_bytes(b"")
    (source / HAPPY).write_bytes((source / HAPPY).read_bytes()[:-600])
    done = command(tmp_path, "ravdess", "--source", "raw", "--out", "data")
    assert (done.returncode, without_bar(done.stderr)) == (0, [])
    first, second, third = done.stdout.splitlines()
    assert first == "ravdess: 3 clips in data/ravdess"
    assert second.startswith("ravdess: 2 files skipped, listed in data/ravdess/skipped.tsv: ")
    for file, reason in ((CALM, "the file is empty"), (HAPPY, "truncated: 5800 of 6400 bytes")):
        assert f"{Path(file).name} ({reason}" in second
        assert skipped(tmp_path / "data")[file].startswith(reason)
    assert third.startswith(
        "ravdess: 3 of the 1,440 clips of a complete copy; fewer are neutral 1 "
    )
    assert len(skipped(tmp_path / "data")) == 2
    assert names(tmp_path / "data") == stems(NEUTRAL, ANGRY, SURPRISED)


def test_help_ends_with_an_example_that_runs(tmp_path: Path) -> None:
    done = command(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"one or more of: {', '.join(corpus_names())}; or `all`" in " ".join(done.stdout.split())
    _, _, example = done.stdout.splitlines()[-1].partition("dataset_scripts.build ")
    arguments = example.replace("~", str(tmp_path)).split()
    arguments[arguments.index("--out") + 1] = str(tmp_path / "data")
    raw(tmp_path / "corpora" / "ravdess", RAVDESS)
    assert run_command("build", main, arguments) == 0
    assert names(tmp_path / "data") == stems(*RAVDESS)
