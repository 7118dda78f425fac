"""Downloading a corpus that anybody may: whole files, and exactly what the data sheet says."""

import re
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests import Response, Session
from urllib3.exceptions import HTTPError

from dataset_scripts.corpus import FABRICATED, Archive, Corpus
from dataset_scripts.unpack import BadArchiveError, stem, unpack
from ser_generalize import __version__
from ser_generalize.command import progress_bar
from ser_generalize.errors import InputError
from ser_generalize.files import file_digest, remove, writing

ATTEMPTS = 5  # in a row without PROGRESS
PROGRESS = 2**20  # bytes
BACKOFF = 1.0  # seconds before the second attempt, then twice as long every time
LONGEST_WAIT = 60.0  # seconds that a server may ask for
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
CHUNK = 2**18
TABLES = (".csv", ".tsv", ".txt", ".xlsx")  # kept as they are: everything else is an archive
HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"ser-generalize/{__version__}"}
CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>\d+)-\d+|\*)/(?:(?P<whole>\d+)|\*)$")
TRY_AGAIN = {408, 425, 429}  # and what begins with 5


class _InterruptedError(Exception):
    """A transfer that failed for now; `wait` is what the server asks for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


TRANSIENT = (_InterruptedError, requests.ConnectionError, requests.Timeout, HTTPError)


def download(corpus: Corpus, source: Path) -> None:
    """Download a corpus's archives and unpack each into a folder of its name below `source`.

    What is there already is left alone, so that a second call does nothing and one that was
    interrupted goes on. Raises InputError for a corpus that has no public address, a server that
    refuses or fails for good, a file that is not the published one, a hostile archive, a folder of
    fabricated speech, and a disk that is full or not writable.
    """
    if (source / FABRICATED).is_file():
        raise InputError(f"{source} holds fabricated speech; download into another folder")
    if not corpus.archives:
        raise InputError(f"{corpus.title} cannot be downloaded from here: {corpus.access}")
    with writing(f"cannot write {source}"):
        source.mkdir(parents=True, exist_ok=True)
    with Session() as session:
        for archive in corpus.archives:
            _provide(session, corpus, archive, source)


def file_name(corpus: Corpus, archive: Archive) -> str:
    """Return the name of a file to download: the last of its URL, or the corpus's."""
    return Path(unquote(urlsplit(archive.url).path)).name or corpus.name


def _provide(session: Session, corpus: Corpus, archive: Archive, source: Path) -> None:
    name = file_name(corpus, archive)
    is_table = Path(name).suffix.lower() in TABLES
    file = source / (name if is_table or stem(name) != name else f"{name}.archive")
    target = source / stem(name)
    if target.exists():
        return
    if not file.exists():
        _fetch(session, corpus, archive, file)
    elif wrong := _difference(archive, file):
        raise InputError(f"{file} is not the published file ({wrong}); move it out of the way")
    if not is_table:
        try:
            unpack(file, target)
        except BadArchiveError:
            file.unlink()
            raise
        file.unlink()


class _Part:
    """The bytes that have arrived so far, and of which state of the server's file they are."""

    def __init__(self, file: Path) -> None:
        self.file, self.path = file, file.with_name(f"{file.name}.part")
        self._of = file.with_name(f"{file.name}.part.of")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str:
        return self._of.read_text(encoding="utf-8") if self._of.exists() else ""

    def begin(self, validator: str) -> None:
        """Start over; the bytes that follow are of this state of the file."""
        with writing(f"cannot write {self.path}"):
            self.path.write_bytes(b"")
            self._of.write_text(validator, encoding="utf-8")

    def drop(self) -> None:
        remove(self.path)
        remove(self._of)

    def finish(self) -> None:
        self.path.replace(self.file)
        remove(self._of)


def _fetch(session: Session, corpus: Corpus, archive: Archive, file: Path) -> None:
    """Download one file; it appears under its name when it is known to be the published one."""
    part = _Part(file)
    with progress_bar(archive.size, f"download {file.name}", "B") as progress:
        _persist(session, corpus, archive, part, progress)
    wrong = _difference(archive, part.path)
    if wrong:
        part.drop()
        raise InputError(
            f"{archive.url} is not the published file ({wrong}) and was removed; try again, or get "
            f"it yourself: {corpus.access}"
        )
    part.finish()


