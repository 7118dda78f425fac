"""Work spread over processes that end with their parent, whichever way it ends."""

import argparse
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from ser_generalize.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

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
        default=available_cores(),
        metavar="N",
        help="processes (default: one per core, here %(default)s)",
    )


def _number_of_processes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; give 1 or more")
    return int(text)


@contextmanager
def spread(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Iterator[Result]]:
    """Yield the results of `function(task)` for every task, in the order in which they are done.

    One task, or one worker, stays in this process. Leaving the block drops the tasks that were not
    begun and waits for those that were. Raises InputError where a process ends unexpectedly.
    """
    try:
        if min(workers, len(tasks)) <= 1:
            yield map(function, tasks)
            return
        # A process forked from one that has threads (pyarrow's, tqdm's) may hang: start afresh.
        pool = ProcessPoolExecutor(
            min(workers, len(tasks)), multiprocessing.get_context("spawn"), _end_with_parent
        )
        try:
            with _ctrl_c_is_for_the_parent():
                begun = [pool.submit(function, task) for task in tasks]
            yield (future.result() for future in as_completed(begun))
        finally:
            pool.shutdown(cancel_futures=True)
    except (BrokenProcessPool, MemoryError) as error:
        raise InputError(OUT_OF_MEMORY) from error


def _end_with_parent() -> None:
    """Watch the parent from within a worker: killed, it could not tell its workers to stop."""
    parent = multiprocessing.parent_process()
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
