"""Files and folders that are there whole or not at all, whatever happens while they are written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ser_generalize.files import remove, staged, write_text


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def write_folder(path: Path, text: str) -> None:
    with staged(path) as temporary:
        temporary.mkdir()
        (temporary / f"{text}.txt").write_text(text)


@pytest.mark.parametrize("write", [write_text, write_folder])
def test_what_is_written_replaces_what_was_there(
    write: Callable[[Path, str], None], tmp_path: Path
) -> None:
    target = tmp_path / "made" / "on the way"
    write(target, "one")
    write(target, "two")
    assert names(tmp_path / "made") == (
        ["on the way"] if write is write_text else ["on the way", "on the way/two.txt"]
    )


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_failure_keeps_what_was_there(tmp_path: Path, moment: str) -> None:
    write_folder(tmp_path / "data", "one")
    with pytest.raises(OSError), staged(tmp_path / "data") as temporary:
        temporary.mkdir()
        if moment == "before":
            raise OSError
        remove(temporary)  # so that the new one cannot be put in its place
    assert names(tmp_path) == ["data", "data/one.txt"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path / ".data.old", "one")  # moved aside, and then the process was killed
    write_folder(tmp_path / ".data.part", "two")
    with pytest.raises(OSError), staged(tmp_path / "data"):
        raise OSError
    assert names(tmp_path) == ["data", "data/one.txt"]


def test_a_link_is_replaced_and_what_it_leads_to_is_not(tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere", "one")
    (tmp_path / "data").symlink_to(tmp_path / "elsewhere")
    write_folder(tmp_path / "data", "two")
    assert names(tmp_path) == ["data", "data/two.txt", "elsewhere", "elsewhere/one.txt"]
