"""How fast the page of `ser-generalize space` answers one client and many, and what it holds.

    python tests/benchmarks/space_load.py --encoder WHISPER_FOLDER

A checkpoint with a head of random weights over a real encoder is served by the command itself, in a
process of its own; a fabricated voice of 3 s is sent by `gradio_client`. Printed are the seconds to
start, the answer alone (decoded and judged in this process) beside the answer through the endpoint,
wrong answers and errors of many clients at once, and the server's memory before and after.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import soundfile

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "space")]

from gradio_client import Client, handle_file  # noqa: E402
from listening import listen, read_recording  # noqa: E402
from make_checkpoint import make_checkpoint  # noqa: E402
from make_encoder import RATE, sound  # noqa: E402

from ser_generalize.checkpoint import load_checkpoint  # noqa: E402

SECONDS = 3.0
CLIENTS = 50
FEW = 4  # clients, while memory is watched
TOLERANCE = 1e-3  # of a probability: batches of other sizes round otherwise
PATIENCE = 120.0  # seconds until the page is there


@contextmanager
def serving(checkpoint: Path) -> Iterator[tuple[str, int, float]]:
    """Run the command; yield its address, its process and the seconds until it answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ser_generalize.space", "--checkpoint", str(checkpoint)]
    started = time.perf_counter()
    server = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{port}/"
        while not _answers(url):
            assert server.poll() is None and time.perf_counter() - started < PATIENCE
            time.sleep(0.05)
        yield url, server.pid, time.perf_counter() - started
    finally:
        server.terminate()
        server.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}config", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def memory(process: int) -> float:
    """Return what a process holds now, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def write_clips(folder: Path) -> list[Path]:
    """Write five clips of 3 s that sound unlike."""
    paths = [folder / f"{seed}.wav" for seed in range(5)]
    for seed, path in enumerate(paths):
        soundfile.write(path, sound(SECONDS, seed), RATE)
    return paths


def ask(client: Client, path: Path) -> dict[str, Any]:
    """Send one clip; return the answer."""
    return dict(client.predict(handle_file(str(path)), "", api_name="/predict"))


def timed(call: Any, times: int) -> list[float]:
    """Return the seconds of each of some calls, the first left out."""
    call()
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        durations.append(time.perf_counter() - started)
    return durations


def crowd(url: str, clips: list[Path], right: list[dict[str, float]]) -> tuple[int, float]:
    """Ask with many clients at once; return how many wrong answers came, and the seconds."""
    clients = [Client(url, verbose=False) for _ in range(CLIENTS)]
    asked = [number % len(clips) for number in range(CLIENTS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(ask, clients, [clips[number] for number in asked]))
    took = time.perf_counter() - started
    wrong = sum(
        abs(answer["probabilities"][name] - chance) > TOLERANCE
        for answer, number in zip(found, asked, strict=True)
        for name, chance in right[number].items()
    )
    return wrong, took


def watch(url: str, process: int, clips: list[Path], requests: int) -> Iterator[float]:
    """Yield the server's memory before and after every tenth of many requests."""
    clients = [Client(url, verbose=False) for _ in range(FEW)]
    yield memory(process)
    with ThreadPoolExecutor(FEW) as pool:
        for _ in range(10):
            for number in range(0, requests // 10, FEW):
                list(pool.map(ask, clients, [clips[number % len(clips)]] * FEW))
            yield memory(process)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True, help="a Whisper folder")
    parser.add_argument("--times", type=int, default=100, help="answers timed, one after another")
    parser.add_argument("--requests", type=int, default=1000, help="sent while memory is watched")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        clips = write_clips(Path(folder))
        checkpoint = make_checkpoint(arguments.encoder, Path(folder, "run", "checkpoint"))
        model = load_checkpoint(str(checkpoint))
        right = [
            listen("run", model, read_recording(clip)).whole.probabilities or {} for clip in clips
        ]
        alone = timed(lambda: listen("run", model, read_recording(clips[0])), arguments.times)
        with serving(checkpoint) as (url, process, start):
            print(f"started in {start:.1f} s")
            client = Client(url, verbose=False)
            through = timed(lambda: ask(client, clips[0]), arguments.times)
            share = median(through) / median(alone)
            print(
                f"a clip of {SECONDS:g} s: {1000 * median(alone):.0f} ms alone, "
                f"{1000 * median(through):.0f} ms through the endpoint (median; 95 of 100 under "
                f"{1000 * quantiles(through, n=20)[-1]:.0f} ms), {share:.1f} times"
            )
            wrong, took = crowd(url, clips, right)
            print(f"{CLIENTS} clients at once: {wrong} wrong, {took:.1f} s for all")
            held = watch(url, process, clips, arguments.requests)
            steps = ", ".join(f"{one:.0f}" for one in held)
            print(f"memory over {arguments.requests} requests, MiB: {steps}")


if __name__ == "__main__":
    main()
