"""Unpacking: hostile and broken archives leave nothing, in the target or anywhere else."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_scripts import unpack as module
from dataset_scripts.unpack import BadArchiveError, stem, unpack
from ser_generalize.errors import InputError

NOISE = np.random.default_rng(0).bytes(20_000)
OUTSIDE = (
    "../evil.wav", "a/../../evil.wav", "..", "/evil.wav", "//host/evil.wav", "C:/evil.wav",
    "c:evil.wav", "..\\evil.wav", "a\\..\\..\\evil.wav", "\\evil.wav",
)  # fmt: skip
SPECIAL = {
    "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE, "fifo": tarfile.FIFOTYPE, "contiguous": b"Z",
}  # fmt: skip


def tar(*members: tuple[str, bytes], mode: str = "w:gz", **changes: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for attribute, value in changes.items():
                setattr(member, attribute, value)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes], mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo()  # the constructor would turn backslashes
            info.filename, info.external_attr = name, mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def refusal(folder: Path, content: bytes) -> str:
    """Unpack what must not be unpacked; everything around it stays as it was."""
    folder = folder / "refused"
    archive = folder / "archive"
    folder.mkdir()
    archive.write_bytes(content)
    with pytest.raises(BadArchiveError) as caught:
        unpack(archive, folder / "below" / "target")
    assert "\n" not in str(caught.value)
    assert str(archive) in str(caught.value)
    assert sorted(folder.rglob("*")) == [archive, folder / "below"]
    return str(caught.value)


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("name", OUTSIDE)
def test_no_path_leads_outside(tmp_path: Path, pack: Callable[..., bytes], name: str) -> None:
    line = refusal(tmp_path, pack(("good.wav", b"x"), (name, b"evil")))
    assert "a path that leads out of it" in line


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_tar_holds_files_and_folders_alone(tmp_path: Path, kind: str) -> None:
    content = tar(("good.wav", b""), mode="w")[: -tarfile.RECORDSIZE]  # without its end
    bad = tar(("link", b""), mode="w", type=SPECIAL[kind], linkname="/etc/passwd")
    line = refusal(tmp_path, content[:512] + bad)
    assert "holds link, which is neither a plain file nor a folder" in line


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_a_zip_holds_files_and_folders_alone(tmp_path: Path, kind: int) -> None:
    line = refusal(tmp_path, zipped(("link", b"/etc/passwd"), mode=kind | 0o777))
    assert "holds link, which is neither a plain file nor a folder" in line


def test_a_link_and_then_a_file_through_it_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("a/evil.wav"))
    assert "neither a plain file" in refusal(tmp_path, buffer.getvalue())


def test_sparse_files_are_refused_before_their_holes_are_written(tmp_path: Path) -> None:
    header = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole.wav",
              "GNU.sparse.realsize": str(10**15)}  # fmt: skip
    content = tar(("x", b"0\n".ljust(512, b"\0")), pax_headers=header)
    assert "hole.wav, which is neither" in refusal(tmp_path, content)


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize(
    "members",
    [
        [("a.wav", b"one"), ("a.wav", b"two")],
        [("a.wav", b"one"), ("./a.wav", b"two")],
        [("b/a.wav", b"one"), ("b\\a.wav", b"two")],
        [("a", b"file"), ("a/b.wav", b"and folder")],
        [("a/b.wav", b"folder"), ("a", b"and file")],
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_name_comes_twice(
    tmp_path: Path, pack: Callable[..., bytes], members: list[tuple[str, bytes]]
) -> None:
    assert "more than once: not unpacked" in refusal(tmp_path, pack(*members))


@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_bomb_is_stopped_in_time(
    tmp_path: Path, pack: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_BYTES", 2**20)
    bomb = pack(*[(f"{number}.wav", bytes(2**20)) for number in range(20)])
    assert len(bomb) * module.GROWTH < 2**20
    assert "holds more than 20 times its own size" in refusal(tmp_path, bomb)


def test_a_bomb_in_the_header_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_BYTES", 2**20)
    bomb = tar(("a.wav", b""), pax_headers={"comment": "x" * 2**22})
    assert "more than 20 times" in refusal(tmp_path, bomb)


@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_bomb_within_an_archive_counts_as_its_own(
    tmp_path: Path, pack: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_BYTES", 2**20)
    inner = zipped(*[(f"{number}.wav", bytes(2**18)) for number in range(3)])
    unpack_to(tmp_path / "one", pack(("0.zip", inner)))
    bomb = pack(*[(f"{number}.zip", inner) for number in range(3)])
    assert "more than 20 times" in refusal(tmp_path, bomb)


def unpack_to(folder: Path, content: bytes) -> Path:
    folder.mkdir()
    (folder / "archive").write_bytes(content)
    unpack(folder / "archive", folder / "target")
    return folder / "target"


@pytest.mark.parametrize("pack", [tar, zipped])
def test_files_beyond_measure_are_too_many(
    tmp_path: Path, pack: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 200)
    content = pack(*[(f"{number}.wav", b"") for number in range(201)])
    assert "holds more than 200 files" in refusal(tmp_path, content)


def test_archives_in_archives_have_an_end(tmp_path: Path) -> None:
    content = tar(("deep.wav", b"x"))
    for _ in range(module.DEPTH - 1):
        content = tar(("inner.tar.gz", content))
    found = unpack_to(tmp_path / "good", content)
    assert [path.name for path in found.rglob("*.*")] == ["deep.wav"]
    assert "archives in archives, 3 deep" in refusal(tmp_path, tar(("inner.tgz", content)))


@pytest.mark.parametrize("pack", [tar, zipped])
@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_bytes_lost_or_changed_never_give_another_tree(
    tmp_path_factory: pytest.TempPathFactory, pack: Callable[..., bytes], data: st.DataObject
) -> None:
    tree = {"a/b.wav": NOISE, "c.txt": b"text" * 50}
    content = bytearray(pack(*tree.items()))
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("broken")
    (folder / "archive").write_bytes(content)
    try:
        unpack(folder / "archive", folder / "target")
    except InputError:
        assert not (folder / "target").exists()
    else:  # where the change was in a name or a date
        found = [path.read_bytes() for path in (folder / "target").rglob("*") if path.is_file()]
        assert sorted(found) == sorted(tree.values())


def test_gzip_that_lost_its_checksum_is_broken(tmp_path: Path) -> None:
    content = bytearray(tar(("a.wav", NOISE)))
    content[-8] ^= 1
    assert "no whole zip or tar archive (CRC check failed" in refusal(tmp_path, bytes(content))


def test_an_encrypted_zip_is_one_line(tmp_path: Path) -> None:
    content = bytearray(zipped(("a.wav", b"secret")))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "is encrypted" in refusal(tmp_path, bytes(content))


def test_the_tree_is_plain_files_with_the_users_own_permissions(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, mode in (("d", tarfile.DIRTYPE, 0o000), ("d/s.wav", b"0", 0o4777)):
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, mode
            archive.addfile(member)
    for name, content in (
        ("tar", buffer.getvalue()),
        ("zip", zipped(("d/s.wav", b""), mode=0o104777)),
    ):
        found = unpack_to(tmp_path / name, content) / "d" / "s.wav"
        assert not found.stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)
        assert found.stat().st_mode & stat.S_IRUSR


def test_a_disk_that_refuses_is_one_line_and_the_archive_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    (tmp_path / "archive").write_bytes(gzip.compress(tar(("a.wav", b"x"), mode="w")))
    with pytest.raises(InputError, match=r"cannot unpack into .* \(No space left on device\)"):
        unpack(tmp_path / "archive", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MELD.Raw.tar.gz", "MELD.Raw"),
        ("a.ZIP", "a"),
        ("x.tgz", "x"),
        ("t.tar", "t"),
        ("a.b", "a.b"),
    ],
)
def test_stem(name: str, expected: str) -> None:
    assert stem(name) == expected
