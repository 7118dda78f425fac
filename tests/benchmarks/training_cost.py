"""What training many folds together saves: groups of heads against one head after the other.

    python tests/benchmarks/training_cost.py
    python tests/benchmarks/training_cost.py --device cuda --batch 1024 --bf16

Fabricated features, 24 folds that leave one speaker out each. Three sides in one run, taken in
turns, the fastest of `--repeats` counting: everyday torch, a module and an optimiser per fold, one
fold after the other with all cores; the package's program with a single head in every group, the
same way; and what `train` does, groups of heads, a thread each. A few epochs are timed: all cost
the same. On a machine that is busy with other work, `--cpu-time` gives every side one thread and
counts its processor time.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn import functional

from ser_generalize.groups import heads_together
from ser_generalize.heads import parse_head
from ser_generalize.mixture import Mixture
from ser_generalize.training import Job, Recipe, Training

SPEAKERS = 24
CLASSES = 4

Timer = Callable[[], float]


@dataclass(frozen=True)
class Setting:
    """One line of the table."""

    features: torch.Tensor
    labels: np.ndarray
    jobs: Sequence[Job]
    hidden: tuple[int, ...]
    recipe: Recipe

    def start(self, jobs: Sequence[Job]) -> Training:
        """Return heads that are ready to train."""
        return Training(self.features, jobs, self.hidden, CLASSES, self.recipe)


def main() -> None:
    """Time every head and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--heads", nargs="+", default=["128", "512", "4096,2048,1024,512"])
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--clips", type=int, default=768)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--cpu-time", action="store_true")
    arguments = parser.parse_args()
    recipe = Recipe(epochs=arguments.epochs, batch=arguments.batch, bf16=arguments.bf16)
    print(f"load {os.getloadavg()[0]:.1f}, {SPEAKERS} folds of {arguments.clips} clips")
    for head in arguments.heads:
        shape = arguments.clips, arguments.layers, arguments.width
        compare(head, make(shape, parse_head(head) or (), recipe, arguments.device), arguments)


def make(
    shape: tuple[int, int, int], hidden: tuple[int, ...], recipe: Recipe, device: str
) -> Setting:
    """Return random features and a job for every speaker."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=shape).astype(np.float32)
    labels = generator.integers(0, CLASSES, shape[0])
    speaker = generator.integers(0, SPEAKERS, shape[0])
    jobs = []
    for name in range(SPEAKERS):
        rows, test = np.flatnonzero(speaker != name), np.flatnonzero(speaker == name)
        own, weight = labels[rows], np.zeros(len(rows), np.float32)
        mixture = Mixture(rows, rows, weight, own, own)
        jobs.append(Job(str(name), name, mixture, rows, test, test[:0]))
    return Setting(torch.from_numpy(features).to(device), labels, jobs, hidden, recipe)


def compare(head: str, setting: Setting, arguments: argparse.Namespace) -> None:
    """Print the seconds of an epoch of all folds on each side, and the ratios."""
    cpu = setting.features.device.type == "cpu"
    size = heads_together(
        setting.features.shape[1:], setting.hidden, CLASSES, setting.recipe, setting.features.device
    )
    workers = (os.cpu_count() or 1) if cpu else 1
    count = min(SPEAKERS, -(-SPEAKERS // (size * workers)) * workers)
    groups = [setting.jobs[start::count] for start in range(count)]
    if arguments.cpu_time:
        torch.set_num_threads(1)
        workers = 1
    timer = time.thread_time if arguments.cpu_time else time.perf_counter
    sides: dict[str, Callable[[], float]] = {
        "everyday torch": lambda: sum(everyday(setting, job, timer) for job in setting.jobs),
        "one by one": lambda: sum(one_group(setting, [job], timer) for job in setting.jobs),
        "groups": lambda: (
            sum(one_group(setting, group, timer) for group in groups)
            if workers == 1
            else together(setting, groups, workers)
        ),
    }
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(arguments.repeats):
        for name, side in sides.items():
            best[name] = min(best[name], side() / arguments.epochs)
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in best.items())
    ratios = [best[name] / best["groups"] for name in ("everyday torch", "one by one")]
    print(
        f"{head}: {seconds} an epoch; groups of {len(groups[0])} are {ratios[0]:.2f} times as fast "
        f"as everyday torch and {ratios[1]:.2f} times as fast as one by one",
        flush=True,
    )


def clock(device: torch.device, timer: Timer) -> float:
    """Return the time when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return timer()


def one_group(setting: Setting, jobs: Sequence[Job], timer: Timer) -> float:
    """Return the seconds of training a group, without its preparation."""
    training, device = setting.start(jobs), setting.features.device
    start = clock(device, timer)
    for epoch in range(setting.recipe.epochs):
        training._epoch(epoch)
    return clock(device, timer) - start


def together(setting: Setting, groups: Sequence[Sequence[Job]], workers: int) -> float:
    """Return the seconds of training all groups on a CPU, a worker and a thread each."""
    ready, threads = [setting.start(group) for group in groups], torch.get_num_threads()

    def run(training: Training) -> None:
        for epoch in range(setting.recipe.epochs):
            training._epoch(epoch)

    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(workers, initializer=threadpool_limits, initargs=(1,))
    with threadpool_limits(1), pool:
        start = time.perf_counter()
        list(pool.map(run, ready))
        seconds = time.perf_counter() - start
    torch.set_num_threads(threads)
    return seconds


class EverydayHead(nn.Module):
    """The head as anybody would write it."""

    def __init__(self, layers: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))
        parts: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            parts += [nn.Dropout(0.5), nn.Linear(inputs, outputs), nn.ReLU()]
        self.body = nn.Sequential(*parts[:-1])

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return logits [clips, classes]."""
        return self.body(torch.einsum("l,clw->cw", self.scores.softmax(0), clips))


def everyday(setting: Setting, job: Job, timer: Timer) -> float:
    """Return the seconds of training one head as torch's tutorials do, its features copied."""
    recipe, device = setting.recipe, setting.features.device
    rows = torch.from_numpy(job.train).to(device)
    values, label = setting.features[rows], torch.from_numpy(setting.labels).to(device)[rows]
    values = (values - values.mean(0)) / values.std(0)
    sizes = (values.shape[-1], *setting.hidden, CLASSES)
    head = EverydayHead(values.shape[1], sizes).to(device)
    optimiser = torch.optim.AdamW(head.parameters(), fused=True)
    steps = recipe.epochs * -(-len(rows) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps)
    start = clock(device, timer)
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(rows)).to(device).split(recipe.batch):
            with torch.autocast(device.type, torch.bfloat16, recipe.bf16):
                logits = head(values[batch])
            loss = functional.cross_entropy(logits.float(), label[batch], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return clock(device, timer) - start


if __name__ == "__main__":
    main()
