"""Downloading against a real server on 127.0.0.1 that fails in every way that servers fail."""

import shutil
import time
from pathlib import Path

import pytest
from make_download import NOISE, TREE, ZIP, corpus_of, refusal, tree_of, zipped
from make_server import Answer, Files, Handler, cut, serving, status, whole

from dataset_scripts import download as module
from dataset_scripts.corpus import load_script
from dataset_scripts.download import download


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
