"""`embed` as it is run: killed at any time, by several processes, with workers, from afar."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import READER, Hub
from make_dataset import change_dataset, few, rows_of, shard_of, with_bad_clips
from make_encoder import assert_close
from make_store import clip_keys

from ser_generalize import clips
from ser_generalize.embed import embed
from ser_generalize.embeddings import read_embeddings, read_manifest, writable
from ser_generalize.encoder import Settings
from ser_generalize.errors import InputError

FP32 = Settings(dtype="fp32")
SHARD = 12  # clips, so that a small dataset makes several shards


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store, hidden ones too, but for the lock."""
    return {path.name: path.read_bytes() for path in store.iterdir() if path.name != ".lock"}


@pytest.fixture(scope="module", autouse=True)
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clips, "SHARD_CLIPS", SHARD)
        yield


@pytest.fixture(scope="module")
def data(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four shards, the last of them not full."""
    return few(dataset, tmp_path_factory.mktemp("runs") / "data", 4 * SHARD - 3)


@pytest.fixture(scope="module")
def whole(
    data: Path, tiny_encoder: Path, small_shards: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The store that one run makes when nobody disturbs it."""
    store = tmp_path_factory.mktemp("runs") / "whole"
    embed(str(data), str(tiny_encoder), store)
    return store


# Killed runs: a fork kills itself at a random one of the calls that a whole run makes: moments on a
# clock find a fast or a busy machine elsewhere. Everything is imported and opened once, beforehand.

FORKING = """
import itertools, json, os, random, signal, sys
from collections.abc import Iterator
from pathlib import Path
from ser_generalize import clips, engine
from ser_generalize.embed import embed
from ser_generalize.errors import InputError

data, encoder, folder, shard = sys.argv[1:]
clips.SHARD_CLIPS = int(shard)
opened = engine.open_clips(data, None, False), engine.load_encoder(encoder)
engine.open_clips, engine.load_encoder = lambda *_: opened[0], lambda *_: opened[1]

def start(store, killed_at=None):
    child = os.fork()
    if child:
        return child
    calls, code = itertools.count(1), 1

    def count(*_):
        if next(calls) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    if killed_at is not None or store.name == "counted":  # it is slow
        sys.setprofile(count)
    try:
        embed(data, encoder, store)
        code = 0
    except InputError as error:
        code = 2 if "another `ser-generalize embed` is writing" in str(error) else 1
    finally:
        sys.setprofile(None)
        if store.name == "counted":
            (store.parent / "calls").write_text(str(next(calls)))
        os._exit(code)

def finish(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def shards(store):
    return {path.name: path.stat().st_mtime_ns for path in store.glob("[!.]*.arrow")}

kills, races = [], []
assert finish(start(Path(folder) / "counted")) == 0
calls = int((Path(folder) / "calls").read_text())
moment = random.Random(0)
for number in range(20):
    store = Path(folder) / str(number)
    child = start(store, killed_at=moment.randrange(1, calls))
    killed, left = finish(child), shards(store)
    code, then = finish(start(store)), shards(store)
    kept = [name for name, changed in left.items() if then.get(name) == changed]
    kills.append([killed, code, len(left), len(kept)])
for number in range(5):
    racers = [start(Path(folder) / f"race-{number}") for _ in range(3)]
    races.append([finish(racer) for racer in racers])
print(json.dumps([kills, races]))
"""


@pytest.fixture(scope="module")
def forked(
    data: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[list[int]], list[list[int]]]:
    """The folder of stores that forks wrote, what came of the kills and what of the races."""
    folder = tmp_path_factory.mktemp("forked")
    command = [sys.executable, "-c", FORKING, data, tiny_encoder, folder, SHARD]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, *json.loads(done.stdout.splitlines()[-1])


def test_a_run_killed_at_any_moment_ends_with_the_same_bytes(
    whole: Path, forked: tuple[Path, list[list[int]], list[list[int]]]
) -> None:
    folder, kills, _ = forked
    assert len(kills) == 20
    for number, (_, code, left, kept) in enumerate(kills):
        assert (code, kept) == (0, left)  # no shard that was there was made again
        assert contents(folder / str(number)) == contents(whole), number
    assert len({left for killed, _, left, _ in kills if killed == -9}) > 1  # at different moments


def test_of_several_runs_into_one_store_one_writes_and_the_others_say_so(
    whole: Path, forked: tuple[Path, list[list[int]], list[list[int]]]
) -> None:
    folder, _, races = forked
    for number, codes in enumerate(races):
        assert 0 in codes and set(codes) <= {0, 2}
        assert contents(folder / f"race-{number}") == contents(whole)


def test_a_full_disk_is_one_line_and_what_is_there_is_kept(
    data: Path, tiny_encoder: Path, tmp_path: Path, whole: Path
) -> None:
    store = tmp_path / "store"
    embed(str(few(data, tmp_path / "12", SHARD)), str(tiny_encoder), store)
    before, limits = contents(store), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"store cannot be written .*[Ff]ile too large"):
            embed(str(data), str(tiny_encoder), store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(store) == before
    embed(str(data), str(tiny_encoder), store)
    assert read_manifest(store)[1]["clips"] == 4 * SHARD - 3


# Several processes

SEVERAL = """
import sys
from ser_generalize import clips
from ser_generalize.command import run_command
from ser_generalize.embed import main
clips.SHARD_CLIPS = 12
sys.exit(run_command("ser-generalize embed", main, sys.argv[1:]))
"""


def torchrun(
    tmp_path: Path, *argv: object, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    script = tmp_path / "several.py"
    script.write_text(SEVERAL)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", script, *argv]
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment
    )


def test_two_processes_write_the_store_of_one(
    data: Path, tiny_encoder: Path, tmp_path: Path, whole: Path
) -> None:
    store = tmp_path / "store"
    done = torchrun(tmp_path, "--dataset", data, "--encoder", tiny_encoder, "--out", store)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"embed: {4 * SHARD - 3} clips, ") == 1
    assert contents(store) == contents(whole)


