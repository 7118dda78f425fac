"""Work spread over processes that end with their parent, whichever way it ends."""

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, TypeVar

from ser_generalize.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")


class Spread(Protocol):
    """What `processes` yields."""

    def __call__(
        self, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]:
        """Yield `function(task)` of every task, in the order in which they are done."""
        ...


# Seconds of work for one process. Another takes a third of a second to start, in which this one
# reads a few hundred clips, and halves what is left at best.
WORTH_STARTING = 0.6
OUT_OF_MEMORY = (
    "a process that read the audio ended for want of memory, or was killed; what was finished "
    "before is kept: run the same command again, with fewer --workers"
)


def available_cores() -> int:
    """Return the number of cores that this process may use, which a container can restrict."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Give a command the option --workers."""
    parser.add_argument(
        "--workers",
        type=_number_of_processes,
        metavar="N",
        help=f"processes (default: one per core, here {available_cores()}, if there is work enough "
        "that starting them pays)",
    )


def _number_of_processes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; give 1 or more")
    return int(text)


@contextmanager
def processes(workers: int | None) -> Iterator[Spread]:
    """Yield a function that spreads tasks over so many processes, which start at once.

    `spread(function, tasks)` yields the results in the order in which they are done; one task, or
    one worker, stays in this process. With None there is a worker per core, but none is started
    where this process, by the time that the first tasks take, is done before they would pay. After
    a failure the tasks that were not begun are dropped and those that were are waited for. Raises
    InputError where a process ends unexpectedly.
    """
    count = workers or available_cores()
    pool = _start(count) if workers and workers > 1 else None

    def spread(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        if min(count, len(tasks)) <= 1:
            return map(function, tasks)
        return in_pool(function, tasks) if workers else _if_it_pays(in_pool, function, tasks)

    def in_pool(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        nonlocal pool
        pool = pool or _start(count)
        return _results(_begin(pool, function, tasks))

    try:
        yield spread
    except (BrokenProcessPool, MemoryError) as error:
        raise InputError(OUT_OF_MEMORY) from error
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _start(count: int) -> ProcessPoolExecutor:
    """Return a pool whose processes are starting, which takes each a third of a second."""
    # One forked from a process with threads (pyarrow's, tqdm's) may hang: start afresh.
    pool = ProcessPoolExecutor(count, get_context("spawn"), _end_with_parent)
    _begin(pool, int, [0] * count)  # a task for each, or it would start when the first one comes
    return pool


def _begin(
    pool: ProcessPoolExecutor, function: Callable[[Any], Any], tasks: Sequence[Any]
) -> "list[Future[Any]]":
    with _ctrl_c_is_for_the_parent():
        return [pool.submit(function, task) for task in tasks]


def _if_it_pays(
    in_pool: Spread, function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[Result]:
    """Do tasks in this process until those that are left would take long enough for others."""
    started = time.monotonic()
    for done, task in enumerate(tasks, 1):
        yield function(task)
        if (time.monotonic() - started) / done * (len(tasks) - done) > WORTH_STARTING:
            yield from in_pool(function, tasks[done:])
            return


def _results(begun: Sequence["Future[Any]"]) -> Iterator[Any]:
    try:
        for future in as_completed(begun):
            yield future.result()
    finally:  # before anybody removes the folder that workers write to
        for future in begun:
            future.cancel()
        wait(begun)


def _end_with_parent() -> None:
    """Watch the parent from within a worker: killed, it could not tell its workers to stop."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _ctrl_c_is_for_the_parent() -> Iterator[None]:
    """Let processes that are started meanwhile inherit a blocked SIGINT.

    A terminal sends Ctrl-C to all of them; each would print a traceback beside the parent's line.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
