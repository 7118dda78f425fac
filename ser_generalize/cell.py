"""A cell of an experiment: what was asked for, the clips it means, their embeddings and folds."""

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from ser_generalize import __version__, heads
from ser_generalize.adapt import domains, parse_adapt
from ser_generalize.classes import Notes, find_classes
from ser_generalize.dataset import fingerprint, load_clips
from ser_generalize.degradation import NONE
from ser_generalize.embeddings import StoreKey, read_embeddings, read_manifest
from ser_generalize.errors import InputError, listing, one_of
from ser_generalize.labels import (
    ACTED,
    ALTERNATIVES,
    LABEL_SETS,
    LABELS_FROM,
    NATIVE,
    VOTES,
    check_label_set,
)
from ser_generalize.predictions import PLAIN
from ser_generalize.protocols import EACH, PROTOCOLS, Clips, Fold
from ser_generalize.protocols import make_folds as folds_of
from ser_generalize.resampling import BATCHES, SAMPLERS
from ser_generalize.shards import check_same
from ser_generalize.training import CROSS_ENTROPY, FOCAL, LOSSES, Recipe
from ser_generalize.tuning.recipe import NO_TUNING, RECIPES, TUNINGS, TuneRecipe

ALL_LANGUAGES = "all"
DEFAULT_LANGUAGE = "en"
FIXED, EARLY = "fixed", "early"
STOPS = {
    FIXED: "all epochs, on all training speakers",
    EARLY: "validation speakers, kept out of training, choose the epoch and the temperature",
}

LoadClips = Callable[[str, Sequence[str] | None], Dataset]  # as `dataset.load_clips`


@dataclass(frozen=True)
class Cell:
    """What is run: one point of a benchmark grid, on one dataset and one embedding store."""

    dataset: str
    embeddings: Path
    protocol: str = "loso"
    labels: str = "four"
    labels_from: str = ACTED
    alternatives: tuple[str, ...] = ()  # disputed mappings that are decided the other way
    sampler: str = "none"
    head: str = heads.DEFAULT_HEAD
    loss: str = CROSS_ENTROPY
    stop: str = FIXED
    adapt: str = PLAIN
    seeds: int = 1
    train_on: str = EACH
    corpora: tuple[str, ...] = ()  # empty: every corpus of the dataset
    languages: tuple[str, ...] = ()  # "en" holds "en-NZ"; empty: see `chosen_languages`
    test_embeddings: Path | None = None  # of the same clips, degraded: what is tested on
    layers: tuple[int, ...] = ()  # of the store; empty: all that it holds
    pooling: str = heads.BOTH
    tune: str = NO_TUNING
    tune_epochs: int | None = None  # None: those of the recipe

    def check(self) -> None:
        """Raise InputError for a name that means nothing, before any data is read."""
        one_of("protocol", self.protocol, PROTOCOLS)
        check_label_set(self.labels)
        one_of("--labels-from", self.labels_from, LABELS_FROM)
        for name in self.alternatives:
            one_of("--label-map", name, ALTERNATIVES)
        if self.labels == NATIVE:
            self._check_native()
        one_of("sampler", self.sampler, SAMPLERS)
        allowed = PROTOCOLS[self.protocol].train_on
        one_of(f"--train-on for protocol {self.protocol}", self.train_on, allowed)
        one_of("loss", self.loss, LOSSES)
        one_of("--stop", self.stop, STOPS)
        parse_adapt(self.adapt)
        if self.test_embeddings and self.adapt != PLAIN:
            raise InputError(
                f"--test-embeddings is for --adapt {PLAIN}, not {self.adapt}: the unlabelled clips "
                "that adapt are those of --embeddings"
            )
        one_of("--pooling", self.pooling, heads.POOLINGS)
        if self.seeds < 1:
            raise InputError(f"--seeds {self.seeds} is no number of seeds; give 1 or more")
        if heads.parse_head(self.head) is None:
            self._check_logistic()
        one_of("--tune", self.tune, TUNINGS)
        if self.tune != NO_TUNING:
            self._check_tuning()

    def _check_native(self) -> None:
        """Refuse what gives labels another meaning: native ones are taken as they are."""
        if self.labels_from == VOTES:
            raise InputError(
                "--labels-from votes is for --labels four or five: raters chose among emotions, "
                "not among a corpus's native labels"
            )
        if self.alternatives:
            raise InputError(
                f"--label-map {self.alternatives[0]} is for --labels four or five: native labels "
                "are not mapped"
            )

    def _check_tuning(self) -> None:
        """Refuse what the model that is fine-tuned does not compute."""
        asked = {
            f"--adapt {self.adapt}": self.adapt != PLAIN,
            "--test-embeddings": self.test_embeddings is not None,
            "--layers": bool(self.layers),
            f"--pooling {self.pooling}": self.pooling != heads.BOTH,
        }
        for option, given in asked.items():
            if given:
                raise InputError(
                    f"{option} is for heads on a frozen encoder; leave it out, or --tune"
                )
        if self.tune_recipe.epochs < 1:
            raise InputError(
                f"--tune-epochs {self.tune_epochs} is no number of epochs; give 1 or more"
            )

    @property
    def recipe(self) -> Recipe:
        """How the cell's heads are trained."""
        return Recipe(loss=self.loss)

    @property
    def tune_recipe(self) -> TuneRecipe:
        """How the cell's folds are fine-tuned, where they are."""
        recipe = RECIPES[self.tune]
        return recipe if self.tune_epochs is None else replace(recipe, epochs=self.tune_epochs)

    @property
    def epochs(self) -> int:
        """How many times a fold's clips are gone through, at most, in what takes the time."""
        return self.recipe.epochs if self.tune == NO_TUNING else self.tune_recipe.epochs

    def _check_logistic(self) -> None:
        """Refuse what needs a head that is trained batch by batch."""
        asked = {"--tune": self.tune, "--sampler": self.sampler}
        asked |= {"--loss": self.loss, "--stop": self.stop}
        refused = {*RECIPES, *BATCHES, FOCAL, EARLY}
        if parse_adapt(self.adapt).clips is not None:  # epochs simulate what is known
            asked["--adapt"], refused = self.adapt, {*refused, self.adapt}
        for option, value in asked.items():
            if value in refused:
                raise InputError(
                    f"{option} {value} is for heads that are trained in batches; choose another, "
                    f"or --head {heads.DEFAULT_HEAD}"
                )

    @property
    def chosen_languages(self) -> tuple[str, ...]:
        """The languages asked for, empty for all.

        English by default where corpora meet, in a union or across; corpora that are named keep all
        of theirs.
        """
        meeting = self.train_on != EACH or PROTOCOLS[self.protocol].elsewhere
        if self.languages:
            return () if ALL_LANGUAGES in self.languages else self.languages
        return (DEFAULT_LANGUAGE,) if meeting and not self.corpora else ()


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
    skipped = {item["clip_id"] for item in [*manifest["skipped"], *lacking]}
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
    return Data(chosen, classes, numbers, store, spoken + notes, others, whole, degraded)


