"""The shelf: what visitors may choose, and that nothing else is opened, whatever they call it."""

from pathlib import Path

import pytest
from checkpoints import Shelf
from hub_server import Hub
from make_checkpoint import make_checkpoint

from ser_generalize.errors import InputError

CARD = "---\ntags:\n- whisper\n- ser-generalize\n---\n"
TRAP = "raise SystemExit('code from a checkpoint was run')\n"


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tiny_encoder, tmp_path_factory.mktemp("runs") / "smote" / "checkpoint")


@pytest.fixture
def published(hub: Hub, checkpoint: Path) -> Hub:
    """A Hub with a model of ours, one without the tag, a private one, and somebody else's."""
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    files |= {"modeling.py": TRAP.encode(), "README.md": CARD.encode()}
    hub.add("model", "org/tagged").put(files)
    hub.add("model", "org/untagged").put(files | {"README.md": b"---\ntags:\n- whisper\n---\n"})
    hub.add("model", "org/private", private=True).put(files)
    hub.add("model", "evil/tagged").put(files)
    return hub


def test_visitors_see_names_of_runs_and_no_folders(checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "smote" / "checkpoint"
    other.parent.mkdir()
    other.symlink_to(checkpoint)
    copied = tmp_path / "mine"
    copied.mkdir()
    shelf = Shelf([str(checkpoint), str(copied), str(tmp_path / "smote")])
    assert shelf.names() == ["smote", "mine", "smote (2)"]


def test_an_empty_shelf_says_so() -> None:
    with pytest.raises(InputError, match="No checkpoint is offered here yet"):
        Shelf([]).load("any")


def test_a_checkpoint_is_loaded_once(checkpoint: Path) -> None:
    shelf = Shelf([str(checkpoint)])
    assert shelf.load("smote") is shelf.load("smote")


def test_what_is_no_checkpoint_is_refused_at_the_start() -> None:
    with pytest.raises(InputError, match="neither a folder nor a Hub id"):
        Shelf(["runs/finale/checkpoint"])


@pytest.mark.parametrize(
    "name",
    ["", "../smote", "../../etc", "/etc", "org/../smote", "evil/tagged", "org/untagged",
     "org/private", "ORG/tagged", "smote/checkpoint"],
)  # fmt: skip
def test_what_is_not_on_the_shelf_is_never_opened(
    published: Hub, checkpoint: Path, name: str
) -> None:
    shelf = Shelf([str(checkpoint)], "org")
    shelf.names()
    published.requests.clear()
    with pytest.raises(InputError, match="is not among the checkpoints offered here") as caught:
        shelf.load(name)
    assert str(caught.value).endswith("choose one of: smote, org/tagged.")
    assert str(checkpoint.parent.parent) not in str(caught.value)
    assert not published.requests


def test_tagged_models_of_the_organisation_are_offered_and_none_of_their_code_is_run(
    published: Hub, checkpoint: Path
) -> None:
    shelf = Shelf([str(checkpoint), "evil/tagged"], "org")  # what the host names is allowed too
    assert not published.requests  # the network is asked when somebody looks, not before
    assert shelf.names() == ["smote", "evil/tagged", "org/tagged"]
    assert shelf.load("org/tagged").config.whisper == shelf.load("smote").config.whisper
    asked = [request.path for request in published.requests if "/resolve/" in request.path]
    assert asked and all(path.endswith((".json", ".safetensors")) for path in asked)


def test_the_hub_is_not_asked_at_every_request(published: Hub) -> None:
    shelf = Shelf([], "org")
    assert [shelf.names() for _ in range(3)] == [["org/tagged"]] * 3
    assert [request.path for request in published.requests].count("/api/models") == 1


def test_without_the_hub_local_checkpoints_are_offered(
    hub: Hub, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fail("GET", "/api/models", status=500)
    assert Shelf([str(checkpoint)], "org").names() == ["smote"]
    assert "the Hub did not list org" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named_without_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "bad"
    damaged.mkdir()
    (damaged / "config.json").write_text("{")
    (damaged / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"^bad cannot be loaded now; choose another") as caught:
        Shelf([str(damaged)]).load("bad")
    assert str(tmp_path) not in str(caught.value)
    assert str(damaged) in capsys.readouterr().err  # the host is told
