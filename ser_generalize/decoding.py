"""Clips decoded ahead of the device, in worker processes."""

import multiprocessing
import resource
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ser_generalize.audio import BadAudioError, decode_clip
from ser_generalize.degradation import Degradation
from ser_generalize.errors import InputError

Audio = tuple[str, bytes]  # a clip's id and its file
Decoded = list["NDArray[np.float32] | str"]  # a clip's samples, or why it is unusable

T = TypeVar("T")
UNDEGRADED = Degradation()


def decode(clips: Sequence[Audio], degradation: Degradation = UNDEGRADED) -> Decoded:
    """Decode the audio of some clips to 16-kHz mono samples, or say why one is unusable."""
    return [_decode(*clip, degradation) for clip in clips]


def _decode(clip_id: str, data: bytes, degradation: Degradation) -> "NDArray[np.float32] | str":
    try:
        return degradation(decode_clip(data), clip_id)
    except BadAudioError as error:
        return str(error)


class Decoders:
    """Worker processes that decode ahead; without any, clips are decoded when they are asked for.

    Each worker holds one batch at most, done or in work: that bounds the memory. They end with the
    process that started them, however it ends.
    """

    def __init__(self, workers: int, degradation: Degradation = UNDEGRADED) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the device's threads
        self._degradation = degradation
        self.peak_memory = 0.0  # GiB, of all workers together; known after they ended
        self._workers: list[Connection] = []
        for _ in range(workers):
            here, there = context.Pipe()
            context.Process(target=_work, args=(there, degradation), daemon=True).start()
            there.close()  # so that the worker's death is noticed here
            self._workers.append(here)

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            if kind is None:
                worker.send(None)
                self.peak_memory += _receive(None, worker)[1]
            worker.close()

    def map(self, batches: Iterable[tuple[T, Sequence[Audio]]]) -> Iterator[tuple[T, Decoded]]:
        """Yield every batch decoded, in order, with what it came with."""
        if not self._workers:
            yield from ((tag, decode(clips, self._degradation)) for tag, clips in batches)
            return
        waiting: deque[tuple[T, Connection]] = deque()
        for worker, (tag, clips) in zip(cycle(self._workers), batches, strict=False):
            done = [_receive(*waiting.popleft())] if len(waiting) == len(self._workers) else []
            _ask(worker, clips)  # which has just been received from, or is new: it listens
            waiting.append((tag, worker))
            yield from done
        for tag, worker in waiting:
            yield _receive(tag, worker)


def peak_memory() -> float:
    """Return the most memory that this process ever held, in GiB, without what its parent held.

    On Linux `getrusage` counts the memory of the parent that started it; the kernel's high-water
    mark does not.
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20  # of kB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, KiB elsewhere


def _work(parent: Connection, degradation: Degradation) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to tell about
    try:
        while (clips := parent.recv()) is not None:
            parent.send(decode(clips, degradation))
        parent.send(peak_memory())
    except (EOFError, ConnectionError):
        return  # the parent is gone


def _ask(worker: Connection, clips: Sequence[Audio]) -> None:
    try:
        worker.send(clips)
    except ConnectionError as error:
        raise _died() from error


def _receive(tag: T, worker: Connection) -> tuple[T, Any]:
    try:
        return tag, worker.recv()
    except (EOFError, ConnectionError) as error:
        raise _died() from error


def _died() -> InputError:
    return InputError(
        "a process that decodes clips died (out of memory?); run the same command again to go on, "
        "with `--workers 0` to decode in the main process"
    )
