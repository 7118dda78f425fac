"""A manifest: the SHA-256 of every file as its corpus was published."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from ser_generalize.errors import InputError

COLUMNS = ("path", "sha256")

Manifest = Mapping[str, str]  # path within the published corpus: SHA-256 in hex


def read_manifest(file: Path) -> Manifest:
    """Read a manifest: tab-separated, with a header that names `path` and `sha256`.

    Raises InputError for a file that cannot be read or is none.
    """
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines, delimiter="\t")
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise InputError(f"--manifest {file} has no column {' and '.join(missing)}")
            manifest = {row["path"]: _checked(file, rows.line_num, row) for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--manifest {file} cannot be read ({error})") from error
    if not manifest:
        raise InputError(f"--manifest {file} lists no file")
    return manifest


def _checked(file: Path, line: int, row: Mapping[str, str | None]) -> str:
    sha256 = row["sha256"] or ""
    if not row["path"] or not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise InputError(
            f"--manifest {file}, line {line}: needs a path and a SHA-256 of 64 hexadecimal digits"
        )
    return sha256.lower()


def locate(manifest: Manifest, files: Iterable[str]) -> dict[str, list[str]]:
    """Return which files lie where the manifest says, for each of its paths, perhaps none.

    A copy may be nested deeper, and hold a file more than once; the highest comes first.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in files:
        by_name[PurePosixPath(path).name].append(path)
    return {
        path: sorted(
            (file for file in by_name[PurePosixPath(path).name] if f"/{file}".endswith(f"/{path}")),
            key=lambda file: (file.count("/"), file),
        )
        for path in manifest
    }


def locate_by_content(
    manifest: Manifest, located: Mapping[str, list[str]], sha256: Mapping[str, str | None]
) -> dict[str, list[str]]:
    """Return `located` with what else the manifest lists, found by what the files hold.

    A copy may be laid out in another way. Every file stands for one path.
    """
    by_name = {file for files in located.values() for file in files}
    free: dict[str | None, list[str]] = defaultdict(list)
    for file in sorted(sha256.keys() - by_name, reverse=True):
        free[sha256[file]].append(file)
    return {
        path: files or ([free[manifest[path]].pop()] if free[manifest[path]] else [])
        for path, files in located.items()
    }
