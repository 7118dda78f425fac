"""Repositories of the Hub: real clients, a server on this machine, everything it can refuse."""

import hashlib
import os
import traceback
from pathlib import Path

import pytest
from hub_server import READER, WRITER, Hub
from huggingface_hub import constants

from ser_generalize.errors import InputError
from ser_generalize.repository import Repository

NAME = "org/things"
SHARD = "part/one.parquet"


def repository(visibility: str = "public") -> Repository:
    return Repository(NAME, "dataset", visibility)  # type: ignore[arg-type]


def held(hub: Hub) -> dict[str, bytes]:
    files = hub.repository("dataset", NAME).head.files
    return {path: blob.data for path, blob in files.items() if path != ".gitattributes"}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A file large enough to be cut off on its way."""
    path = tmp_path / "one.parquet"
    path.write_bytes(os.urandom(500_000))
    return path


def push(shard: Path, visibility: str = "public") -> list[str]:
    there = repository(visibility)
    there.check()
    there.open()
    files = {SHARD: shard, "part/note.txt": b"text", "README.md": b"---\nlicense: mit\n---\n"}
    return there.replace(there.contents(), ("part/",), files, "push")


@pytest.mark.parametrize("visibility", ["public", "gated", "private"])
def test_a_repository_is_made_as_visible_as_meant(hub: Hub, shard: Path, visibility: str) -> None:
    assert sorted(push(shard, visibility)) == ["README.md", "part/note.txt", SHARD]
    made = hub.repository("dataset", NAME)
    assert (made.private, bool(made.gated)) == (visibility == "private", visibility == "gated")
    assert repository().actual_visibility() == visibility
    settings = [n for n, r in enumerate(hub.requests) if r.path.endswith("/settings")]
    uploads = [n for n, r in enumerate(hub.requests) if r.path.startswith("/lfs/")]
    assert len(uploads) == 1 and all(number < uploads[0] for number in settings)


def test_a_push_replaces_what_is_below_its_paths_and_nothing_else(hub: Hub, shard: Path) -> None:
    hub.add("dataset", NAME).put({"part/old.parquet": b"old", "other/x.parquet": b"x", "a": b"a"})
    push(shard)
    assert held(hub) == {
        SHARD: shard.read_bytes(), "part/note.txt": b"text", "other/x.parquet": b"x", "a": b"a",
        "README.md": b"---\nlicense: mit\n---\n",
    }  # fmt: skip
    assert len(hub.repository("dataset", NAME).commits) == 3


def test_what_is_there_is_not_sent_again(hub: Hub, shard: Path) -> None:
    push(shard)
    hub.requests.clear()
    assert push(shard) == [] and hub.writes == []
    shard.write_bytes(os.urandom(500_000))  # of the same size
    assert push(shard) == [SHARD]


def test_a_repository_that_is_public_is_not_taken_for_private(hub: Hub, shard: Path) -> None:
    hub.add("dataset", NAME)
    with pytest.raises(InputError, match="org/things is there and not private"):
        push(shard, "private")
    assert hub.writes == []


@pytest.mark.parametrize("visibility", ["gated", "private"])
def test_a_hub_that_does_not_keep_others_out_gets_nothing(
    hub: Hub, shard: Path, visibility: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = hub.add
    monkeypatch.setattr(hub, "add", lambda kind, name, **_: add(kind, name))
    monkeypatch.setattr("hub_server.Handler._configure", lambda *_: {})
    with pytest.raises(InputError, match=f"is public, not {visibility}, and nothing was sent"):
        push(shard, visibility)
    assert held(hub) == {} and not any(r.path.startswith("/lfs/") for r in hub.requests)


def test_two_who_push_at_once_do_not_mix(hub: Hub, shard: Path) -> None:
    push(shard)
    contents = repository().contents()
    hub.repository("dataset", NAME).put({"part/theirs.txt": b"theirs"})
    before = held(hub)
    with pytest.raises(InputError, match=r"answered 412 .* changed it meanwhile"):
        repository().replace(contents, ("part/",), {"part/note.txt": b"mine"}, "push")
    assert held(hub) == before


# Each as (method, path, fault, what the line says)
FAILURES = {
    "an upload that is cut": ("PUT", "/lfs/", {"cut": 100_000}, "connection to the Hub failed"),
    "an upload refused": ("PUT", "/lfs/", {"status": 403}, "answered 403.* token"),
    "a storage with a fault": ("PUT", "/lfs/", {"status": 500}, "answered 500.* again later"),
    "an upload that is not whole": ("POST", "/verify", {"status": 404}, "answered 404"),
    "a limit": (
        "POST", "/commit/", {"status": 429, "headers": {"Retry-After": "7"}}, "429.* limits"),
    "a limit on uploads": (
        "POST", "/batch", {"status": 429, "headers": {"Retry-After": "7"}}, "429.* limits"),
    "a commit refused": ("POST", "/commit/", {"status": 403}, "answered 403"),
    "a token that expired": ("POST", "/preupload/", {"status": 401}, "answered 401.*hf auth"),
    "a fault at the commit": ("POST", "/commit/", {"status": 500}, "answered 500"),
    "a commit that is cut": ("POST", "/commit/", {"cut": 10}, "connection to the Hub failed"),
    "a listing that fails": ("GET", "/tree/", {"status": 500}, "answered 500"),
    "a repository not made": ("POST", "/create", {"status": 403}, "answered 403"),
    "gating refused": ("PUT", "/settings", {"status": 403}, "answered 403"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_changes_nothing_and_the_next_push_completes_it(
    name: str, hub: Hub, shard: Path
) -> None:
    method, path, fault, line = FAILURES[name]
    hub.fail(method, path, message=f"you sent Bearer {WRITER}", **fault)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=line) as failed:
        push(shard, "gated")
    text = "".join(traceback.format_exception(failed.value))
    assert WRITER not in text and "\n" not in str(failed.value)
    assert ("dataset", NAME) not in hub.repositories or held(hub) == {}
    hub.faults.clear()
    push(shard, "gated")
    assert set(held(hub)) == {SHARD, "part/note.txt", "README.md"}
    assert hub.repository("dataset", NAME).gated


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub: Hub, shard: Path) -> None:
    hub.fail("POST", "/commit/", after=True, times=1)
    with pytest.raises(InputError, match="connection to the Hub failed"):
        push(shard)
    assert push(shard) == []
    assert [commit.message for commit in hub.repository("dataset", NAME).commits[1:]] == ["push"]


def test_shards_that_arrived_before_a_failure_are_not_sent_again(hub: Hub, shard: Path) -> None:
    other = shard.with_name("two.parquet")
    other.write_bytes(os.urandom(500_000))
    repository().open()
    hub.fail("PUT", hashlib.sha256(other.read_bytes()).hexdigest(), 403)
    shards = {SHARD: shard, "part/two.parquet": other}
    with pytest.raises(InputError, match="answered 403"):
        repository().replace(repository().contents(), ("part/",), shards, "push")
    assert held(hub) == {}
    hub.faults.clear()
    hub.requests.clear()
    repository().replace(repository().contents(), ("part/",), shards, "push")
    assert [r.path[-64:] for r in hub.requests if r.method == "PUT"] == [
        hashlib.sha256(other.read_bytes()).hexdigest()
    ]


def test_what_passes_by_itself_is_waited_for(hub: Hub, shard: Path) -> None:
    hub.fail("PUT", "/lfs/", cut=200_000, times=2)
    hub.fail("POST", "/batch", 429, headers={"Retry-After": "1"}, times=1)
    assert len(push(shard)) == 3


@pytest.mark.parametrize(
    ("token", "line"),
    [
        (None, "no token to write to the Hub with; log in with `hf auth login`"),
        (READER, "answered 403"),
        ("hf_TokenThatWasRevoked", "answered 401"),
    ],
)
def test_a_token_that_does_not_do_is_said_and_not_shown(
    token: str | None, line: str, hub: Hub, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError, match=line) as failed:
        push(shard)
    assert (token or WRITER) not in "".join(traceback.format_exception(failed.value))
    assert hub.repositories == {}


def test_a_hub_that_is_not_there_or_not_to_be_asked_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(InputError, match=r"^org/things: the connection to the Hub failed"):
        repository().check()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="may not be asked while HF_HUB_OFFLINE is set"):
        repository().check()


def test_a_repository_this_token_cannot_see_is_not_there_for_it(
    hub: Hub, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("dataset", NAME, private=True)
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(InputError, match="answered 403"):
        push(shard)
    with pytest.raises(InputError, match="not on the Hub, or not for this token to see"):
        repository().contents()
