"""A part of the study: a question, the cells that it needs, and what it makes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ser_generalize.benchmark.sections import Section
from ser_generalize.cell import DEFAULT_LANGUAGE, Cell
from ser_generalize.predictions import Predictions
from ser_generalize.reader import Reader

BUDGET = 60.0


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
    languages: tuple[str, ...] = (DEFAULT_LANGUAGE,)
    budget: float = BUDGET  # minutes that all training sets of corpora together may take
    notes: tuple[str, ...] = ()  # what was left out of the study, and why
    reader: Reader = field(default_factory=Reader, compare=False, repr=False)  # all parts

    @property
    def store(self) -> Path:
        """The first store."""
        return self.embeddings[0]

    def cell(self, **changes: Any) -> Cell:
        """Return a cell of the first store under the study's head, seeds, corpora and languages."""
        cell = Cell(self.dataset, self.store, seeds=self.seeds, head=self.head)
        return self.explicit(replace(cell, **changes))

    def explicit(self, cell: Cell) -> Cell:
        """Return a cell that says for itself which corpora and languages it is of."""
        return replace(
            cell,
            corpora=cell.corpora or self.corpora,
            languages=cell.languages or self.languages,
        )


Runs = Mapping[Cell, Predictions]  # finished cells only, as the parts ask for them


def nothing_to_measure(study: Study, folder: Path) -> None:
    """Most parts only read the predictions of cells."""


@dataclass(frozen=True)
class Part:
    """One question of the study.

    `cells` says which cells it needs (parts may share cells: a cell is run once). `measure` does
    what is no cell, resumably, into Parquet files in its own folder. `sections` makes the report's
    sections of the cells that are finished and of that folder, and says what is missing.
    Of the processes of a launch the first one measures, or all of them do, `together`.
    """

    name: str
    question: str
    cells: Callable[[Study], list[Cell]]
    sections: Callable[[Study, Runs, Path], Sequence[Section]]
    measure: Callable[[Study, Path], None] = nothing_to_measure
    together: bool = False
