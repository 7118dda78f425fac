"""What a protocol sees of the clips: who speaks what in which corpus, as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ser_generalize.errors import InputError

Rows = NDArray[np.int64]  # positions of clips
Mask = NDArray[np.bool_]  # a truth value per clip


class IndivisibleError(InputError):
    """The clips are such that a protocol has no folds over them."""


@dataclass(frozen=True)
class Column:
    """A column of the clips as numbers: folds of 45,000 clips compare no strings."""

    names: tuple[str, ...]  # the distinct values, sorted
    codes: NDArray[np.int64]  # of every clip the position of its value in `names`, -1: unknown

    @classmethod
    def of(cls, values: Sequence[str | None]) -> "Column":
        """Return the column of some values, None where unknown."""
        names = sorted({value for value in values if value is not None})
        positions: dict[str | None, int] = {name: code for code, name in enumerate(names)}
        codes = [positions.get(value, -1) for value in values]
        return cls(tuple(names), np.array(codes, dtype=np.int64))

    @property
    def known(self) -> Mask:
        """Which clips have a value."""
        return self.codes >= 0

    def present(self, rows: Rows) -> Mask:
        """Return which of `names` occur in some rows, and False for unknown, shape [names + 1]."""
        found = np.zeros(len(self.names) + 1, dtype=bool)
        found[self.codes[rows]] = True
        found[-1] = False  # where -1 points
        return found

    def like(self, rows: Rows) -> Mask:
        """Return which clips share a known value with any of some rows."""
        return self.present(rows)[self.codes]


@dataclass(frozen=True)
class Clips:
    """The columns of a Clip that protocols look at; `label` is the class of the label set."""

    clip_id: Column
    corpus: Column
    speaker: Column
    sha256: Column
    session: Column
    text_id: Column
    official_split: Column
    label: Column

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[str | None]]) -> "Clips":
        """Return the clips of some columns, named and of the length of one another."""
        return cls(**{field.name: Column.of(columns[field.name]) for field in fields(cls)})

    def __len__(self) -> int:
        return len(self.clip_id.codes)
