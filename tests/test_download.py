"""What is downloaded, into which tree, what is fetched again, and `build --download`."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from make_download import NOISE, TREE, ZIP, corpus_of, refusal, tree_of, zipped
from make_server import Files, Handler, cut

from dataset_scripts import build
from dataset_scripts.corpus import audio_files, corpus_names, load_script
from dataset_scripts.download import download, file_name
from dataset_scripts.unpack import stem
from ser_generalize.command import run_command


@pytest.mark.parametrize("published", [True, False])
def test_an_archive_is_fetched_unpacked_and_removed(
    files: Files, tmp_path: Path, published: bool
) -> None:
    download(corpus_of(files, published=published), tmp_path / "raw" / "ravdess")
    assert tree_of(tmp_path / "raw" / "ravdess") == {f"corpus/{k}": v for k, v in TREE.items()}


def test_a_second_call_asks_nobody(files: Files, tmp_path: Path) -> None:
    corpus = corpus_of(files)
    download(corpus, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    files.content.clear()
    download(corpus, tmp_path)
    assert len(files.asked) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def tarred(tree: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in tree.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_several_archives_tables_and_archives_in_archives(files: Files, tmp_path: Path) -> None:
    splits = {f"MELD.Raw/{part}.tar.gz": tarred({f"{part}_splits/dia0_utt0.mp4": NOISE[:9]})
              for part in ("train", "dev")}  # fmt: skip
    splits["MELD.Raw/._train.tar.gz"] = b"macOS was here"
    files.content |= {
        "/MELD.Raw.tar.gz": tarred(splits),
        "/plain.tar": tarred({"./x.wav": b"x"}, "w"),
        "/dev_sent_emo.csv": b"Sr No.,Utterance\r\n",
        "/nameless/": zipped({"y.wav": b"y"}),
    }
    names = ("/MELD.Raw.tar.gz", "/plain.tar", "/dev_sent_emo.csv", "/nameless/?format=original")
    download(corpus_of(files, *names), tmp_path)
    assert tree_of(tmp_path) == {
        "MELD.Raw/MELD.Raw/train/train_splits/dia0_utt0.mp4": NOISE[:9],
        "MELD.Raw/MELD.Raw/dev/dev_splits/dia0_utt0.mp4": NOISE[:9],
        "MELD.Raw/MELD.Raw/._train.tar.gz": b"macOS was here",
        "plain/x.wav": b"x",
        "dev_sent_emo.csv": b"Sr No.,Utterance\r\n",
        "nameless/y.wav": b"y",
    }


def test_a_corpus_without_an_address_says_how_to_get_it(tmp_path: Path) -> None:
    corpus = replace(load_script("ravdess")[0], archives=(), access="Sign the form at the home.")
    assert "cannot be downloaded from here: Sign the form" in refusal(corpus, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_real_and_fabricated_recordings_are_not_mixed(files: Files, raw_ravdess: Path) -> None:
    assert "fabricated speech; download into another" in refusal(corpus_of(files), raw_ravdess)


def test_a_file_fetched_by_hand_is_used_as_it_is(files: Files, tmp_path: Path) -> None:
    (tmp_path / "corpus.zip").write_bytes(ZIP)
    download(corpus_of(files), tmp_path)
    assert not files.asked
    assert tree_of(tmp_path / "corpus") == TREE


def test_a_file_fetched_by_hand_that_is_another_is_refused_and_kept(
    files: Files, tmp_path: Path
) -> None:
    (tmp_path / "corpus.zip").write_bytes(ZIP[:-1])
    line = refusal(corpus_of(files), tmp_path)
    assert f"corpus.zip is not the published file ({len(ZIP) - 1:,} bytes, not" in line
    assert tree_of(tmp_path) == {"corpus.zip": ZIP[:-1]}


def test_a_killed_download_goes_on_in_the_next_process(files: Files, tmp_path: Path) -> None:
    def stall(handler: Handler) -> None:
        cut(20_000)(handler)
        handler.wfile.flush()
        while not killed:
            time.sleep(0.01)

    corpus, killed, part = corpus_of(files), [], tmp_path / "corpus.zip.part"
    files.faults = [stall]
    (archive,) = corpus.archives
    code = f"""
