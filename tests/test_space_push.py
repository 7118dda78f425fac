"""The command: what it publishes runs where nothing of ours is installed, and its mistakes."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from hub_server import WRITER, Hub
from packaging.requirements import Requirement

from ser_generalize import space
from ser_generalize.command import run_command
from ser_generalize.errors import InputError
from ser_generalize.space import PACKAGES, PAGE, push_space

NAME = "org/listen"
IMPORT = """
import json, sys
import app
print("LOADED", json.dumps({name: getattr(module, "__file__", None)
                            for name, module in list(sys.modules.items())}))
"""


@pytest.fixture
def pushed(hub: Hub, tmp_path: Path) -> Path:
    """The folder that a Space of the Hub would run."""
    push_space(NAME, ["org/model"], benchmark="org/study")
    folder = tmp_path / "repository"
    for path, blob in hub.repository("space", NAME).head.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(blob.data)
    return folder


def run(*arguments: str) -> int:
    return run_command("ser-generalize space", space.main, arguments)


def loaded(folder: Path) -> dict[str, str | None]:
    """Return the modules, and their files, of a fresh Python that imported the page in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], cwd=folder, capture_output=True, text=True,
        env={"PATH": "", "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.partition("LOADED ")[2]))


def imports(path: Path) -> Iterator[str]:
    """Yield the top-level modules that a file imports outside of functions."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_what_was_pushed_runs_without_an_installation(pushed: Path) -> None:
    """And its requirements name every package that it imports."""
    modules = loaded(pushed)
    ours = [Path(str(file)) for name, file in modules.items() if file and str(pushed) in file]
    assert {modules[package] for package in ("app", "ser_generalize", "dataset_scripts")} <= {
        *map(str, ours)
    }
    text = (pushed / "requirements.txt").read_text("utf-8")
    named = {Requirement(line).name for line in text.splitlines() if not line.startswith("#")}
    named |= {"gradio", "ser-generalize"}
    used = {module for path in ours for module in imports(path)}
    for module in used - {*sys.stdlib_module_names} - {path.stem for path in pushed.glob("*.py")}:
        found = packages_distributions().get(module, [module])
        assert {name.lower().replace("_", "-") for name in found} & named, module


def test_the_requirements_are_those_of_the_package() -> None:
    project = (PAGE.parent / "pyproject.toml").read_text("utf-8")
    for line in (PAGE / "requirements.txt").read_text("utf-8").splitlines():
        assert line.startswith("#") or f'"{line}"' in project, line


def test_an_installation_takes_every_file_of_the_page_along() -> None:
    project = tomllib.loads((PAGE.parent / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["space"]
    for path in PAGE.iterdir():
        assert path.is_dir() or path.suffix == ".py" or any(map(path.match, patterns)), path


def test_the_card_is_what_a_space_reads(pushed: Path) -> None:
    card = (pushed / "README.md").read_text("utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["sdk"] == "gradio" and (pushed / front["app_file"]).is_file()
    assert re.fullmatch(r"\d+\.\d+\.\d+", front["sdk_version"])
    assert front["models"] == ["org/model"] and front["datasets"] == ["org/study"]
    assert len(front["short_description"]) <= 60  # what the Hub takes
    assert "hiring" in card
    settings = json.loads((pushed / "settings.json").read_bytes())
    assert settings == {
        "checkpoints": ["org/model"], "organisation": "org", "benchmark": "org/study",
    }  # fmt: skip


def test_a_second_push_sends_nothing_and_deletes_what_is_gone(hub: Hub) -> None:
    push_space(NAME)
    assert push_space(NAME) == []
    hub.repository("space", NAME).put({"old.py": b"print()\n"})
    assert push_space(NAME) == ["old.py"]


def test_nothing_but_the_page_and_its_packages_is_sent(hub: Hub) -> None:
    sent = push_space(NAME)
    kept = {"README.md", "settings.json", *(path.name for path in PAGE.iterdir())}
    assert all(path in kept or path.partition("/")[0] in PACKAGES for path in sent)
    assert not [path for path in sent if "pycache" in path or path.endswith((".pyc", ".pyi"))]
    assert "app.py" in sent and "ser_generalize/modeling.py" in sent


def test_a_local_checkpoint_cannot_go_along(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder of this machine"):
        push_space(NAME, [str(tmp_path)])
    assert not hub.writes


def test_the_command_pushes_and_says_what_it_did(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--push", NAME, "--checkpoint", "org/model", "--private") == 0
    assert hub.repository("space", NAME).private
    assert "the Space org/listen (private)" in capsys.readouterr().out
    assert run("--push", "org/listen/x") == 2
    assert run("--push", "other/listen") == 2  # may not write there
    said = capsys.readouterr().err
    assert "no id of the Hub" in said and "403" in said and WRITER not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to listen with: give --checkpoint"),
        (["--private"], "--private is for --push"),
        (["--checkpoint", "runs/none/x"], "neither a folder nor a Hub id"),
        (["--checkpoint", "runs/none"], "no local folder and the Hub did not give it"),
        (["--port", "high"], "invalid int value"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    printed = capsys.readouterr().err
    assert said in printed and printed.count("\n") == 1


def test_without_gradio_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run("--checkpoint", str(tmp_path)) == 2
    assert "ser-generalize[space]" in capsys.readouterr().err
