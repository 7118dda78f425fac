"""What a Hub keeps: repositories with commits, and the large files uploaded to them."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

LFS_SUFFIXES = (".parquet", ".arrow", ".safetensors", ".npy", ".bin")
EPOCH = "2026-01-01T00:00:00.000Z"


class RefusalError(Exception):
    """What the Hub answers instead: a status, its error code and a message."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class Blob:
    """A file's content, and whether it went through the storage of large files."""

    data: bytes
    lfs: bool = False

    @property
    def git_oid(self) -> str:
        content = self._pointer() if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """What preupload and ETag say: of a large file its sha256, of another its git blob."""
        return self.sha256 if self.lfs else self.git_oid

    def described(self, path: str) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "oid": self.git_oid, "size": len(self.data)}
        lfs = {"oid": self.sha256, "size": len(self.data), "pointerSize": len(self._pointer())}
        return entry | ({"lfs": lfs} if self.lfs else {})

    def _pointer(self) -> bytes:
        head = b"version https://git-lfs.github.com/spec/v1\n"
        return head + f"oid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()


@dataclass(frozen=True)
class Commit:
    sha: str
    message: str
    files: dict[str, Blob]


@dataclass
class Repository:
    """A repository with one branch; `gated` is False, "auto" or "manual"."""

    kind: str  # dataset | model | space
    name: str
    private: bool = False
    gated: str | bool = False
    readers: set[str] = field(default_factory=set)  # tokens whose owners accepted the terms
    uploaded: dict[str, bytes] = field(default_factory=dict)  # sha256 to a large file
    commits: list[Commit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._append("initial commit", {".gitattributes": Blob(b"*.parquet filter=lfs\n")})

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def at(self, revision: str) -> Commit:
        for commit in self.commits:
            if commit.sha == revision:
                return commit
        if revision != "main":
            raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.head

    def put(self, files: dict[str, bytes], message: str = "by hand") -> None:
        """Commit files that did not come through the API."""
        blobs = {path: Blob(data, path.endswith(LFS_SUFFIXES)) for path, data in files.items()}
        self._append(message, self.head.files | blobs)

    def commit(self, lines: Iterable[bytes]) -> Commit:
        """Apply the newline-delimited JSON of a commit request, all of it or nothing."""
        steps = [json.loads(line) for line in lines if line.strip()]
        header = next(step["value"] for step in steps if step["key"] == "header")
        if header.get("parentCommit") not in (None, self.head.sha):
            raise RefusalError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(self.head.files)
        for step in steps:
            self._apply(step["key"], step["value"], files)
        return self._append(header["summary"], files)

    def _apply(self, key: str, value: dict[str, Any], files: dict[str, Blob]) -> None:
        if key == "header":
            return
        path = value["path"]
        if key == "file":
            files[path] = Blob(b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in self.uploaded:
                raise RefusalError(422, f"LFS pointer of {path} points to a file that is not there")
            files[path] = Blob(self.uploaded[value["oid"]], lfs=True)
        else:
            folder = key == "deletedFolder"
            gone = [
                p for p in files if p == path or (folder and p.startswith(path.rstrip("/") + "/"))
            ]
            if not gone:
                raise RefusalError(404, "A file with this name doesn't exist", "EntryNotFound")
            for each in gone:
                del files[each]

    def _append(self, message: str, files: dict[str, Blob]) -> Commit:
        parent = self.commits[-1].sha if self.commits else ""
        named = [[path, blob.oid] for path, blob in sorted(files.items())]
        sha = hashlib.sha1(json.dumps([self.name, parent, message, named]).encode()).hexdigest()
        self.commits.append(Commit(sha, message, files))
        return self.head

    def upload_mode(self, path: str, sample: bytes) -> str:
        return "lfs" if path.endswith(LFS_SUFFIXES) or b"\0" in sample else "regular"

    def info(self, commit: Commit) -> dict[str, Any]:
        return {
            "id": self.name, "sha": commit.sha, "private": self.private, "gated": self.gated,
            "author": self.name.partition("/")[0], "disabled": False, "downloads": 0, "likes": 0,
            "tags": _tags(commit), "lastModified": EPOCH, "createdAt": EPOCH,
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }  # fmt: skip

    def is_listed(self, author: str, tag: str, writes: bool) -> bool:
        """Return whether a search for the models of an author with a tag finds it."""
        info = self.info(self.head)
        seen = self.kind == "model" and (writes or not self.private)
        return seen and author in ("", info["author"]) and tag in ("", *info["tags"])

    def history(self) -> list[dict[str, Any]]:
        return [
            {"id": commit.sha, "title": commit.message, "message": "", "authors": [], "date": EPOCH}
            for commit in reversed(self.commits)
        ]


def _tags(commit: Commit) -> list[str]:
    """Return the tags of a card, as the Hub reads them."""
    card = commit.files["README.md"].data.decode() if "README.md" in commit.files else ""
    front = card.split("---\n")[1] if card.startswith("---\n") else ""
    return list((yaml.safe_load(front) or {}).get("tags", []))


def tree(commit: Commit, below: str, recursive: bool) -> list[dict[str, Any]]:
    """Return the entries of a folder, or of the whole tree below it."""
    prefix = f"{below}/" if below else ""
    inside = {path: blob for path, blob in commit.files.items() if path.startswith(prefix)}
    if below and not inside:
        raise RefusalError(404, f"{below} does not exist", "EntryNotFound")
    folders = {folder for path in inside for folder in _parents(path) if folder.startswith(prefix)}
    entries = [_folder(path) for path in folders - {below}]
    entries += [blob.described(path) for path, blob in inside.items()]
    deep = (entry for entry in entries if recursive or "/" not in entry["path"][len(prefix) :])
    return sorted(deep, key=lambda entry: str(entry["path"]))


def paths_info(commit: Commit, paths: Iterable[str]) -> list[dict[str, Any]]:
    """Return the entries of those paths that exist."""
    folders = {folder for path in commit.files for folder in _parents(path)}
    files = [commit.files[path].described(path) for path in paths if path in commit.files]
    return files + [_folder(path) for path in paths if path in folders]


def _folder(path: str) -> dict[str, Any]:
    return {
        "type": "directory",
        "path": path,
        "oid": hashlib.sha1(path.encode()).hexdigest(),
        "size": 0,
    }


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
