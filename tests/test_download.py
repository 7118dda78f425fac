"""Downloading against a real server on 127.0.0.1 that fails in every way that servers fail."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_server import Answer, Files, Handler, cut, serving, status, whole

from dataset_scripts import build
from dataset_scripts import download as module
from dataset_scripts.corpus import Archive, Corpus, audio_files, corpus_names, load_script
from dataset_scripts.download import download, file_name
from dataset_scripts.unpack import stem
from ser_generalize.command import run_command
from ser_generalize.errors import InputError

NOISE = np.random.default_rng(0).bytes(50_000)  # does not shrink
TREE = {"Actor_01/a.wav": NOISE, "Actor_01/b.wav": b"RIFF" * 9, "read me.txt": "ä".encode()}


def zipped(tree: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(tree: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in tree.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ZIP = zipped(TREE)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A server with one good archive; nothing waits."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "BACKOFF", 0.001)
    with serving(Files({"/corpus.zip": ZIP})) as files:
        yield files


def corpus_of(files: Files, *paths: str, published: bool = True) -> Corpus:
    archives = []
    for path in paths or ("/corpus.zip",):
        content = files.content.get(path.partition("?")[0], b"")
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        known = (checksum, len(content)) if published else (None, None)
        archives.append(Archive(files.url + path, *known))
    return replace(load_script("ravdess")[0], archives=tuple(archives))


def tree_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def refusal(corpus: Corpus, source: Path) -> str:
    with pytest.raises(InputError) as caught:
        download(corpus, source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_a_cut_connection_goes_on_where_it_stopped(files: Files, tmp_path: Path) -> None:
    files.faults = [cut(10_000), cut(20_000), status(503), status(429, Retry_After=0)]
    download(corpus_of(files), tmp_path)
    assert files.ranges() == [None, "bytes=10000-", "bytes=30000-", "bytes=30000-", "bytes=30000-"]
    assert {headers.get("If-Range") for headers in files.asked[1:]} == {'"one"'}
    assert tree_of(tmp_path / "corpus") == TREE


def test_progress_buys_new_attempts_and_failing_without_it_ends(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROGRESS", 5_000)
    files.faults = [cut(5_000)] * 8
    download(corpus_of(files), tmp_path / "lucky")
    assert len(files.asked) == 9
    files.faults = [cut(4_000), *[status(500)] * 3, cut(100)]
    line = refusal(corpus_of(files), tmp_path / "unlucky")
    assert "the connection failed, 5 times in a row; run the same command again to go on" in line
    assert "after 4,100 bytes" in line
    download(corpus_of(files), tmp_path / "unlucky")  # and that is true
    assert files.ranges()[-1] == "bytes=4100-"
    assert tree_of(tmp_path / "unlucky" / "corpus") == TREE


def test_a_server_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "BACKOFF", 0.001)
    with serving(Files({})) as gone:
        corpus = corpus_of(gone)
    assert "the connection failed, 5 times in a row" in refusal(corpus, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_final_and_says_what_else_to_do(
    files: Files, tmp_path: Path, code: int
) -> None:
    files.faults = [status(code)]
    line = refusal(corpus_of(files), tmp_path)
    assert f"the server answers {code} " in line
    assert load_script("ravdess")[0].access in line
    assert len(files.asked) == 1
    assert not list(tmp_path.iterdir())


def test_retry_after_is_heeded_within_reason(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(module, "BACKOFF", 1.0)
    files.faults = [status(429, Retry_After=7), status(503, Retry_After=9_999), status(500)]
    download(corpus_of(files), tmp_path)
    assert waited == [7, module.LONGEST_WAIT, 4]


def test_a_server_without_ranges_sends_it_all_again(files: Files, tmp_path: Path) -> None:
    files.faults = [cut(10_000), whole]
    download(corpus_of(files), tmp_path)
    assert files.ranges() == [None, "bytes=10000-"]
    assert tree_of(tmp_path / "corpus") == TREE


def another_part(handler: Handler) -> None:
    handler.answer(206, ZIP[5:], Content_Range=f"bytes 5-{len(ZIP) - 1}/{len(ZIP)}")


def no_range(handler: Handler) -> None:
    handler.answer(206, ZIP[10_000:])


def changed_but_not_said(handler: Handler) -> None:
    """Answer as a server that heeds Range and not If-Range."""
    handler.files.etag = '"two"'
    handler.headers.replace_header("If-Range", '"two"')
    cut(len(ZIP))(handler)


@pytest.mark.parametrize("fault", [another_part, no_range, changed_but_not_said, status(416)])
def test_an_answer_that_is_not_the_rest_is_not_glued_on(
    files: Files, tmp_path: Path, fault: Answer
) -> None:
    files.faults = [cut(10_000), fault]
    download(corpus_of(files, published=False), tmp_path)
    assert files.ranges() == [None, "bytes=10000-", None]
    assert tree_of(tmp_path / "corpus") == TREE


def test_a_file_that_changed_meanwhile_is_fetched_anew(files: Files, tmp_path: Path) -> None:
    def change(handler: Handler) -> None:
        files.etag, files.content["/corpus.zip"] = '"two"', zipped({"new.wav": NOISE})
        cut(30_000)(handler)

    files.faults = [cut(10_000), change]
    download(corpus_of(files, published=False), tmp_path)
    assert files.ranges() == [None, "bytes=10000-", "bytes=30000-"]
    assert tree_of(tmp_path) == {"corpus/new.wav": NOISE}


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
@pytest.mark.parametrize("published", [True, False])
def test_without_a_validator_only_a_checksum_allows_to_go_on(
    files: Files, tmp_path: Path, etag: str | None, published: bool
) -> None:
    files.etag, files.faults = etag, [cut(10_000)]
    download(corpus_of(files, published=published), tmp_path)
    assert files.ranges() == [None, "bytes=10000-" if published else None]
    assert tree_of(tmp_path / "corpus") == TREE


def test_wrong_bytes_are_removed_and_nothing_is_unpacked(files: Files, tmp_path: Path) -> None:
    corpus = corpus_of(files)
    files.content["/corpus.zip"] = zipped({"Actor_01/a.wav": NOISE[::-1]} | {
        k: v for k, v in TREE.items() if k != "Actor_01/a.wav"})  # fmt: skip
    assert len(files.content["/corpus.zip"]) == len(ZIP)
    line = refusal(corpus, tmp_path)
    assert "is not the published file (sha256 " in line
    assert "was removed" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("lie", [-3_000, 3_000])
def test_a_length_that_is_no_length_never_passes(
    files: Files, tmp_path: Path, lie: int, published: bool
) -> None:
    def lies(handler: Handler) -> None:
        handler.answer(200, ZIP, Content_Length=len(ZIP) + lie)

    files.faults = [lies] * 9
    line = refusal(corpus_of(files, published=published), tmp_path)
    if published:
        assert f"has {len(ZIP) + lie:,} bytes, not the {len(ZIP):,} published" in line
    else:
        assert ("no whole zip" if lie < 0 else "5 times in a row") in line
    assert not (tmp_path / "corpus").exists()


def test_an_endless_answer_is_stopped(files: Files, tmp_path: Path) -> None:
    def endless(handler: Handler) -> None:
        try:
            while True:
                handler.answer(200, ZIP, Content_Length=None)
        except OSError:
            pass

    files.faults = [endless]
    assert f"bytes, not {len(ZIP):,})" in refusal(corpus_of(files), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"<html>log in</html>" * 99, b"", ZIP[:-100]], ids=len)
def test_what_is_no_archive_is_removed(files: Files, tmp_path: Path, content: bytes) -> None:
    files.content["/corpus.zip"] = content
    assert "no whole zip or tar archive" in refusal(corpus_of(files), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_before_the_first_byte(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * len(ZIP) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "GB free, but corpus.zip takes" in refusal(corpus_of(files), tmp_path)
    assert not tree_of(tmp_path).get("corpus.zip.part")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_is_one_line(files: Files, tmp_path: Path) -> None:
    (tmp_path / "corpus.zip.part").symlink_to("/dev/full")
    assert "No space left on device" in refusal(corpus_of(files), tmp_path)


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


@pytest.mark.parametrize("name", corpus_names())
def test_no_two_archives_of_a_corpus_share_a_folder(name: str) -> None:
    corpus, _ = load_script(name)
    folders = [stem(file_name(corpus, archive)) for archive in corpus.archives]
    assert len(set(folders)) == len(folders)
    assert all(archive.url.startswith(("https://", "http://")) for archive in corpus.archives)
    algorithms = {a.checksum.partition(":")[0] for a in corpus.archives if a.checksum}
    assert algorithms <= {"md5", "sha256"}
