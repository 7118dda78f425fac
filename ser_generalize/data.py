"""The clips that a cell means: their classes, embeddings and folds."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, fields, replace
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
from ser_generalize.linear import SETTINGS
from ser_generalize.predictions import PLAIN
from ser_generalize.protocols import Clips, Fold
from ser_generalize.protocols import make_folds as folds_of
from ser_generalize.shards import check_same
from ser_generalize.tuning.recipe import NO_TUNING

Manifest = dict[str, Any]  # of an embedding store
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
    degraded: str  # how, what is tested on
    augmented: Mapping[str, Path]  # the stores of the copies trained on, by degradation
    tested: Path | None  # the store that is tested on, if that is another

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
    def total(self) -> int:
        """How many clips there are, the others included."""
        return len(self.clips) + len(self.others)

    @property
    def copies(self) -> tuple[int, ...]:
        """How many rows after every clip its degraded copies lie, see `read_features`."""
        return tuple(self.total * copy for copy in range(1, len(self.augmented) + 1))

    @property
    def tested_from(self) -> int:
        """How many rows after every clip lies what it is tested on: 0 where that is itself."""
        return self.total * (1 + len(self.augmented)) if self.tested else 0

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

    def domains_and_copies(self, by: str) -> NDArray[np.object_]:
        """Return the same for every row of the features: a copy of a domain is one of its own.

        A voice on the telephone is another voice.
        """
        own = self.domains(by)
        return np.concatenate([own, *(own + f" {how}" for how in self.augmented)])


def read_data(cell: Cell, load: LoadClips = load_clips) -> Data:
    """Load the clips of a cell that are inside its label set and that the store says it embedded.

    Raises InputError for a dataset or store that cannot be read, and where no clip is left.
    """
    whole = load(cell.dataset, cell.corpora or None).remove_columns("audio")
    clips, spoken = _in_languages(cell, whole)
    classes, labels, notes = find_classes(
        clips, cell.dataset, cell.labels, cell.labels_from, cell.alternatives
    )
    store, degraded, augmented, skipped = _read_stores(cell)
    named = zip(clips["clip_id"], labels, range(len(labels)), strict=True)
    inside = sorted((clip_id, row, label) for clip_id, label, row in named if label is not None)
    kept = [(row, label) for clip_id, row, label in inside if clip_id not in skipped]
    if not inside:
        raise InputError(
            f"no clip of {cell.dataset} is in the label set {cell.labels}; choose another of "
            f"{', '.join([*LABEL_SETS, NATIVE])}"
        )
    if not kept:
        raise InputError(
            f"no clip in the label set {cell.labels} has an embedding in every store given: their "
            "manifest.json says what was skipped and why"
        )
    if lost := len(inside) - len(kept):
        where = " in every store given" if augmented or cell.test_embeddings else ""
        notes += (f"{lost} clips have no embedding{where} and were left out",)
    chosen = clips.select([row for row, _ in kept])
    if absent := sorted(set(clips["corpus"]) - set(chosen["corpus"])):
        notes += (f"no clip in the label set {cell.labels}: {', '.join(absent)}",)
    numbers = np.array([classes.index(label) for _, label in kept])
    labelled = {clip_id for clip_id, *_ in inside}
    others = _others(cell, clips, labelled | skipped)
    return Data(
        clips=chosen,
        classes=classes,
        labels=numbers,
        store=store,
        notes=spoken + notes,
        others=others,
        whole=whole,
        degraded=degraded,
        augmented=augmented,
        tested=cell.test_embeddings,
    )


def _others(cell: Cell, clips: Dataset, known: Set[str]) -> Dataset:
    """Return all clips but those known, in the order of their ids; none where none is asked for."""
    if cell.adapt == PLAIN:
        return clips.select([])
    ids = zip(clips["clip_id"], range(len(clips)), strict=True)
    return clips.select([row for clip_id, row in sorted(ids) if clip_id not in known])


def read_features(cell: Cell, data: Data) -> heads.Features:
    """Return the features of a cell's clips, in the same order, then the others'.

    All of them again follow for every degraded copy that is trained on, and last, where a cell is
    tested on other embeddings, these of its clips. Raises InputError where a store lacks a clip, a
    layer or a statistic, or holds a clip for other audio.
    """
    ids, hashes = ([*data.column(name), *data.others[name]] for name in ("clip_id", "sha256"))

    def read(store: Path, clips: int) -> heads.Features:
        layers = cell.layers or None
        key, values = read_embeddings(store, ids[:clips], hashes[:clips], layers)
        return heads.make_features(values, key.statistics, cell.pooling)

    own = read(cell.embeddings, data.total)
    parts = [(store, data.total) for store in data.augmented.values()]
    parts += [(data.tested, len(data.clips))] if data.tested else []
    if not parts:
        return own
    rows = data.total + sum(clips for _, clips in parts)
    features = np.empty((rows, *own.shape[1:]), own.dtype)  # one copy at a time beside it
    features[: data.total] = own
    del own
    start = data.total
    for store, clips in parts:
        features[start : start + clips] = read(store, clips)
        start += clips
    return features


def _read_stores(cell: Cell) -> tuple[StoreKey, str, dict[str, Path], set[str]]:
    """Return what a cell's store holds, and what of the degraded ones beside it.

    That is how what is tested on is degraded, the copies to train on by how they are, and the clips
    that any of the stores skipped.
    """
    key, manifest = read_manifest(cell.embeddings)
    degraded, skipped = key.degradation, _skipped(manifest)
    augmented: dict[str, Path] = {}
    for store in cell.augment:
        copy, manifest = _read_copy(store, key)
        if copy == NONE:
            raise InputError(
                f"--augment {store} holds recordings as they are; give degraded copies of them, "
                "made with `embed --degrade`"
            )
        if copy in (key.degradation, *augmented):
            raise InputError(
                f"--augment {store} is degraded as {augmented.get(copy, cell.embeddings)} is "
                f"({copy}); give copies that differ"
            )
        augmented[copy] = store
        skipped |= _skipped(manifest)
    if cell.test_embeddings:
        degraded, manifest = _read_copy(cell.test_embeddings, key)
        skipped |= _skipped(manifest)
    return key, degraded, dict(sorted(augmented.items())), skipped  # batches are drawn by position


def _read_copy(store: Path, key: StoreKey) -> tuple[str, Manifest]:
    """Return how a store is degraded, all else being the same, and its manifest."""
    found, manifest = read_manifest(store)
    check_same(store, found, replace(key, degradation=found.degradation))
    return found.degradation, manifest


def _skipped(manifest: Manifest) -> set[str]:
    return {item["clip_id"] for item in manifest["skipped"]}


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
        "margin": data.store.margin,
        "dtype": data.store.dtype,
        "store_layers": list(data.store.layers),
        "degradation": data.store.degradation,
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
        "recipe": SETTINGS.get(cell.head) or asdict(cell.recipe),
        "degraded": data.degraded,
        "augmented": list(data.augmented),
        "tune": cell.tune,
        "tune_recipe": None if cell.tune == NO_TUNING else asdict(cell.tune_recipe),
    }