def _persist(
    session: Session, corpus: Corpus, archive: Archive, part: _Part, progress: Any
) -> None:
    """Transfer until everything is there, through a bounded number of failures."""
    failures, most = 0, part.size
    while not archive.size or part.size != archive.size:
        try:
            _transfer(session, archive, part, progress)
            return
        except TRANSIENT as error:
            advanced = part.size >= most + PROGRESS
            failures, most = (1, part.size) if advanced else (failures + 1, most)
            if failures >= ATTEMPTS:
                raise InputError(
                    f"{archive.url}: {_reason(error)}, {ATTEMPTS} times in a row; run the same "
                    f"command again to go on after {part.size:,} bytes"
                ) from error
            wait = BACKOFF * 2 ** (failures - 1)
            time.sleep(min(max(wait, getattr(error, "wait", 0.0)), LONGEST_WAIT))
        except requests.RequestException as error:
            raise InputError(f"{archive.url}: {error}; get it yourself: {corpus.access}") from error


def _reason(error: Exception) -> str:
    """Return a failure in words: urllib3's own text is an object within an object."""
    if isinstance(error, _InterruptedError):
        return str(error)
    if isinstance(error, requests.Timeout) or "Timeout" in type(error).__name__:
        return "no answer in time"
    return "the connection failed"


def _transfer(session: Session, archive: Archive, part: _Part, progress: Any) -> None:
    """Ask for what is missing and append it; start over where the server has another file now."""
    # Without a validator or a checksum nobody could tell whether the rest belongs to what we have.
    have = part.size if part.validator or archive.checksum else 0
    asked = {"Range": f"bytes={have}-", "If-Range": part.validator} if have else {}
    headers = HEADERS | {name: value for name, value in asked.items() if value}
    with session.get(archive.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and _whole_size(response) == have:
            return  # it was all there
        _check_status(response)
        if not _continues(response, part, have):
            part.begin(_validator(response))
        total = _whole_size(response)
        _check_total(archive, total, part)
        progress.total, progress.initial, progress.n = total, part.size, part.size
        _append(response, part, archive.size or total, progress)
    if total is not None and part.size < total:
        raise _InterruptedError("the connection was cut")


def _append(response: Response, part: _Part, limit: int | None, progress: Any) -> None:
    with writing(f"cannot write {part.path}"), part.path.open("ab", buffering=0) as file:
        # Raw: some servers call a .tar.gz a tar in gzip encoding, and requests would undo it.
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            file.write(chunk)
            progress.update(len(chunk))
            if limit is not None and file.tell() > limit:
                return  # too long is wrong, and may never end


def _check_status(response: Response) -> None:
    code = response.status_code
    answer = f"the server answers {code} {response.reason}".rstrip()
    if code in TRY_AGAIN or code >= 500:
        asked = response.headers.get("Retry-After", "")
        raise _InterruptedError(answer, float(asked) if asked.isdecimal() else 0.0)
    if code not in {200, 206, 416}:
        raise requests.HTTPError(answer)


def _continues(response: Response, part: _Part, have: int) -> bool:
    """Return whether the answer is the rest of what we have: a server need not keep to Range."""
    if response.status_code == 200:
        return False
    first = CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    right = response.status_code == 206 and first and int(first["first"] or -1) == have
    if not right or _validator(response) != part.validator:
        part.drop()
        raise _InterruptedError("the server answers with another part than was asked for")
    return True


def _validator(response: Response) -> str:
    """Return what tells this state of the file from another: a strong ETag, or a date."""
    etag = response.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else ""
    return strong or response.headers.get("Last-Modified", "")


def _whole_size(response: Response) -> int | None:
    """Return the size of the whole file in bytes, None where the server does not say it."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None
    found = CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return int(found["whole"]) if found and found["whole"] else None


def _check_total(archive: Archive, total: int | None, part: _Part) -> None:
    """Stop before the first byte of a file of another size, or one that the disk cannot hold."""
    if total is None:
        return
    if archive.size not in {None, total}:
        part.drop()
        raise InputError(
            f"{archive.url} has {total:,} bytes, not the {archive.size:,} published: not downloaded"
        )
    free = shutil.disk_usage(part.path.parent).free
    needed = 2 * total - part.size  # the recordings are at least as large as the archive
    if needed > free:
        raise InputError(
            f"{part.path.parent} has {free / 1e9:.1f} GB free, but {part.file.name} takes "
            f"{needed / 1e9:.1f} GB, unpacked"
        )


def _difference(archive: Archive, path: Path) -> str | None:
    """Return in what a file differs from its data sheet, None where it does not."""
    size = path.stat().st_size
    if archive.size not in {None, size}:
        return f"{size:,} bytes, not {archive.size:,}"
    if archive.checksum is None:
        return None
    algorithm, _, expected = archive.checksum.partition(":")
    found = file_digest(path, algorithm)
    return None if found == expected else f"{algorithm} {found}, not {expected}"