from dataclasses import replace; from pathlib import Path
from dataset_scripts.corpus import Archive, load_script
from dataset_scripts import download as module
module.CHUNK = 4096
corpus = replace(load_script("ravdess")[0], archives=({archive!r},))
module.download(corpus, Path({str(tmp_path)!r}))
"""
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as started:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(started.pid, signal.SIGKILL)
    killed.append(True)
    have = part.stat().st_size
    assert 0 < have <= 20_000
    download(corpus, tmp_path)
    assert files.ranges() == [None, f"bytes={have}-"]
    assert tree_of(tmp_path) == {f"corpus/{name}": content for name, content in TREE.items()}


def test_a_tree_half_unpacked_is_never_taken_for_the_corpus(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = shutil.copyfileobj, []

    def killed(*given: object) -> None:
        original(*given)  # type: ignore[arg-type]
        seen.append([path.name for path in tmp_path.rglob("*.wav")])
        seen.append(audio_files(tmp_path))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", killed)
        with pytest.raises(KeyboardInterrupt):
            download(corpus_of(files), tmp_path)
    assert seen == [["a.wav"], []]
    download(corpus_of(files), tmp_path)
    assert len(files.asked) == 1  # what had arrived was kept
    assert tree_of(tmp_path) == {f"corpus/{name}": content for name, content in TREE.items()}


@pytest.fixture
def scripts(files: Files, raw_ravdess: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RAVDESS as the server has it, three clips, and EmoDB as if there were a form to sign."""
    three = sorted(raw_ravdess.glob("Actor_01/*.wav"))[:3]
    files.content["/Actor_01.zip"] = zipped({path.name: path.read_bytes() for path in three})
    found = {name: load_script(name) for name in corpus_names()}
    found = {name: (replace(sheet, archives=()), parse) for name, (sheet, parse) in found.items()}
    found["ravdess"] = corpus_of(files, "/Actor_01.zip"), found["ravdess"][1]
    monkeypatch.setattr(build, "load_script", found.__getitem__)


def built(*argv: object) -> int:
    return run_command("build", build.main, [*map(str, argv), "--workers", "1"])


@pytest.mark.usefixtures("scripts")
def test_build_downloads_first_and_once(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ("--source", tmp_path / "raw", "--out", tmp_path / "data", "--download")
    for _ in range(2):
        assert built("ravdess", *folders) == 0
        assert "ravdess: 3 clips in " in capsys.readouterr().out
    assert len(files.asked) == 1


@pytest.mark.usefixtures("scripts")
def test_build_all_downloads_what_is_open_and_takes_the_rest_as_it_is(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ("--source", tmp_path / "raw", "--out", tmp_path / "data", "--download")
    assert built("all", *folders) == 0
    assert (tmp_path / "raw" / "ravdess" / "Actor_01").is_dir()
    assert "left out: " in capsys.readouterr().out
    access = load_script("emodb")[0].access
    assert built("ravdess", "emodb", *folders) == 2  # asked for by name
    assert f"cannot be downloaded from here: {access}" in capsys.readouterr().err
    assert len(files.asked) == 1


@pytest.mark.usefixtures("scripts")
def test_build_says_what_is_wrong_with_out_before_it_downloads(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert built("ravdess", "--source", tmp_path / "raw", "--out", tmp_path / "file", "--download")
    assert "is a file; give another folder" in capsys.readouterr().err
    assert not files.asked


@pytest.mark.parametrize("name", corpus_names())
def test_no_two_archives_of_a_corpus_share_a_folder(name: str) -> None:
    corpus, _ = load_script(name)
    folders = [stem(file_name(corpus, archive)) for archive in corpus.archives]
    assert len(set(folders)) == len(folders)
    assert all(archive.url.startswith(("https://", "http://")) for archive in corpus.archives)
    algorithms = {a.checksum.partition(":")[0] for a in corpus.archives if a.checksum}
    assert algorithms <= {"md5", "sha256"}
