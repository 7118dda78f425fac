"""Unpacking archives that came from elsewhere: all of it in one folder, or nothing.

Nothing is left to the libraries' `extract`: every member is a plain file or a folder, with a path
inside, or the archive is refused. That is stricter than tarfile's `data` filter, which lets links
through and renames absolute paths, and it is the same for zip.
"""

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import IO, Any, BinaryIO

from ser_generalize.command import progress_bar
from ser_generalize.errors import InputError
from ser_generalize.files import staged, writing

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
GROWTH = 20  # of recordings: they shrink to a half at best, a bomb to a thousandth
LEAST_BYTES = 2**26  # that any archive may unpack to
MOST_FILES = 200_000
DEPTH = 3  # archives in archives
BUFFER = 2**20
ZIP, GZIP = b"PK", b"\x1f\x8b"  # how the files begin
BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError,
    NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip  # how the libraries say that bytes are wrong, encrypted, or end too soon


class BadArchiveError(InputError):
    """An archive that is broken, or that holds what no corpus holds."""


def stem(name: str) -> str:
    """Return a file name without the suffix of an archive: MELD.Raw.tar.gz is MELD.Raw."""
    suffix = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len, default="")
    return name[: len(name) - len(suffix)]


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar archive, and the archives inside it, into the new folder `target`.

    An archive inside becomes a folder beside the place where it was. Raises BadArchiveError for one
    that is broken, leads outside, holds links or devices, or grows beyond measure, and InputError
    where the disk refuses; then there is no `target`.
    """
    with progress_bar(None, f"unpack {archive.name}", "file") as progress:
        allowance = _Allowance(archive, progress)
        with writing(f"cannot unpack into {target}"), staged(target) as folder:
            _unpack(archive, folder, allowance, DEPTH)


class _Allowance:
    """What an archive may still unpack to, everything inside it counted."""

    def __init__(self, archive: Path, progress: Any) -> None:
        self.archive, self.progress = archive, progress
        self.files, self.bytes = MOST_FILES, max(LEAST_BYTES, GROWTH * archive.stat().st_size)

    def count_file(self) -> None:
        self.progress.update()
        self.files -= 1
        if self.files < 0:
            raise self.refusal(f"more than {MOST_FILES:,} files")

    def count_bytes(self, size: int) -> None:
        self.bytes -= size
        if self.bytes < 0:
            raise self.refusal(f"more than {GROWTH} times its own size")

    def refusal(self, what: str) -> BadArchiveError:
        return BadArchiveError(f"{self.archive} holds {what}: not unpacked")


class _Metered:
    """A stream whose every byte counts, headers too: they are read into memory."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, allowance: _Allowance) -> None:
        self._stream, self._allowance = stream, allowance

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._allowance.count_bytes(len(data))
        return data


def _unpack(archive: Path, folder: Path, allowance: _Allowance, depth: int) -> None:
    if not depth:
        raise allowance.refusal(f"archives in archives, {DEPTH} deep")
    folder.mkdir(exist_ok=True)
    with _reading(archive, allowance):
        if _begins_with(archive, ZIP):
            _unpack_zip(archive, folder, allowance)
        else:
            _unpack_tar(archive, folder, allowance)
    for inner in sorted(path for path in folder.rglob("*") if _is_archive(path)):
        _unpack(inner, inner.with_name(stem(inner.name)), allowance, depth - 1)
        inner.unlink()


def _is_archive(path: Path) -> bool:
    # macOS's `._x.tar.gz` beside x.tar.gz is none.
    return path.is_file() and stem(path.name) not in {path.name, ""} and path.name[0] != "."


@contextmanager
def _reading(archive: Path, allowance: _Allowance) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        inside = "" if archive == allowance.archive else f", in it {archive.name}"
        raise BadArchiveError(
            f"{allowance.archive}{inside} is no whole zip or tar archive ({error})"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise allowance.refusal(f"{Path(str(error.filename)).name} more than once") from error


def _unpack_zip(archive: Path, folder: Path, allowance: _Allowance) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where no Unix wrote it
            plain = kind in {0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG}
            path = _place(folder, member.filename, plain, allowance)
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
            else:
                with opened.open(member) as stream:
                    _write(path, _Metered(stream, allowance), allowance)


def _unpack_tar(archive: Path, folder: Path, allowance: _Allowance) -> None:
    with _decompressed(archive) as raw:
        metered: Any = _Metered(raw, allowance)
        # Read as a stream: what tarfile does not look at is never decompressed twice.
        with tarfile.open(fileobj=metered, mode="r|") as opened:
            for member in opened:
                plain = member.isdir() or (member.isreg() and not member.issparse())
                path = _place(folder, member.name, plain, allowance)
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                elif stream := opened.extractfile(member):
                    _write(path, stream, allowance)
        while metered.read(BUFFER):  # gzip's checksum stands at its end
            pass


def _decompressed(archive: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(archive, "rb") if _begins_with(archive, GZIP) else archive.open("rb")


def _begins_with(archive: Path, magic: bytes) -> bool:
    with archive.open("rb") as file:
        return file.read(len(magic)) == magic


def _place(folder: Path, name: str, plain: bool, allowance: _Allowance) -> Path:
    """Return where a member goes, if it is a plain file or folder and that is inside."""
    path = PureWindowsPath(name)  # knows both slashes, and drives
    if not plain:
        raise allowance.refusal(f"{name}, which is neither a plain file nor a folder")
    if path.anchor or ".." in path.parts:
        raise allowance.refusal(f"{name}, a path that leads out of it")
    return folder.joinpath(*path.parts)


def _write(path: Path, stream: Any, allowance: _Allowance) -> None:
    allowance.count_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:  # a second file of the same name is no update, but a riddle
        shutil.copyfileobj(stream, file, BUFFER)
