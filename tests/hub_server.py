"""A Hub on 127.0.0.1 for tests: what publishing and loading ask of the real one, and its failures.

    with serving_hub() as hub:
        hub.fail("PUT", "/lfs/", status=500, times=1)
        subprocess.run([...], env=hub.environment(WRITER, home))
        hub.repository("dataset", "org/data").head.files

The clients are the unmodified `huggingface_hub` and `datasets`, pointed here by HF_ENDPOINT. Left
out are Xet, multipart uploads, branches, pull requests, pages of long listings.
"""

import hashlib
import json
import os
import re
import socket
import struct
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from hub_repository import Blob, RefusalError, Repository, paths_info, tree

WRITER = "hf_WriterWhoseTokenMustNeverShow"  # may do everything below org/
READER = "hf_ReaderWhoseTokenMustNeverShow"  # may read what is public, and what it was let into

API = re.compile(r"/api/(dataset|model|space)s/([^/]+/[^/]+)(?:/([a-z-]+)(?:/([^/]+)(?:/(.*))?)?)?")
LFS = re.compile(r"/(datasets/|spaces/)?([^/]+/[^/]+)\.git/info/lfs/objects/(batch|verify)")
RESOLVE = re.compile(r"/(datasets/|spaces/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
UPLOAD = re.compile(r"/lfs/(dataset|model|space)/([^/]+/[^/]+)/([0-9a-f]{64})")


@dataclass
class Fault:
    """How chosen requests fail: with a status, or by a connection that breaks.

    `after` first does what was asked and then withholds the answer.
    """

    method: str
    pattern: str  # searched for in the path
    status: int | None = None
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # bytes of the body that pass before the connection breaks
    after: bool = False
    times: float = float("inf")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    sent: int  # bytes of its body


SDKS = ("gradio", "docker", "static")
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
READING_POSTS = ("/paths-info/", "/validate-yaml")


class Hub:
    """The state of the server: its repositories, what it was asked, how it is to fail."""

    def __init__(self) -> None:
        self.url = ""
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = Lock()

    def repository(self, kind: str, name: str) -> Repository:
        return self.repositories[kind, name]

    def add(self, kind: str, name: str, **settings: Any) -> Repository:
        """Make a repository by hand, with private=True or gated="auto"."""
        repository = Repository(kind, name, **settings)
        self.repositories[kind, name] = repository
        return repository

    def fail(self, method: str, pattern: str, status: int | None = None, **how: Any) -> None:
        """Make requests fail from now on; see Fault."""
        self.faults.append(Fault(method, pattern, status, **how))

    @property
    def writes(self) -> list[Request]:
        """The requests that could have changed something."""
        return [
            request for request in self.requests
            if request.method in WRITES and not any(p in request.path for p in READING_POSTS)
        ]  # fmt: skip

    def environment(self, token: str | None, home: Path) -> dict[str, str]:
        """Return the environment of a process whose Hub this is."""
        own = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home)}
        dropped = {"HF_HUB_OFFLINE", "HF_TOKEN"}
        inherited = {name: value for name, value in os.environ.items() if name not in dropped}
        return inherited | own | ({"HF_TOKEN": token} if token else {})

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault
        return None


def _kind(folder: str | None) -> str:
    return folder.removesuffix("s/") if folder else "model"


def _folder(kind: str) -> str:
    """Return what repositories of a kind have before their name in an address."""
    return "" if kind == "model" else f"{kind}s/"


