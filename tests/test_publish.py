"""Publishing: what goes where, what may not, what failures leave, and what a dry run says."""

import json
import re
import shutil
import traceback
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from hub_repository import Repository
from hub_server import READER, WRITER, Hub
from make_trees import EMODB, RAVDESS, raw

from dataset_scripts.build import build
from dataset_scripts.publish import main, plan, publish
from ser_generalize.command import run_command
from ser_generalize.errors import InputError

REPO, GATED = "org/ser-11", "org/ser-11-gated"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of RAVDESS, which may be public, and EmoDB, which has to be gated."""
    base = tmp_path_factory.mktemp("to-publish")
    build("ravdess", raw(base / "ravdess", RAVDESS), base / "data")
    build("emodb", raw(base / "emodb", EMODB, seed=50), base / "data")
    return base / "data"


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(built, tmp_path / "data")


def run(*arguments: object) -> int:
    return run_command("publish", main, [str(argument) for argument in arguments])


def change(folder: Path, corpus: str, **values: object) -> Path:
    """Change what the summary of a built corpus says."""
    path = folder / corpus / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def remote(hub: Hub, name: str = REPO) -> Repository:
    return hub.repository("dataset", name)


def configs(files: dict[str, bytes]) -> set[str]:
    """Return the corpora that a card names."""
    card = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    return {config["config_name"] for config in card["configs"]} - {"default", "folds"}


def data_of(files: dict[str, bytes]) -> set[str]:
    """Return the corpora that have shards."""
    return {path.split("/")[0] for path in files if path.endswith(".parquet")} - {"folds"}


def held(repository: Repository, commit: int = -1) -> dict[str, bytes]:
    files = repository.commits[commit].files
    return {path: blob.data for path, blob in files.items() if path != ".gitattributes"}


def on_disk(folder: Path, *corpora: str) -> dict[str, bytes]:
    inside = [path for path in folder.rglob("*") if path.is_file()]
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in inside}
    starts = tuple(start for name in corpora for start in (f"{name}/", f"folds/{name}.parquet"))
    return {path: data for path, data in named.items() if path.startswith(starts)}


def assert_consistent(repository: Repository) -> None:
    """No commit's card names a corpus that is not there, nor leaves one out that is."""
    for number in range(1, len(repository.commits)):
        files = held(repository, number)
        assert configs(files) == data_of(files)


def test_every_corpus_goes_where_its_terms_let_it(hub: Hub, built: Path) -> None:
    assert run(built, "--repo", REPO) == 0
    public, gated = remote(hub), remote(hub, GATED)
    assert (public.private, public.gated, gated.private, gated.gated) == (
        False, False, False, "auto",
    )  # fmt: skip
    for repository, corpus in ((public, "ravdess"), (gated, "emodb")):
        files = held(repository)
        assert files.pop("README.md")
        assert files == on_disk(built, corpus)
        assert len(repository.commits) == 2
        assert_consistent(repository)
    card = yaml.safe_load(held(gated)["README.md"].decode().split("---\n")[1])
    assert "EmoDB" in card["extra_gated_prompt"]
    assert "http://emodb.bilderbar.info/" in card["extra_gated_prompt"]
    assert list(card["extra_gated_fields"].values()) == ["checkbox", "text"]


def test_private_puts_everything_into_one_private_repository(hub: Hub, folder: Path) -> None:
    change(folder, "emodb", redistribution="private")
    assert run(folder, "--repo", REPO, "--private") == 0
    assert set(hub.repositories) == {("dataset", REPO)} and remote(hub).private
    files = held(remote(hub))
    assert configs(files) == {"emodb", "ravdess"}
    assert files.items() >= on_disk(folder, "emodb", "ravdess").items()
    assert [commit.message for commit in remote(hub).commits[1:]] == [
        "EmoDB, the Berlin Database of Emotional Speech: 3 clips", "RAVDESS, speech part: 5 clips",
    ]  # fmt: skip
    assert_consistent(remote(hub))


