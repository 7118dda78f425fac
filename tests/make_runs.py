"""Runs of `train` on the fabricated corpus, in this process or launched in others."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ser_generalize import train
from ser_generalize.predictions import FILE_NAME, Predictions, read_predictions
from ser_generalize.scores import confusion, uar

SPEAKERS = [f"ravdess:0{number}" for number in (1, 2, 3, 4)]
SMOTE = ("--sampler", "smote", "--seeds", "3")  # 12 heads, which are three groups on one core
LAUNCHES = {
    "accelerate": ["accelerate.commands.launch", "--cpu"],
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
}


def arguments(dataset: Path, store: Path, out: Path, *options: str, head: str = "8") -> list[str]:
    folders = ["--dataset", str(dataset), "--embeddings", str(store), "--out", str(out)]
    return [*folders, "--head", head, *options]


def trained(dataset: Path, store: Path, out: Path, *options: str) -> Path:
    train.main(arguments(dataset, store, out, *options))
    return out


def runs_in(folder: Path) -> Callable[..., Predictions]:
    """Return what trains on a dataset and a store with options, into run0, run1 and so on."""

    def run(dataset: Path, store: Path, *options: object, head: str = "8") -> Predictions:
        out = folder / f"run{len(list(folder.glob('run*')))}"
        train.main(arguments(dataset, store, out, *map(str, options), head=head))
        return read_predictions(out)

    return run


def score_of(predictions: Predictions) -> float:
    """Return the UAR over all clips."""
    found = predictions.probabilities().argmax(1)
    return float(uar(confusion(predictions.labels(), found, len(predictions.about.classes))))


def launch(name: str, argv: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *LAUNCHES[name], "-m", "ser_generalize.train", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def contents(out: Path) -> bytes:
    return (out / FILE_NAME).read_bytes()
