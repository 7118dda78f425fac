"""Several processes at one task: how they start, agree on mistakes and share the cores."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, gather_object
from threadpoolctl import threadpool_limits

from ser_generalize.errors import InputError

T = TypeVar("T")
# For the last of them to finish its share. A process that dies is the launcher's to notice.
PATIENCE = timedelta(days=7)


@contextmanager
def processes(report_to: str | None = None, folder: Path | None = None) -> Iterator[Accelerator]:
    """Join the processes of an `accelerate launch` or `torchrun`, if this is one of them.

    `report_to` names a tracker that Accelerate knows, and `folder` is where it may write.
    """
    group = InitProcessGroupKwargs(timeout=PATIENCE)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[group],
        log_with=report_to,
        project_dir=folder,
    )
    try:
        yield accelerator
    finally:  # else processes die at exit now and then, and wait for ever for one that failed
        accelerator.end_training()


def joined() -> Accelerator:
    """Return the processes that this one joined before, see `processes`, or itself alone."""
    return Accelerator(cpu=not torch.cuda.is_available())


def in_step(step: Callable[[], T]) -> T:
    """Take a step in every process; a mistake found by one is raised by all, and none waits."""
    mistakes: list[str] = []
    try:
        result = step()
    except InputError as error:
        mistakes.append(str(error))
    mistakes = gather_object(mistakes)
    if mistakes:
        raise InputError(mistakes[0])
    return result


def share_of_cores(accelerator: Accelerator) -> int:
    """Return how many of its machine's cores are for this process."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
    return max(1, (os.cpu_count() or 1) // here)


@contextmanager
def single_threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Yield workers of one thread each: sums then do not depend on how many processes there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # OpenMP's limit holds for the thread that sets it, BLAS's for the process: both are needed.
    pool = ThreadPoolExecutor(workers, initializer=threadpool_limits, initargs=(1,))
    try:
        with threadpool_limits(1), pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