def test_a_corpus_published_later_joins_those_that_are_there(hub: Hub, built: Path) -> None:
    for corpus in ("ravdess", "emodb"):
        assert run(built, "--repo", REPO, "--private", "--corpora", corpus) == 0
    assert configs(held(remote(hub))) == {"emodb", "ravdess"}
    assert_consistent(remote(hub))


def refused(hub: Hub, *arguments: object) -> str:
    """Return the line with which publishing is refused; nothing may have been sent by then."""
    with pytest.raises(InputError) as error:
        main([str(argument) for argument in arguments])
    sent = [r for r in hub.writes if not r.path.endswith(("/create", "/settings"))]
    assert not sent, "refused after something was sent"
    return str(error.value)


def test_a_private_corpus_is_refused_by_name(hub: Hub, folder: Path) -> None:
    change(folder, "ravdess", redistribution="private")
    line = refused(hub, folder, "--repo", REPO)
    assert "ravdess may only go into a private repository" in line and "--private" in line
    assert hub.requests == []


def test_what_the_loading_script_says_by_now_binds_an_older_build(hub: Hub, folder: Path) -> None:
    change(folder, "emodb", redistribution="public")
    assert run(folder, "--repo", REPO) == 0
    assert data_of(held(remote(hub))) == {"ravdess"}


def test_an_existing_public_repository_is_not_private(hub: Hub, built: Path) -> None:
    hub.add("dataset", REPO)
    assert "is there and not private" in refused(hub, built, "--repo", REPO, "--private")
    assert hub.writes == []


def test_a_repository_that_was_opened_gets_no_more(hub: Hub, built: Path) -> None:
    assert run(built, "--repo", REPO, "--private", "--corpora", "emodb") == 0
    remote(hub).private = False
    hub.requests.clear()
    line = refused(hub, built, "--repo", REPO, "--corpora", "ravdess")
    assert f"{REPO} is public" in line and "emodb may only go into a gated repository" in line


def test_one_opened_in_between_gets_no_more(hub: Hub, built: Path) -> None:
    made = publish(plan(built, REPO, private=True))
    assert next(made)[0].corpus == "emodb"
    remote(hub).private = False
    with pytest.raises(InputError, match="emodb may only go into a gated repository"):
        next(made)
    assert len(remote(hub).commits) == 2


def test_an_existing_repository_is_gated_before_anything_is_sent(hub: Hub, built: Path) -> None:
    hub.add("dataset", GATED)
    assert run(built, "--repo", REPO, "--corpora", "emodb") == 0
    paths = [request.path for request in hub.writes]
    assert paths[0].endswith("/settings") and remote(hub, GATED).gated == "auto"


def test_manual_approval_stays_manual(hub: Hub, built: Path) -> None:
    hub.add("dataset", GATED, gated="manual")
    assert run(built, "--repo", REPO, "--corpora", "emodb") == 0
    assert remote(hub, GATED).gated == "manual"


def test_publishing_twice_sends_nothing_twice(
    hub: Hub, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(built, "--repo", REPO)
    hub.requests.clear()
    assert run(built, "--repo", REPO) == 0
    assert hub.writes == []
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"emodb: there already, in {GATED}", f"ravdess: there already, in {REPO}",
    ]  # fmt: skip


def test_a_rebuilt_corpus_replaces_its_shards_in_one_commit(hub: Hub, folder: Path) -> None:
    run(folder, "--repo", REPO)
    shard = next((folder / "ravdess").glob("*.parquet"))
    shard.rename(shard.with_name("ravdess-00000-of-00009.parquet"))
    remote(hub).put({"notes.md": b"of the owner"})
    assert run(folder, "--repo", REPO) == 0
    files = held(remote(hub))
    assert files.pop("notes.md") == b"of the owner" and files.pop("README.md")
    assert files == on_disk(folder, "ravdess")
    assert len(remote(hub).commits) == 4 and len(remote(hub, GATED).commits) == 2


def test_a_corpus_that_another_version_published_has_to_come_along(hub: Hub, built: Path) -> None:
    run(built, "--repo", REPO, "--private")
    remote(hub).put({"emodb/summary.json": b'{"name": "emodb"}', "ravdess/summary.json": b"[]"})
    hub.requests.clear()
    line = refused(hub, built, "--repo", REPO, "--private", "--corpora", "ravdess")
    assert "emodb/summary.json of org/ser-11 is not of this version" in line
    assert "build emodb again and publish it too" in line
    assert run(built, "--repo", REPO, "--private") == 0
    assert configs(held(remote(hub))) == {"emodb", "ravdess"}


