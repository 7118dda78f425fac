"""A part of the study: a question, the cells that it needs, and what it makes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_generalize.benchmark.sections import Section
from ser_generalize.cell import Cell
from ser_generalize.predictions import Predictions


@dataclass(frozen=True)
class Study:
    """What is studied: a dataset, its embedding stores, and the effort.

    The first store is the one that questions not about features are asked of.
    """

    dataset: str
    embeddings: tuple[Path, ...]
    corpora: tuple[str, ...]  # in the label set `four`, sorted
    seeds: int
    head: str

    @property
    def store(self) -> Path:
        """The first store."""
        return self.embeddings[0]


Runs = Mapping[Cell, Predictions]  # finished cells only


def nothing_to_measure(study: Study, folder: Path) -> None:
    """Most parts only read the predictions of cells."""


@dataclass(frozen=True)
class Part:
    """One question of the study.

    `cells` says which cells it needs (parts may share cells: a cell is run once). `measure` does
    what is no cell, resumably, into Parquet files in its own folder. `sections` makes the report's
    sections of the cells that are finished and of that folder, and says what is missing.
    """

    name: str
    question: str
    cells: Callable[[Study], list[Cell]]
    sections: Callable[[Study, Runs, Path], Sequence[Section]]
    measure: Callable[[Study, Path], None] = nothing_to_measure
