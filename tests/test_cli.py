"""The door: cheap to open, documented, and one line for every mistake."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ser_generalize
from ser_generalize import cli, command
from ser_generalize.command import CommandParser, run_command
from ser_generalize.errors import InputError

README = Path(__file__).parents[1] / "README.md"
EXPENSIVE = {"torch", "transformers", "datasets", "accelerate", "sklearn", "matplotlib", "evaluate"}


def fail(_: object) -> None:
    raise InputError("no\nfolder  here")


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


def call(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run `ser-generalize ARGV` in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["ser-generalize", *argv])
    try:
        cli.main()
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python holds after running some code."""
    shown = f"{code}\nimport sys\nprint('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.rpartition("MODULES ")[2].split()}


@pytest.mark.parametrize(
    "code",
    [
        "import ser_generalize",
        "import sys; from ser_generalize import cli; sys.argv = ['x', '--help']; cli.main()",
    ],
)
def test_looking_around_is_cheap(code: str) -> None:
    loaded = modules_after(code)
    assert "ser_generalize" in loaded
    assert not loaded & (EXPENSIVE | {"numpy", "scipy", "pyarrow"})


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_of_a_command_does_not_load_what_it_runs_on(name: str) -> None:
    loaded = modules_after(
        "import sys; from ser_generalize import cli\n"
        f"sys.argv = ['x', {name!r}, '--help']\n"
        "try: cli.main()\nexcept SystemExit: pass"
    )
    assert "ser_generalize" in loaded
    assert not loaded & {"torch", "transformers", "sklearn", "matplotlib"}


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_help_lists_every_command(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(argv, monkeypatch) == 0
    printed = capsys.readouterr()
    listed = re.findall(r"^  (\w+) +\S.*", printed.out, re.MULTILINE)
    assert set(cli.COMMANDS) <= set(listed)
    assert "example:\n  ser-generalize " in printed.out
    assert not printed.err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_helps_with_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([name, "--help"], monkeypatch) == 0
    text = capsys.readouterr().out
    assert re.search(rf"^example:\n  ser-generalize {name}\b.*\S", text, re.MULTILINE)
    options = re.search(r"\n  ser-generalize (.*)", text[text.index("example:") :])
    assert options is not None
    for option in re.findall(r"--[\w-]+", options[1]):  # an example must not lag behind
        assert option in text[: text.index("example:")]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    assert f"ser-generalize {name}" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_wrong_option_is_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([name, "--no-such-option"], monkeypatch) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert re.fullmatch(
        rf"ser-generalize {name}: .*`ser-generalize {name} --help`.*\n", printed.err
    )


def test_an_unknown_command_names_the_valid_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["tarin", "--out", "x"], monkeypatch) == 2
    valid = ", ".join(cli.COMMANDS)
    assert capsys.readouterr().err == (
        f"ser-generalize: unknown command 'tarin'; choose one of: {valid}\n"
    )


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([flag], monkeypatch) == 0
    assert capsys.readouterr().out == f"ser-generalize {ser_generalize.__version__}\n"


def test_ctrl_c_is_130_even_while_a_command_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib, "import_module", interrupt)
    assert call(["train"], monkeypatch) == 130
    printed = capsys.readouterr().err
    assert printed == "ser-generalize train: interrupted; run the same command again to go on\n"


def test_a_mistake_of_several_lines_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("x", fail, []) == 2
    assert capsys.readouterr().err == "x: no folder here\n"


def test_a_mistake_in_a_launch_is_said_by_the_first_process_while_others_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(command.time, "sleep", waited.append)
    monkeypatch.setenv("RANK", "1")
    assert run_command("x", fail, []) == 2
    assert not capsys.readouterr().err
    assert waited == [command.PATIENCE]
    assert run_command("x", interrupt, []) == 130  # Ctrl-C reaches all of them: nobody waits
    assert not capsys.readouterr().err
    monkeypatch.setenv("RANK", "0")
    assert run_command("x", fail, []) == 2
    assert capsys.readouterr().err == "x: no folder here\n"
    assert len(waited) == 1


def test_what_the_disk_refuses_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    assert run_command("x", lambda _: (file / "below").mkdir(), []) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"x: {file / 'below'} cannot be read or written (")
    assert line.count("\n") == 1


def test_what_is_no_mistake_of_the_user_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command("x", lambda _: 1 // 0, [])  # type: ignore[arg-type, return-value]


def test_options_are_not_guessed_from_their_beginning() -> None:
    """Or a script breaks the day a second option begins alike."""
    parser = CommandParser("x", "Does it.", "x --embeddings e")
    parser.add_argument("--embeddings")
    with pytest.raises(InputError, match="unrecognized arguments: --emb"):
        parser.parse_args(["--emb", "e"])