FAILURES = {
    "the first upload": ("PUT", "/lfs/", {"cut": 300}),
    "the second corpus": ("POST", "ser-11/commit", {"status": 500}),
    "a rate limit": ("POST", "ser-11/preupload", {"status": 429, "headers": {"Retry-After": "9"}}),
    "an expired token": ("POST", "ser-11/commit", {"status": 401}),
    "no permission": ("POST", "/api/repos/create", {"status": 403}),
    "a listing": ("GET", "ser-11/tree", {"status": 500}),
}


@pytest.mark.parametrize("where", FAILURES)
def test_a_failure_is_one_line_and_publishing_again_completes(
    where: str, hub: Hub, built: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    method, path, fault = FAILURES[where]
    hub.fail(method, path, message=f"wrong: Bearer {WRITER}", **fault)  # type: ignore[arg-type]
    assert run(built, "--repo", REPO) == 2
    out, err = capfd.readouterr()
    assert err.splitlines()[-1].startswith(f"publish: {REPO}") and "Traceback" not in err
    assert WRITER not in out + err
    for repository in hub.repositories.values():
        assert_consistent(repository)
    hub.faults.clear()
    assert run(built, "--repo", REPO) == 0
    for name, corpus in ((REPO, "ravdess"), (GATED, "emodb")):
        assert held(remote(hub, name)).items() >= on_disk(built, corpus).items()
        assert len(remote(hub, name).commits) == 2


@pytest.mark.parametrize("token", [None, READER, "hf_TokenThatWasRevoked"])
def test_without_a_token_that_may_write_nothing_happens(
    token: str | None, hub: Hub, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError, match="token") as failed:
        list(publish(plan(built, REPO)))
    assert (token or WRITER) not in "".join(traceback.format_exception(failed.value))
    assert hub.repositories == {}


def test_a_dry_run_says_it_all_and_asks_nobody(
    hub: Hub,
    built: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert run(built, "--repo", REPO, "--dry-run") == 0
    said = capsys.readouterr().out
    assert hub.requests == []
    assert re.findall(r"^commit \d of 2: (\w+) to (\S+) \((\w+)\)", said, re.MULTILINE) == [
        ("emodb", GATED, "gated"), ("ravdess", REPO, "public"),
    ]  # fmt: skip
    files = on_disk(built, "emodb", "ravdess")
    listed = dict(re.findall(r"^  (\S+)  ([\d.,]+) MB$", said, re.MULTILINE))
    assert listed == {path: f"{len(data) / 1e6:,.3f}" for path, data in files.items()}


def cut_short(folder: Path) -> None:
    shard = next((folder / "ravdess").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-9])


def without_shard(folder: Path) -> None:
    next((folder / "ravdess").glob("*.parquet")).unlink()


MISTAKES: dict[str, tuple[Sequence[object], str]] = {
    "no id": (("--repo", "ser-11"), "is no id of the Hub; give ORG/NAME"),
    "a corpus not built": (("--repo", REPO, "--corpora", "esd"), "choose one of: emodb, ravdess"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_said_before_the_hub_is_asked(name: str, hub: Hub, built: Path) -> None:
    arguments, line = MISTAKES[name]
    assert line in refused(hub, built, *arguments)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("damage", "line"),
    [(cut_short, "cannot be read"), (without_shard, "holds 0 of its 5 clips")],
)
def test_a_folder_that_is_not_whole_is_not_published(
    damage: object, line: str, hub: Hub, folder: Path
) -> None:
    damage(folder)  # type: ignore[operator]
    assert line in refused(hub, folder, "--repo", REPO)
    assert hub.requests == []


def test_an_empty_folder_is_no_dataset(hub: Hub, tmp_path: Path) -> None:
    assert "holds no corpus" in refused(hub, tmp_path, "--repo", REPO)
