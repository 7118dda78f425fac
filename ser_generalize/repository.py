"""A repository of the Hub to push to: who sees it, and commits that are whole or not at all."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError: httpx's or httpx2's
    HfHubHTTPError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import DatasetInfo, ModelInfo, RepoFile, SpaceInfo

from ser_generalize.errors import InputError
from ser_generalize.files import file_digest
from ser_generalize.hub import STRICTNESS, Visibility

Content = Path | bytes  # a local file, or what is to be in one


@dataclass(frozen=True)
class Contents:
    """What a repository held at one commit."""

    commit: str
    files: Mapping[str, RepoFile]


@dataclass(frozen=True)
class Repository:
    """A repository and who is meant to see it; the user's own token is used, by `hf auth login`.

    What the Hub refuses, and a connection that breaks, is an InputError of one line. The token is
    in none of them.
    """

    name: str  # ORG/NAME
    kind: Literal["dataset", "model", "space"]
    visibility: Visibility

    def check(self) -> None:
        """Change nothing; raise InputError if it is there and more people see it than meant."""
        info = self._info()
        if info and self.visibility == "private" and not info.private:
            raise InputError(
                f"{self.name} is there and not private; make it private in its settings on the "
                "Hub, or give another name"
            )

    def open(self) -> None:
        """Create it if it is not there, switch gating on if it is meant to be, see that it is so.

        Raises InputError where more people see it than meant.
        """
        if self._info() is None:
            with _asking(self.name):
                private = self.visibility == "private"
                sdk = "gradio" if self.kind == "space" else None
                _api().create_repo(self.name, repo_type=self.kind, private=private, space_sdk=sdk)
        if self.visibility == "gated" and self.actual_visibility() == "public":
            with _asking(self.name):
                _api().update_repo_settings(self.name, repo_type=self.kind, gated="auto")
        if STRICTNESS[actual := self.actual_visibility()] < STRICTNESS[self.visibility]:
            raise InputError(
                f"{self.name} is {actual}, not {self.visibility}, and nothing was sent; change "
                "that in its settings on the Hub and run the command again"
            )

    def actual_visibility(self) -> Visibility:
        """Return who sees it, as the Hub says now."""
        info = self._there()
        return "private" if info.private else "gated" if info.gated else "public"

    def contents(self) -> Contents:
        """Return what it holds now."""
        commit = str(self._there().sha)
        with _asking(self.name):
            tree = _api().list_repo_tree(
                self.name, repo_type=self.kind, recursive=True, revision=commit
            )
            return Contents(commit, {e.path: e for e in tree if isinstance(e, RepoFile)})

    def read(self, path: str, contents: Contents) -> bytes:
        """Return a small file of it."""
        with _asking(self.name):
            return Path(
                _api().hf_hub_download(
                    self.name, path, repo_type=self.kind, revision=contents.commit
                )
            ).read_bytes()

    def replace(
        self, contents: Contents, below: tuple[str, ...], files: Mapping[str, Content], message: str
    ) -> list[str]:
        """Make one commit that writes `files` and deletes all else whose path starts with `below`.

        A file that is there with the same content is not sent again; where nothing differs there
        is no commit. Returns the paths that were sent or deleted. Raises InputError, with the
        repository as it was, where that fails, or where it changed since `contents` were read.
        """
        new = {
            path: content
            for path, content in files.items()
            if not _same(content, contents.files.get(path))
        }
        old = [path for path in contents.files if path.startswith(below) and path not in files]
        if new or old:
            operations: list[CommitOperationDelete | CommitOperationAdd] = [
                *(CommitOperationDelete(path, is_folder=False) for path in old),
                *(CommitOperationAdd(path, content) for path, content in new.items()),
            ]
            with _asking(self.name):
                _api().create_commit(
                    self.name,
                    operations,
                    commit_message=message,
                    repo_type=self.kind,
                    parent_commit=contents.commit,
                )
        return [*new, *old]

    def _info(self) -> DatasetInfo | ModelInfo | SpaceInfo | None:
        with _asking(self.name):
            try:
                info = _api().repo_info(self.name, repo_type=self.kind)
            except RepositoryNotFoundError as error:
                if error.response.status_code == 404:
                    return None
                raise
        assert isinstance(info, DatasetInfo | ModelInfo | SpaceInfo)
        return info

    def _there(self) -> DatasetInfo | ModelInfo | SpaceInfo:
        if info := self._info():
            return info
        raise InputError(f"{self.name} is not on the Hub, or not for this token to see")


def _api() -> HfApi:
    return HfApi(token=True, library_name="ser-generalize")


def _same(content: Content, there: RepoFile | None) -> bool:
    """Return whether a file of a repository has this content."""
    if there is None or _size(content) != there.size:
        return False
    if there.lfs:
        return _sha256(content) == there.lfs.sha256
    data = content if isinstance(content, bytes) else content.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
    return git.hexdigest() == there.blob_id


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _sha256(content: Content) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return file_digest(content)


@contextmanager
def _asking(repo: str) -> Iterator[None]:
    """Turn what goes wrong with the Hub into an InputError of one line.

    It is raised from nothing: the library's own errors repeat what a server said, which may be what
    it was sent, the token included.
    """
    try:
        yield
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{repo}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """Return what went wrong and what to do; uploads wrap the error that says so into another."""
    while not isinstance(error, HTTPError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, LocalTokenNotFoundError):
        return "no token to write to the Hub with; log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, OfflineModeIsEnabled):
        return "the Hub may not be asked while HF_HUB_OFFLINE is set"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = f" ({_without_token(error.server_message)})" if error.server_message else ""
        return f"the Hub answered {status}{said}; {_advice(status)}"
    if isinstance(error, HTTPError):
        return (
            f"the connection to the Hub failed ({type(error).__name__}); run the command again, "
            "what is there already is not sent again"
        )
    return _without_token(str(error) or type(error).__name__)


def _advice(status: int) -> str:
    if status == 401:
        return "log in with `hf auth login`, or set HF_TOKEN to a token that is valid"
    if status in (403, 404):
        return "use a token that may write there, of a member of that organisation"
    if status in (409, 412):
        return "somebody else changed it meanwhile; run the command again"
    if status == 429:
        return "it limits requests; wait, and run the command again: it goes on where it stopped"
    if status >= 500:
        return "it has a fault; run the command again later: it goes on where it stopped"
    return "nothing was changed by this request"


def _without_token(text: str) -> str:
    token = get_token()
    return text.replace(token, "***") if token else text