def _others(cell: Cell, clips: Dataset, known: Set[str]) -> Dataset:
    """Return all clips but those known, in the order of their ids; none where none is asked for."""
    if cell.adapt == PLAIN:
        return clips.select([])
    ids = zip(clips["clip_id"], range(len(clips)), strict=True)
    return clips.select([row for clip_id, row in sorted(ids) if clip_id not in known])


def read_features(cell: Cell, data: Data) -> heads.Features:
    """Return the features of a cell's clips, in the same order, then the others'.

    Where a cell is tested on other embeddings, these of its clips follow, in the same order again.
    Raises InputError where a store lacks a clip, a layer or a statistic, or holds a clip for other
    audio.
    """
    ids, hashes = ([*data.column(name), *data.others[name]] for name in ("clip_id", "sha256"))
    layers, known = cell.layers or None, len(data.clips)
    key, values = read_embeddings(cell.embeddings, ids, hashes, layers)
    if cell.test_embeddings:
        _, tested = read_embeddings(cell.test_embeddings, ids[:known], hashes[:known], layers)
        values = np.concatenate([values, tested])
    return heads.make_features(values, key.statistics, cell.pooling)


def _tested(cell: Cell, store: StoreKey) -> tuple[str, list[dict[str, str]]]:
    """Return how the tested embeddings are degraded, and what they lack; all else is the same."""
    if cell.test_embeddings is None:
        return NONE, []
    tested, manifest = read_manifest(cell.test_embeddings)
    check_same(cell.test_embeddings, tested, replace(store, degradation=tested.degradation))
    return tested.degradation, manifest["skipped"]


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
    names = {field.name for field in fields(Clips)} - {"label"}
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
        "tune": cell.tune,
        "tune_recipe": None if cell.tune == NO_TUNING else asdict(cell.tune_recipe),
    }
