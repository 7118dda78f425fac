"""Reading the harmonised dataset: a Hub id or a local folder, through `datasets.load_dataset`."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pyarrow as pa
from datasets import (
    Audio,
    Dataset,
    DatasetBuilder,
    Features,
    concatenate_datasets,
    disable_progress_bars,
    get_dataset_config_names,
    load_dataset,
    load_dataset_builder,
)
from datasets import config as datasets_config
from huggingface_hub import HfApi

from ser_generalize.errors import InputError, listing, silenced
from ser_generalize.hub import is_hub_id
from ser_generalize.schema import clip_features

GROUPED_CONFIGS = {"default", "folds"}  # not corpora
PATIENCE = 10.0  # seconds to wait for the Hub's first answer
NEVER_NULL = ("clip_id", "corpus", "sha256", "duration")  # what clips are found and ordered by


def load_clips(dataset: str, corpora: Sequence[str] | None = None) -> Dataset:
    """Load the clips of some corpora (all by default) with their audio as undecoded bytes.

    `dataset` is a Hub id or a folder that `dataset_scripts.build` wrote. Raises InputError where it
    cannot be loaded, lacks a corpus asked for, holds other columns than a Clip's, or a clip twice.
    """
    names = corpus_names(dataset, corpora)
    with _loading(dataset):
        parts = [
            load_dataset(dataset, name, split="train", cache_dir=_cache_folder(dataset, name))
            for name in names
        ]
    clips = concatenate_datasets(
        [_undecoded(dataset, name, part) for name, part in zip(names, parts, strict=True)]
    )
    check_once(dataset, clips["clip_id"])
    return clips


def find_files(dataset: str, corpora: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Return the addresses of the Parquet files of some corpora, to read them where they lie.

    They are paths or, of the Hub, `hf://` addresses of one commit. Raises InputError as
    `load_clips` does.
    """
    names = corpus_names(dataset, corpora)
    with _loading(dataset):
        builders = {name: load_dataset_builder(dataset, name) for name in names}
        return {name: _data_files(builder) for name, builder in builders.items()}


def check_once(dataset: str, clip_ids: Sequence[str]) -> None:
    """Raise InputError where a clip is there twice: no row could be told from the other."""
    repeated = [clip_id for clip_id, count in Counter(clip_ids).items() if count > 1]
    if repeated:
        raise InputError(f"dataset {dataset} holds clips more than once: {listing(repeated, 3)}")


def fingerprint(clips: Dataset) -> str:
    """Return the identity of what a run was trained and scored on: clip ids, audio and labels."""
    labels = ("native_label", "emotion", "label4", "label5", "votes")
    people = ("speaker", "sex", "age", "language", "elicitation")
    columns = (clips[name] for name in ("clip_id", "sha256", *people, *labels))
    lines = sorted("\t".join(map(str, row)) for row in zip(*columns, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@contextmanager
def _loading(dataset: str) -> Iterator[None]:
    """Turn whatever a library raises on a broken dataset into one line, and keep it from logging.

    There is no list of what that may be: `datasets` lets the errors of its parsers through.
    """
    disable_progress_bars()  # the commands show their own
    try:
        with silenced("datasets", "huggingface_hub"):
            _ask_once(dataset)
            yield
    except Exception as error:
        raise InputError(_why_not_loaded(dataset, error)) from error


@cache
def _ask_once(dataset: str) -> None:
    """Fail at once where the Hub gives no answer: `datasets` itself asks for 23 seconds."""
    if not Path(dataset).is_dir():
        HfApi().dataset_info(dataset, timeout=PATIENCE)


def _cache_folder(dataset: str, name: str) -> str | None:
    """Return where a corpus of a folder is cached: apart for every state of its files.

    By itself `datasets` tells folders apart by their last name and their card's YAML, and hands out
    what another `data`, or this one before it was rebuilt, once held.
    """
    if not Path(dataset).is_dir():
        return None  # of the Hub: kept apart by commit
    paths = [Path(path) for path in _data_files(load_dataset_builder(dataset, name))]
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    digest = hashlib.sha256(repr(state).encode()).hexdigest()
    return str(Path(datasets_config.HF_DATASETS_CACHE) / f"ser-generalize-{digest[:16]}")


def _data_files(builder: DatasetBuilder) -> list[str]:
    return [str(path) for split in builder.config.data_files.values() for path in split]


def corpus_names(dataset: str, wanted: Sequence[str] | None = None) -> Sequence[str]:
    """Return the configs to read, those asked for or all that are a corpus."""
    if not Path(dataset).is_dir() and not is_hub_id(dataset):  # the Hub takes long to say no
        raise InputError(
            f"dataset {dataset} is neither a folder nor a Hub id ORG/NAME; give a folder made by "
            "`python -m dataset_scripts.build`"
        )
    with _loading(dataset):
        available = [n for n in get_dataset_config_names(dataset) if n not in GROUPED_CONFIGS]
    if not available:
        raise InputError(
            f"dataset {dataset} has no config for a corpus; give a folder made by "
            "`python -m dataset_scripts.build`, or a Hub id of such a dataset"
        )
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
            f"folder {dataset} is no dataset that `datasets` can load ({error!s:.200}); "
            "make one with `python -m dataset_scripts.build CORPUS --source DIR --out DATASET`"
        )
    return (
        f"dataset {dataset} is neither a folder nor reachable on the Hub ({type(error).__name__}); "
        "give a folder made by `python -m dataset_scripts.build`, or a Hub id ORG/NAME"
    )


def _undecoded(dataset: str, name: str, part: Dataset) -> Dataset:
    """Return a corpus with the columns of a Clip and its audio as bytes, if it can be one."""
    here = f"dataset {dataset}, config {name}"
    check_features(here, part.features)
    part = part.select_columns(list(clip_features())).cast_column("audio", Audio(decode=False))
    check_not_null(here, part.data)
    return part


def check_features(here: str, found: Features) -> None:
    """Raise InputError where these are not the columns of a Clip, decoded or not."""
    wanted = clip_features() | {"audio": Audio(decode=False)}
    missing = [column for column in wanted if column not in found]
    if missing:
        raise InputError(
            f"{here}: the columns {', '.join(missing)} are missing; "
            "it was not made by this package, or by an older version of it"
        )
    found = found | {"audio": Audio(decode=False)}
    odd = [column for column in wanted if found[column] != wanted[column]]
    if odd:  # above all other class names: the same integer would mean another emotion
        raise InputError(f"{here}: {', '.join(odd)} have another type or other classes than here")


def check_not_null(here: str, rows: pa.Table) -> None:
    """Raise InputError where what a clip is found and ordered by is null."""
    null = [column for column in NEVER_NULL if rows.column(column).null_count]
    if null:
        raise InputError(f"{here}: {', '.join(null)} may not be null")