def test_a_mistake_of_one_process_ends_all_and_is_said_once(
    data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with writable(store):  # which only the first process looks at
        done = torchrun(tmp_path, "--dataset", data, "--encoder", tiny_encoder, "--out", store)
    assert done.returncode != 0
    assert done.stderr.count("another `ser-generalize embed` is writing to") == 1
    assert contents(store) == {}


# Streaming


@pytest.fixture
def groups(data: Path, tmp_path: Path) -> Path:
    """The dataset in row groups of five clips, two of which make a shard."""
    folder = change_dataset(data, tmp_path / "groups", lambda rows: rows)
    pq.write_table(pq.read_table(shard_of(data)), shard_of(folder), row_group_size=5)
    return folder


def test_a_streamed_dataset_gives_the_same_embeddings(
    groups: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    for streaming in (False, True):
        store = tmp_path / str(streaming)
        embed(str(groups), str(tiny_encoder), store, settings=FP32, streaming=streaming)
    assert len(list((tmp_path / "True").glob("*.arrow"))) == 5  # of nine row groups
    keys = clip_keys(rows_of(groups))
    loaded, streamed = (read_embeddings(tmp_path / name, *keys)[1] for name in ("False", "True"))
    assert_close(streamed.astype(np.float32), loaded.astype(np.float32), 2e-3)


def test_a_streamed_run_that_goes_on_asks_for_no_audio_that_is_done(
    groups: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, breaks = list[int](), 7
    read = pq.ParquetFile.read_row_group

    def noted(file: pq.ParquetFile, number: int, columns: list[str]) -> pa.Table:
        asked.extend([number] * ("audio" in columns))
        if len(asked) == breaks:
            raise OSError("the connection broke")
        return read(file, number, columns=columns)

    embed(str(groups), str(tiny_encoder), tmp_path / "whole", streaming=True)
    with monkeypatch.context() as patched:
        patched.setattr(pq.ParquetFile, "read_row_group", noted)
        with pytest.raises(InputError, match=r"cannot be read \(the connection broke\).*to go on"):
            embed(str(groups), str(tiny_encoder), tmp_path / "store", streaming=True)
        done = len(list((tmp_path / "store").glob("*.arrow")))
        assert done >= 1
        asked, breaks = [], -1
        embed(str(groups), str(tiny_encoder), tmp_path / "store", streaming=True)
    assert asked == list(range(2 * done, 9))
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_two_processes_stream_from_the_hub(
    groups: Path, tiny_encoder: Path, tmp_path: Path, hub: Hub
) -> None:
    files = [path for path in groups.rglob("*") if path.is_file()]
    hub.add("dataset", "org/data").put(
        {str(path.relative_to(groups)): path.read_bytes() for path in files}
    )
    embed(str(groups), str(tiny_encoder), tmp_path / "local", streaming=True)
    argv = ["--dataset", "org/data", "--encoder", tiny_encoder, "--out", tmp_path / "store"]
    home = hub.environment(READER, tmp_path / "home")
    done = torchrun(tmp_path, *argv, "--streaming", environment=home)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "store") == contents(tmp_path / "local")
    kept = sum(path.stat().st_size for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert kept < shard_of(groups).stat().st_size / 4  # the card, and what `datasets` notes of it


# Workers


def test_workers_change_nothing(
    data: Path, tiny_encoder: Path, tmp_path: Path, whole: Path
) -> None:
    broken = change_dataset(data, tmp_path / "broken", with_bad_clips)
    stores = [tmp_path / "0", tmp_path / "2"]
    tallies = [embed(str(broken), str(tiny_encoder), s, workers=int(s.name)) for s in stores]
    assert contents(stores[0]) == contents(stores[1])
    assert tallies[0].skipped == tallies[1].skipped != []
    assert all(0 < tally.peak_memory < 50 for tally in tallies)


SLOW = """
import sys, time
from collections.abc import Iterator
from pathlib import Path
from ser_generalize import pipeline
from ser_generalize.embed import embed
pipeline.Pipeline._finish = lambda *_: (print("there", flush=True), time.sleep(60))
embed(sys.argv[1], sys.argv[2], Path(sys.argv[3]), workers=2)
"""


def test_workers_end_with_the_process_that_was_killed(
    data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SLOW, str(data), str(tiny_encoder), str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout and run.stdout.readline() == "there\n"
        children = psutil.Process(run.pid).children()
        run.kill()
    assert len(children) >= 2
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_worker_that_dies_is_one_line(
    data: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ser_generalize import decoding

    def die(*_: Any) -> None:
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
                child.wait()

    ask = decoding._ask
    monkeypatch.setattr(decoding, "_ask", lambda *given: (ask(*given), die()))
    with pytest.raises(InputError, match=r"process that decodes clips died .*`--workers 0`"):
        embed(str(data), str(tiny_encoder), tmp_path / "store", workers=1)
