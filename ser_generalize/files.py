"""Files and folders that are there whole or not at all."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ser_generalize.errors import InputError


@contextmanager
def writing(refusal: str) -> Iterator[None]:
    """Turn what the disk refuses while something is written into an InputError with its reason."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{refusal} ({error.strerror or error})") from error


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside `path` to write to; it becomes `path` only if nothing fails.

    What stood at `path` before, file or folder, is replaced at the end and kept on failure.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    earlier = path.with_name(f".{path.name}.old")
    remove(temporary)
    _settle(earlier, path)
    try:
        yield temporary
        if path.is_dir():  # a folder cannot be renamed onto one that holds files
            path.replace(earlier)
        temporary.replace(path)
    finally:
        remove(temporary)
        _settle(earlier, path)


def _settle(earlier: Path, path: Path) -> None:
    """Put back what a failed or killed replacement moved aside, or drop it if all went well."""
    if earlier.exists() and not path.exists():
        earlier.replace(path)
    remove(earlier)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's digest in hexadecimal; an OSError is the caller's to put into words."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    with staged(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
