"""The run folder: what was asked for, finished folds, the predictions, and `done`, last."""

import json
import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_generalize.errors import InputError, listing
from ser_generalize.files import staged, write_text, writing
from ser_generalize.predictions import FILE_NAME, Predictions, write_predictions
from ser_generalize.scores import corpus_metrics

CONFIG = "config.json"
METRICS = "metrics.json"
DONE = "done"
FOLDS = "folds"  # finished folds of a run that is not done yet
PACKAGES = (
    "ser-generalize",
    "torch",
    "transformers",
    "datasets",
    "imbalanced-learn",
    "scikit-learn",
)


@dataclass(frozen=True)
class FoldResult:
    """The test predictions of one fold under one seed, keyed by clip id."""

    fold: str
    seed: int
    clip_ids: list[str]
    probabilities: NDArray[np.float32]  # [clips, classes]
    notes: tuple[str, ...]  # where the sampler or the head fell back to something else
    epochs: int  # that gave the head
    temperature: float  # that the probabilities were taken under
    tune_epochs: int = 0  # that gave the encoder; 0: it is frozen


def check_run(out: Path, cell: dict[str, Any]) -> bool:
    """Return whether `out` holds the finished run of this very cell; writes nothing.

    Raises InputError where the folder holds a run of another cell, or files that are no run.
    """
    if (out / CONFIG).is_file():
        _check_same_cell(out, _read_cell(out), cell)
    elif out.exists() and (not out.is_dir() or any(out.glob("[!.]*"))):
        raise InputError(f"--out {out} exists and is no run folder; give a new one")
    return (out / DONE).is_file()


def start_run(out: Path, cell: dict[str, Any], processes: int) -> None:
    """Write the config of a run that `check_run` let pass; one that was killed is resumed."""
    config = json.dumps({"cell": cell} | _environment(processes), indent=2)
    with writing(f"--out {out} cannot be written"):
        write_text(out / CONFIG, config + "\n")  # first: it says whose the folder is
        (out / FOLDS).mkdir(exist_ok=True)


def save_fold(out: Path, index: int, result: FoldResult) -> None:
    """Keep a finished fold, atomically, so that a killed run does not train it again.

    `index` says which of the run's folds and seeds it is.
    """
    with staged(_fold_file(out, index)) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            fold=np.array(result.fold),
            seed=np.array(result.seed),
            clip_ids=np.array(result.clip_ids),
            probabilities=result.probabilities,
            notes=np.array(result.notes, dtype=str),
            epochs=np.array(result.epochs),
            temperature=np.array(result.temperature),
            tune_epochs=np.array(result.tune_epochs),
        )


def load_fold(out: Path, index: int) -> FoldResult | None:
    """Return a fold that an earlier, interrupted run finished, or None."""
    if not _fold_file(out, index).is_file():
        return None
    with np.load(_fold_file(out, index), allow_pickle=False) as saved:
        return FoldResult(
            fold=str(saved["fold"]),
            seed=int(saved["seed"]),
            clip_ids=saved["clip_ids"].tolist(),
            probabilities=saved["probabilities"],
            notes=tuple(saved["notes"].tolist()),
            epochs=int(saved["epochs"]),
            temperature=float(saved["temperature"]),
            tune_epochs=int(saved["tune_epochs"]),
        )


def finish_run(out: Path, predictions: Predictions) -> None:
    """Write the predictions and their metrics, drop the single folds, and say `done`."""
    write_predictions(out / FILE_NAME, predictions)
    write_text(out / METRICS, json.dumps(corpus_metrics(predictions), indent=2) + "\n")
    write_text(out / DONE, "")
    shutil.rmtree(out / FOLDS)


def _read_cell(out: Path) -> dict[str, Any]:
    try:
        cell = json.loads((out / CONFIG).read_text(encoding="utf-8"))["cell"]
    except (ValueError, KeyError, TypeError):
        cell = None
    if not isinstance(cell, dict):  # a checkpoint has a config.json too
        raise InputError(f"--out {out} exists and is no run folder; give a new one")
    return cell


def _check_same_cell(out: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    names = sorted(found.keys() | wanted.keys())
    different = [name for name in names if found.get(name) != wanted.get(name)]
    if different:
        changes = [f"{name} {found.get(name)!r}, not {wanted.get(name)!r}" for name in different]
        raise InputError(
            f"--out {out} holds another run ({listing(changes, 3)}); give a new folder"
        )


def _environment(processes: int) -> dict[str, Any]:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "hardware": {"device": device, "cores": os.cpu_count(), "processes": processes},
    }


def _fold_file(out: Path, index: int) -> Path:
    return out / FOLDS / f"{index:05d}.npz"
