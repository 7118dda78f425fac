"""Reading the harmonised dataset: a Hub id or a local folder, through `datasets.load_dataset`."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from datasets import (
    Audio,
    Dataset,
    concatenate_datasets,
    disable_progress_bars,
    get_dataset_config_names,
    load_dataset,
)
from datasets.exceptions import DatasetsError

from ser_generalize.errors import InputError
from ser_generalize.schema import clip_features

GROUPED_CONFIGS = {"default", "folds"}  # not corpora


def load_clips(dataset: str, corpora: Sequence[str] | None = None) -> Dataset:
    """Load the clips of some corpora (all by default) with their audio as undecoded bytes.

    `dataset` is a Hub id or a folder that `dataset_scripts.build` wrote. Raises InputError where it
    cannot be loaded, lacks a corpus asked for, or does not hold the columns of a Clip.
    """
    disable_progress_bars()  # the commands show their own
    try:
        available = [n for n in get_dataset_config_names(dataset) if n not in GROUPED_CONFIGS]
        names = _check_corpora(dataset, corpora, available)
        parts = [load_dataset(dataset, name, split="train") for name in names]
    except (OSError, ValueError, DatasetsError) as error:
        raise InputError(_why_not_loaded(dataset, error)) from error
    for name, part in zip(names, parts, strict=True):
        _check_columns(dataset, name, part)
    return concatenate_datasets([part.cast_column("audio", Audio(decode=False)) for part in parts])


def fingerprint(clips: Dataset) -> str:
    """Return the identity of what a run was trained and scored on: clip ids, audio and labels."""
    columns = (clips[name] for name in ("clip_id", "sha256", "emotion", "speaker"))
    lines = sorted("\t".join(map(str, row)) for row in zip(*columns, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _check_corpora(
    dataset: str, wanted: Sequence[str] | None, available: Sequence[str]
) -> Sequence[str]:
    missing = [name for name in wanted or () if name not in available]
    if missing:
        raise InputError(
            f"dataset {dataset} has no corpus {', '.join(missing)}; "
            f"it holds: {', '.join(available)}"
        )
    return list(dict.fromkeys(wanted)) if wanted else available


def _why_not_loaded(dataset: str, error: Exception) -> str:
    if Path(dataset).is_dir():
        return (
            f"folder {dataset} is no dataset that `datasets` can load ({error}); make one with "
            "`python -m dataset_scripts.build CORPUS --source DIR --out DATASET`"
        )
    return (
        f"dataset {dataset} is neither a folder nor reachable on the Hub ({type(error).__name__}); "
        "give a folder made by `python -m dataset_scripts.build`, or a Hub id ORG/NAME"
    )


def _check_columns(dataset: str, name: str, part: Dataset) -> None:
    missing = [column for column in clip_features() if column not in part.column_names]
    if missing:
        raise InputError(
            f"dataset {dataset}, config {name}: the columns {', '.join(missing)} are missing; "
            "it was not made by this package, or by an older version of it"
        )
