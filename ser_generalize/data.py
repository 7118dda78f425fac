"""The clips that a cell means: their classes, embeddings and folds."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from ser_generalize import __version__, heads
from ser_generalize.adapt import domains
from ser_generalize.cell import ALL_LANGUAGES, Cell
from ser_generalize.classes import Notes, find_classes
from ser_generalize.dataset import fingerprint, load_clips
from ser_generalize.degradation import NONE
from ser_generalize.embeddings import StoreKey, read_embeddings, read_manifest
from ser_generalize.errors import InputError, listing
from ser_generalize.labels import LABEL_SETS, NATIVE
from ser_generalize.predictions import PLAIN
from ser_generalize.protocols import Clips, Fold
from ser_generalize.protocols import make_folds as folds_of
from ser_generalize.shards import check_same
from ser_generalize.tuning.recipe import NO_TUNING

Skipped = list[dict[str, str]]  # clip id and reason, as manifests list them
LoadClips = Callable[[str, Sequence[str] | None], Dataset]  # as `dataset.load_clips`


@dataclass(frozen=True)
class Data:
    """The clips inside the label set and their classes, in the order of their clip ids.

    `others` are the clips outside of it that adaptation may know of: without their labels.

    The order is part of the result, since batches are drawn by position: sorted, it depends neither
    on the order of the dataset's rows nor on that of `--corpora`.
    """

    clips: Dataset
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    store: StoreKey
    notes: Notes
    others: Dataset
    whole: Dataset  # all clips of the corpora, whatever their label and language
    degraded: str = NONE  # how, what is tested on
    augmented: Mapping[str, Path] = field(default_factory=dict)  # copies trained on, by degradation

    @cached_property
    def corpora(self) -> dict[str, str]:
        """The identity of every corpus as the dataset has it."""
        names = np.array(self.whole["corpus"])
        return {
            str(name): fingerprint(self.whole.select(np.flatnonzero(names == name).tolist()))
            for name in np.unique(names)
        }

    @cached_property
    def fingerprint(self) -> str:
        """The identity of these clips, see `dataset.fingerprint`; it reads all of them."""
        return fingerprint(self.clips)

    @cached_property
    def unlabelled(self) -> str:
        """The identity of the other clips."""
        return fingerprint(self.others)

    @property
    def rows(self) -> int:
        """How many clips there are, the others included."""
        return len(self.clips) + len(self.others)

    def column(self, name: str) -> NDArray[np.object_]:
        """Return a column of the clips, null as None; it is read once, and not to be changed."""
        if name not in self._columns:
            self._columns[name] = np.array(self.clips[name], dtype=object)
            self._columns[name].setflags(write=False)
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, NDArray[np.object_]]:
        return {}

    def domains(self, by: str) -> NDArray[np.object_]:
        """Return whose statistics count for every clip and then every other one, see `adapt`."""
        corpora, speakers = (
            np.array([*self.column(name), *self.others[name]], dtype=object)
            for name in ("corpus", "speaker")
        )
        return domains(by, corpora, speakers)


def read_data(cell: Cell, load: LoadClips = load_clips) -> Data:
    """Load the clips of a cell that are inside its label set and that the store says it embedded.

    Raises InputError for a dataset or store that cannot be read, and where no clip is left.
    """
    whole = load(cell.dataset, cell.corpora or None).remove_columns("audio")
    clips, spoken = _in_languages(cell, whole)
    classes, labels, notes = find_classes(
        clips, cell.dataset, cell.labels, cell.labels_from, cell.alternatives
    )
    store, manifest = read_manifest(cell.embeddings)
    degraded, lacking = _tested(cell, store)
    augmented, lacked = _augmented(cell, store)
    skipped = {item["clip_id"] for item in [*manifest["skipped"], *lacking, *lacked]}
    named = zip(clips["clip_id"], labels, range(len(labels)), strict=True)
    inside = sorted((clip_id, row, label) for clip_id, label, row in named if label is not None)
    kept = [(row, label) for clip_id, row, label in inside if clip_id not in skipped]
    if not kept:
        raise InputError(
            f"no clip of {cell.dataset} is in the label set {cell.labels}; choose another of "
            f"{', '.join([*LABEL_SETS, NATIVE])}"
        )
    if lost := len(inside) - len(kept):
        notes += (f"{lost} clips have no embedding and were left out",)
    chosen = clips.select([row for row, _ in kept])
    if absent := sorted(set(clips["corpus"]) - set(chosen["corpus"])):
        notes += (f"no clip in the label set {cell.labels}: {', '.join(absent)}",)
    numbers = np.array([classes.index(label) for _, label in kept])
    labelled = {clip_id for clip_id, *_ in inside}
    others = _others(cell, clips, labelled | skipped)
    notes = spoken + notes
    return Data(chosen, classes, numbers, store, notes, others, whole, degraded, augmented)


def _others(cell: Cell, clips: Dataset, known: Set[str]) -> Dataset:
    """Return all clips but those known, in the order of their ids; none where none is asked for."""
    if cell.adapt == PLAIN:
        return clips.select([])
    ids = zip(clips["clip_id"], range(len(clips)), strict=True)
    return clips.select([row for clip_id, row in sorted(ids) if clip_id not in known])


def read_features(cell: Cell, data: Data) -> heads.Features:
    """Return the features of a cell's clips, in the same order, then the others'.

    All of them again follow for every copy that is trained on, and last, where a cell is tested on
    other embeddings, these of its clips. Raises InputError where a store lacks a clip, a layer or a
    statistic, or holds a clip for other audio.
    """
    ids, hashes = ([*data.column(name), *data.others[name]] for name in ("clip_id", "sha256"))
    layers, known = cell.layers or None, len(data.clips)
    key, values = read_embeddings(cell.embeddings, ids, hashes, layers)
    copies = [(store, data.rows) for store in data.augmented.values()]
    copies += [(cell.test_embeddings, known)] if cell.test_embeddings else []
    if copies:
        read = (read_embeddings(one, ids[:rows], hashes[:rows], layers)[1] for one, rows in copies)
        values = np.concatenate([values, *read])
    return heads.make_features(values, key.statistics, cell.pooling)


def _tested(cell: Cell, key: StoreKey) -> tuple[str, Skipped]:
    """Return how the tested embeddings are degraded, and what they lack."""
    return (NONE, []) if cell.test_embeddings is None else _copy(cell.test_embeddings, key)


def _augmented(cell: Cell, key: StoreKey) -> tuple[dict[str, Path], Skipped]:
    """Return the stores of the copies that are trained on by degradation, and what they lack."""
    found: dict[str, Path] = {}
    lacking: Skipped = []
    for store in cell.augment:
        degradation, skipped = _copy(store, key)
        if degradation in (key.degradation, *found):
            held = found.get(degradation, cell.embeddings)
            raise InputError(
                f"--augment {store} holds the same recordings as {held} (degradation "
                f"{degradation}); give stores that differ in `embed --degrade`"
            )
        found[degradation] = store
        lacking += skipped
    return dict(sorted(found.items())), lacking  # batches are drawn by position


def _copy(store: Path, key: StoreKey) -> tuple[str, Skipped]:
    """Return how the clips of a store are degraded, and what it lacks; all else is the same."""
    found, manifest = read_manifest(store)
    check_same(store, found, replace(key, degradation=found.degradation))
    return found.degradation, manifest["skipped"]


def _in_languages(cell: Cell, clips: Dataset) -> tuple[Dataset, Notes]:
    """Return the clips in the languages of a cell, and a note about the others."""
    wanted, tags = set(cell.chosen_languages), clips["language"]
    spoken = [{str(tag), str(tag).partition("-")[0]} & wanted for tag in tags]
    if strangers := wanted.difference(*spoken):
        raise InputError(
            f"no clip of {cell.dataset} is in {listing(sorted(strangers))}; choose --languages "
            f"from: {', '.join(sorted({str(tag) for tag in tags}))}, or {ALL_LANGUAGES}"
        )
    others = Counter(str(tag) for tag, here in zip(tags, spoken, strict=True) if not here)
    if not wanted or not others:
        return clips, ()
    kept = clips.select([row for row, here in enumerate(spoken) if here])
    counts = ", ".join(f"{count} {tag}" for tag, count in sorted(others.items()))
    gone = sorted(set(clips["corpus"]) - set(kept["corpus"]))
    whole = f", all of {', '.join(gone)} among them" if gone else ""
    note = f"languages are {', '.join(sorted(wanted))}: clips of others left out ({counts}){whole}"
    return kept, (note,)


def make_folds(cell: Cell, data: Data) -> list[Fold]:
    """Return the folds of a cell's protocol, each proved free of leaks and with classes to tell."""
    names = {one.name for one in fields(Clips)} - {"label"}
    columns = {name: data.column(name).tolist() for name in names}
    labels = [data.classes[label] for label in data.labels]
    folds = folds_of(cell.protocol, Clips.of({**columns, "label": labels}), cell.train_on)
    for fold in folds:
        _check_classes(cell, data, fold)
    return folds


