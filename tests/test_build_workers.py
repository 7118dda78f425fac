"""A build in several processes: the same bytes, whatever ends it, and nothing left running."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import islice, product
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from make_trees import raw, record, rows, skipped, snapshot
from watching import wait_for

from dataset_scripts import parts, workers
from dataset_scripts.build import build, main
from ser_generalize.audio import read_pcm
from ser_generalize.command import run_command
from ser_generalize.errors import InputError

CLIPS = 5 * parts.PART_CLIPS + 7


def ravdess_names(count: int) -> list[str]:
    grid = product(range(1, 25), range(2, 9), (1, 2), (1, 2), (1, 2))
    return [
        f"Actor_{a:02}/03-01-{e:02}-{i:02}-{s:02}-{r:02}-{a:02}.wav"
        for a, e, i, s, r in islice(grid, count)
    ]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips for six parts, each of which takes a moment; one is broken, two are the same."""
    root = tmp_path_factory.mktemp("raw") / "ravdess"
    names = ravdess_names(CLIPS)
    for seed, name in enumerate(names):
        record(root / name, seed, seconds=0.5, rate=48_000)
    (root / names[100]).write_bytes(b"no audio")
    shutil.copy(root / names[0], root / names[8])  # happy, and the first was calm
    shutil.copy(root / names[300], root / names[301])  # the other repetition
    return root


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of it, undisturbed."""
    out = tmp_path_factory.mktemp("whole") / "data"
    assert build("ravdess", source, out)[0] == CLIPS - 4
    return out


def start(source: Path, out: Path) -> "subprocess.Popen[str]":
    arguments = ["ravdess", "--source", str(source), "--out", str(out), "--workers", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "dataset_scripts.build", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(out: Path) -> list[Path]:
    return list((out / ".ravdess.parts").glob("[!.]*.clips"))


def test_the_bytes_do_not_depend_on_the_number_of_processes(
    source: Path, whole: Path, tmp_path: Path
) -> None:
    before = set(multiprocessing.active_children())
    build("ravdess", source, tmp_path / "data", workers=3)
    assert snapshot(tmp_path / "data") == snapshot(whole)
    assert set(multiprocessing.active_children()) <= before


def test_rows_are_in_the_order_of_their_ids_in_groups_of_a_hundred(whole: Path) -> None:
    (shard,) = (whole / "ravdess").glob("*.parquet")
    metadata = pq.read_metadata(shard)
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == [100, 100, 100, CLIPS - 4 - 300]
    ids = [row["clip_id"] for row in rows(whole)]
    assert ids == sorted(ids)
    reasons = skipped(whole)
    names = ravdess_names(CLIPS)
    assert set(reasons) == {names[0], names[8], names[100], names[301]}
    assert "more than one native label" in reasons[names[0]] == reasons[names[8]]


def end_in_the_middle(source: Path, tmp_path: Path, end: str) -> tuple[Path, int, str]:
    """End a build that has finished a part; where it was quicker than the signal, end another."""
    for attempt in range(5):
        out = tmp_path / f"data-{attempt}"
        process = start(source, out)
        wait_for(lambda: finished(out) or process.poll() is not None)  # noqa: B023 # called here
        if process.poll() is None and end == "SIGKILL":
            process.kill()  # the parent alone
        elif process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)  # every process, as a terminal does
        # Its workers write to the same pipe, which is at its end when the last of them is gone.
        output, _ = process.communicate(timeout=60)
        if process.returncode:
            return out, process.returncode, output
    raise AssertionError("no build was slow enough to be ended")


@pytest.mark.parametrize("end", ["SIGKILL", "SIGINT"])
def test_a_build_that_was_ended_leaves_nothing_running_and_is_resumed(
    source: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    out, returncode, output = end_in_the_middle(source, tmp_path, end)
    assert "Traceback" not in output
    if end == "SIGINT":
        assert returncode == 130
        assert output.splitlines()[-1].startswith("build: interrupted; run the same command again")
    done = len(finished(out))
    assert done  # those that were handed to a worker may have been finished meanwhile
    assert not (out / "ravdess").exists() and not (out / "README.md").exists()

    read: list[Path] = []

    def reading(path: Path) -> object:
        read.append(path)
        return read_pcm(path)

    monkeypatch.setattr(parts, "read_pcm", reading)
    build("ravdess", source, out)
    assert len(read) <= CLIPS - (done - 1) * parts.PART_CLIPS - 7, "finished parts are kept"
    assert snapshot(out) == snapshot(whole)


def test_a_worker_that_dies_is_one_line(
    source: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"

    others = set(multiprocessing.active_children())

    def kill_one() -> None:
        wait_for(lambda: finished(out))
        (set(multiprocessing.active_children()) - others).pop().kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    arguments = ["ravdess", "--source", str(source), "--out", str(out), "--workers", "2"]
    assert run_command("build", main, arguments) == 2
    killer.join()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "build: " in line]
    assert "ended for want of memory, or was killed" in line and "--workers" in line
    assert set(multiprocessing.active_children()) <= others
    build("ravdess", source, out, workers=2)
    assert snapshot(out) == snapshot(whole)


def test_want_of_memory_in_this_process_is_the_same_line(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(parts, "read_pcm", exhausted)
    with pytest.raises(InputError, match="want of memory"):
        build("ravdess", source, tmp_path / "data")


@pytest.mark.parametrize("change", ["audio", "label", "power failure"])
def test_what_changed_since_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Parts are kept where they depend on what they depended on."""
    names = ravdess_names(3)
    source, out = raw(tmp_path / "raw", names), tmp_path / "data"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dataset_scripts.dataset.read_parts", _interrupt)
        build("ravdess", source, out)
    (part,) = finished(out)
    if change == "audio":
        record(source / names[0], 77)
    elif change == "label":
        (source / names[0]).rename(source / names[0].replace("03-01-02", "03-01-05"))
    else:
        part.write_bytes(part.read_bytes()[:-9])
    build("ravdess", source, out)
    build("ravdess", source, tmp_path / "fresh")
    assert snapshot(out) == snapshot(tmp_path / "fresh")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_a_number_of_processes_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    arguments = ["ravdess", "--source", str(tmp_path), "--out", "data", "--workers", number]
    assert run_command("build", main, arguments) == 2
    assert f"argument --workers: {number!r} is no number of processes" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "pays"), [(0.0, False), (0.15, True)])
def test_processes_are_started_where_they_pay(
    monkeypatch: pytest.MonkeyPatch, seconds: float, pays: bool
) -> None:
    monkeypatch.setattr(workers, "available_cores", lambda: 2)
    with workers.processes(None) as spread:
        first, *others = spread(who_works, [seconds] * 6)
    assert first == os.getpid()
    assert len(others) == 5
    assert (os.getpid() not in others) == pays


def who_works(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
