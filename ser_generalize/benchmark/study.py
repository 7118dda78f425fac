"""What is asked: a dataset, its stores and corpora, checked before anything is run."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ser_generalize import __version__
from ser_generalize.benchmark.part import BUDGET, Study
from ser_generalize.cell import ALL_LANGUAGES, DEFAULT_LANGUAGE, Cell
from ser_generalize.data import Data
from ser_generalize.dataset import fingerprint
from ser_generalize.embeddings import find_store, read_manifest
from ser_generalize.errors import InputError, listing
from ser_generalize.files import write_text, writing
from ser_generalize.heads import DEFAULT_HEAD
from ser_generalize.reader import Reader

STUDY = "study.json"
FEWEST_SPEAKERS = 2  # with one, nobody is left to train on


@dataclass(frozen=True)
class Asked:
    """The command line of a study."""

    dataset: str
    embeddings: Sequence[str]
    corpora: Sequence[str] = ()
    languages: Sequence[str] = ()
    head: str = DEFAULT_HEAD
    seeds: int = 1
    budget: float = BUDGET


def open_study(asked: Asked) -> Study:
    """Return the study of what was asked, without the corpora that can take no part in it.

    A corpus takes part that has two known speakers and two classes in the label set `four`. Raises
    InputError for a name or number that means nothing, a dataset or store that cannot be read, and
    where no corpus is left.
    """
    cell, reader = _first_cell(asked), Reader()
    if not (math.isfinite(asked.budget) and asked.budget >= 0):
        raise InputError(f"--budget {asked.budget} is no number of minutes; give 0 or more")
    stores = tuple(find_store(name) for name in asked.embeddings)
    repeated = {str(one) for one in stores if stores.count(one) > 1}
    if repeated:
        raise InputError(f"--embeddings {listing(sorted(repeated))} is given more than once")
    for store in stores:
        read_manifest(store)
    clips = reader.clips(asked.dataset, asked.corpora or None)
    everything = tuple(sorted(set(clips["corpus"])))
    cell = replace(cell, embeddings=stores[0], corpora=everything)
    data = reader.data(cell)
    reasons = {name: _why_not(data, name) for name in everything}
    corpora = tuple(name for name in everything if not reasons[name])
    notes = tuple(f"corpus {name} takes no part: {why}" for name, why in reasons.items() if why)
    if not corpora:
        raise InputError(f"dataset {asked.dataset} leaves nothing to study: {listing(notes, 3)}")
    return Study(
        dataset=asked.dataset,
        embeddings=stores,
        corpora=corpora,
        seeds=asked.seeds,
        head=asked.head,
        languages=cell.languages,
        budget=asked.budget,
        notes=(*data.notes, *notes),
        reader=reader,
    )


def _first_cell(asked: Asked) -> Cell:
    languages = tuple(asked.languages) or ((ALL_LANGUAGES,) if asked.corpora else ())
    cell = Cell(
        asked.dataset,
        Path(asked.embeddings[0]),
        head=asked.head,
        seeds=asked.seeds,
        languages=languages or (DEFAULT_LANGUAGE,),
    )
    cell.check()
    return cell


def _why_not(data: Data, corpus: str) -> str:
    """Return why a corpus can take no part, "" where it can."""
    here = data.column("corpus") == corpus
    if not here.any():
        return "no clip of it is in the label set four and in the languages of the study"
    speakers = set(data.column("speaker")[here]) - {None}
    if not speakers:
        return "it names no speakers, and every interval and every fold here is over speakers"
    if len(speakers) < FEWEST_SPEAKERS:
        return "it has a single speaker, and nobody is left to train on when that one is tested"
    classes = {data.classes[label] for label in data.labels[here]}
    if len(classes) < 2:
        return f"it has clips of one class only ({listing(classes)}) in the label set four"
    return ""


def describe_study(study: Study, parts: Sequence[str]) -> dict[str, Any]:
    """Return what was asked in full: equal descriptions give equal reports."""
    stores = [read_manifest(store)[0] for store in study.embeddings]
    return {
        "version": __version__,
        "dataset": study.dataset,
        "fingerprint": fingerprint(study.reader.clips(study.dataset, study.corpora)),
        "corpora": list(study.corpora),
        "languages": list(study.languages),
        "embeddings": [str(store) for store in study.embeddings],
        "encoders": [f"{one.encoder} {one.revision} {one.window}" for one in stores],
        "head": study.head,
        "seeds": study.seeds,
        "budget": study.budget,
        "parts": list(parts),
    }


def check_out(out: Path, description: dict[str, Any]) -> bool:
    """Return whether `out` holds this very study, finished; writes nothing.

    Raises InputError where it holds something else, or a study of other data.
    """
    file = out / STUDY
    if not file.is_file():
        if out.exists() and (not out.is_dir() or any(out.glob("[!.]*"))):
            raise InputError(f"--out {out} exists and is no study; give a new folder")
        return False
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        there, finished = found["study"], found["finished"]
        print_of = there["fingerprint"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file} describes no study; give a new folder") from None
    if print_of != description["fingerprint"]:
        raise InputError(
            f"--out {out} holds a study of other data (fingerprint {print_of:.12}, not "
            f"{description['fingerprint']:.12}); give a new folder"
        )
    return finished is True and there == description


def write_study(out: Path, description: dict[str, Any], finished: bool) -> None:
    """Say in `out` what was asked, and whether all of it has been answered."""
    text = json.dumps({"study": description, "finished": finished}, indent=2)
    with writing(f"--out {out} cannot be written"):
        write_text(out / STUDY, text + "\n")