def _check_classes(cell: Cell, data: Data, fold: Fold) -> None:
    """Refuse a fold whose clips, trained on and tested, are all of one class: UAR would be 1."""
    rows = np.concatenate([fold.train, fold.test])
    found = np.unique(data.labels[rows])
    if len(found) < 2:
        corpora = sorted(set(data.column("corpus")[rows]))
        raise InputError(
            f"corpus {listing(corpora)} has clips of one class only "
            f"({data.classes[found[0]]}) in the label set {cell.labels}: nothing to tell apart; "
            "choose another label set, or leave it out with --corpora"
        )


def describe(cell: Cell, data: Data) -> dict[str, Any]:
    """Return what makes this cell this cell: equal descriptions give equal predictions."""
    return {
        "version": __version__,
        "dataset": data.fingerprint,
        "corpora": sorted(set(data.column("corpus"))),
        "encoder": data.store.encoder,
        "encoder_revision": data.store.revision,
        "window": data.store.window,
        "layers": list(cell.layers),
        "pooling": cell.pooling,
        "protocol": cell.protocol,
        "labels": cell.labels,
        "labels_from": cell.labels_from,
        "alternatives": sorted(cell.alternatives),
        "classes": list(data.classes),
        "train_on": cell.train_on,
        "languages": list(cell.chosen_languages),
        "sampler": cell.sampler,
        "head": cell.head,
        "loss": cell.loss,
        "stop": cell.stop,
        "adapt": cell.adapt,
        "unlabelled": data.unlabelled,
        "seeds": cell.seeds,
        "recipe": asdict(cell.recipe),
        "degraded": data.degraded,
        "augmented": list(data.augmented),
        "tune": cell.tune,
        "tune_recipe": None if cell.tune == NO_TUNING else asdict(cell.tune_recipe),
    }