class Broken(Exception):  # noqa: N818 - it is no error of the server's
    """The connection is to break now."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request; what the answers look like was read off the client's source."""

    hub: ClassVar[Hub]
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: the second of two would wait 40 ms

    def handle_any(self) -> None:
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        self.query = parse_qs(query)
        fault = self.hub.take_fault(self.command, path)
        try:
            self.body = self._read(fault.cut if fault and not fault.after else None)
            self.hub.requests.append(Request(self.command, path, len(self.body)))
            if fault and not fault.after:
                self._fail(fault)
                return
            with self.hub.lock:
                answer = self._route(unquote(path))
            if fault:
                self._fail(fault)
            else:
                self._give(*answer)
        except RefusalError as refusal:
            self._refuse(refusal)
        except (Broken, ConnectionError):
            self._break()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        pass

    # What is asked

    def _route(self, path: str) -> tuple[Any, dict[str, str]]:
        if path == "/api/repos/create":
            return self._create(json.loads(self.body)), {}
        if path == "/api/validate-yaml":
            return self._validate(json.loads(self.body)["content"]), {}
        if path == "/api/whoami-v2":
            self._check_token(needed=True)
            return {"type": "user", "name": "owner", "orgs": [{"name": "org"}]}, {}
        if path == "/api/models":
            return self._list(), {}
        if match := UPLOAD.fullmatch(path):
            return self._store(*match.groups()), {}
        if match := LFS.fullmatch(path):
            kind, name, action = match.groups()
            return self._large(_kind(kind), name, action), {}
        if match := RESOLVE.fullmatch(path):
            kind, name, revision, file = match.groups()
            return self._resolve(_kind(kind), name, revision, file)
        if match := API.fullmatch(path):
            return self._api(*match.groups()), {}
        raise RefusalError(404, f"Not Found: {path}")

    def _api(
        self, kind: str, name: str, what: str | None, rev: str | None, rest: str | None
    ) -> Any:
        writing = what in ("settings", "preupload", "commit")
        repository = self._find(kind, name, writing)
        commit = repository.at(rev or "main")
        if what in (None, "revision"):
            return repository.info(commit)
        if what == "settings":
            return self._configure(repository, json.loads(self.body))
        if what == "preupload":
            return self._preupload(repository, json.loads(self.body)["files"])
        if what == "commit":
            done = repository.commit(self.body.splitlines())
            url = f"{self.hub.url}/{name}/commit/{done.sha}"
            return {"success": True, "commitOid": done.sha, "commitUrl": url, "hookOutput": ""}
        if what == "commits":
            return repository.history()
        if what == "tree":
            return tree(commit, rest or "", self.query.get("recursive", [""])[0].lower() == "true")
        if what == "paths-info":
            return paths_info(commit, parse_qs(self.body.decode()).get("paths", []))
        if what == "refs":
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.head.sha}
            return {"branches": [main], "tags": [], "converts": []}
        raise RefusalError(404, f"Not Found: {what}")

    def _create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        self._check_token(needed=True, writing=True)
        kind, name = wanted.get("type", "model"), f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != "org":
            raise RefusalError(403, f"You don't have the rights to create a {kind} there")
        if kind == "space" and wanted.get("sdk") not in SDKS:
            raise RefusalError(400, f"sdk must be one of {', '.join(SDKS)}")
        url = f"{self.hub.url}/{_folder(kind)}{name}"
        if (kind, name) in self.hub.repositories:
            raise RefusalError(409, f"You already created this {kind} repo: {url}")
        self.hub.add(kind, name, private=wanted.get("visibility") == "private")
        return {"url": url, "name": name}

    def _list(self) -> list[dict[str, Any]]:
        writes, models = self._check_token() == WRITER, self.hub.repositories.values()
        author, tag = (self.query.get(name, [""])[0] for name in ("author", "filter"))
        return [one.info(one.head) for one in models if one.is_listed(author, tag, writes)]

    def _validate(self, content: str) -> dict[str, Any]:
        card = yaml.safe_load(content.split("---\n")[1])
        names = [config["config_name"] for config in card.get("configs", [])]
        if len(names) != len(set(names)):
            raise RefusalError(400, "configs must have names of their own")
        return {"errors": [], "warnings": []}

    def _configure(self, repository: Repository, settings: dict[str, Any]) -> dict[str, Any]:
        repository.gated = settings.get("gated", repository.gated)
        if "visibility" in settings:
            repository.private = settings["visibility"] == "private"
        return settings

    def _preupload(self, repository: Repository, files: list[dict[str, Any]]) -> dict[str, Any]:
        there = repository.head.files
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": repository.upload_mode(file["path"], b64decode(file["sample"])),
                    "shouldIgnore": False,
                    "oid": there[file["path"]].oid if file["path"] in there else None,
                }
                for file in files
            ]
        }

    def _large(self, kind: str, name: str, action: str) -> dict[str, Any]:
        repository, asked = self._find(kind, name, writing=True), json.loads(self.body)
        if action == "verify":
            data = repository.uploaded.get(asked["oid"])
            if data is None or len(data) != asked["size"]:
                raise RefusalError(404, "LFS object does not exist or has another size")
            return {}
        prefix = f"{self.hub.url}/{_folder(kind)}{name}.git"
        verify = {"href": f"{prefix}/info/lfs/objects/verify"}
        objects = []
        for item in asked["objects"]:
            upload = {"href": f"{self.hub.url}/lfs/{kind}/{name}/{item['oid']}"}
            there = item["oid"] in repository.uploaded
            objects.append(
                item if there else item | {"actions": {"upload": upload, "verify": verify}}
            )
        return {"transfer": "basic", "objects": objects}

    def _store(self, kind: str, name: str, oid: str) -> dict[str, Any]:
        if "Authorization" in self.headers:  # the storage is somebody else's: no token may go there
            raise RefusalError(400, "Only one auth mechanism allowed")
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise RefusalError(400, "the content has another sha256")
        self.hub.repository(kind, name).uploaded[oid] = self.body
        return {}

    def _resolve(
        self, kind: str, name: str, revision: str, path: str
    ) -> tuple[Blob, dict[str, str]]:
        repository = self._find(kind, name)
        token = self._check_token()
        if repository.gated and token != WRITER and token not in repository.readers:
            message = f"Access to {kind} {name} is restricted. You must have access to it."
            raise RefusalError(403 if token else 401, message, "GatedRepo")
        commit = repository.at(revision)
        if path not in commit.files:
            raise RefusalError(404, "Entry not found", "EntryNotFound")
        blob = commit.files[path]
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{blob.oid}"', "Accept-Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X-Linked-ETag": f'"{blob.oid}"', "X-Linked-Size": str(len(blob.data))}
        return blob, headers

    # Who asks

    def _find(self, kind: str, name: str, writing: bool = False) -> Repository:
        token = self._check_token(needed=writing)
        repository = self.hub.repositories.get((kind, name))
        if repository is None or (repository.private and token != WRITER):
            raise RefusalError(404 if token else 401, "Repository not found", "RepoNotFound")
        self._check_token(writing=writing)
        return repository

    def _check_token(self, needed: bool = False, writing: bool = False) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in (WRITER, READER):
            raise RefusalError(401, "Invalid credentials in Authorization header")
        if needed and not token:
            raise RefusalError(401, "Invalid username or password.")
        if writing and token != WRITER:
            raise RefusalError(403, "You don't have the required permissions to write here")
        return token or None

    # How it is answered

    def _read(self, cut: int | None) -> bytes:
        """Return the body; break the connection once `cut` bytes of it have come."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            return self._read_chunks(cut)
        length = int(self.headers.get("Content-Length", 0))
        if cut is not None and self.command in WRITES:
            self.rfile.read(min(cut, length))
            raise Broken
        return self.rfile.read(length)

    def _read_chunks(self, cut: int | None) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
            if cut is not None and len(body) >= cut:
                raise Broken
        self.rfile.readline()
        if cut is not None:
            raise Broken
        return body

    def _fail(self, fault: Fault) -> None:
        if fault.status is None:
            raise Broken
        self._refuse(RefusalError(fault.status, fault.message), fault.headers)

    def _refuse(self, refusal: RefusalError, headers: dict[str, str] | None = None) -> None:
        self.send_response(refusal.status)
        content = json.dumps({"error": refusal.message}).encode()
        said = {"X-Error-Message": refusal.message, "Content-Type": "application/json"}
        said |= {"X-Error-Code": refusal.code} if refusal.code else {}
        self._send(content, said | (headers or {}))

    def _give(self, answer: Any, headers: dict[str, str]) -> None:
        if not isinstance(answer, Blob):
            self.send_response(200)
            self._send(json.dumps(answer).encode(), {"Content-Type": "application/json"} | headers)
            return
        data = answer.data
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
            self.send_response(206)
            headers = headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
            data = data[start : end + 1]
        else:
            self.send_response(200)
        self._send(data, headers)

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _break(self) -> None:
        """Reset the connection, as a network does, so that nothing looks like an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """Run an empty Hub on a port of its own."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
