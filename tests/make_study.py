"""Studies for tests: embeddings in which what a part looks for was planted, and its sections."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from make_dataset import Row

from ser_generalize import benchmark
from ser_generalize.benchmark import answer
from ser_generalize.benchmark.sections import Row as Number
from ser_generalize.benchmark.sections import Section
from ser_generalize.embeddings import Embeddings

Folders = tuple[Path, Path]  # a dataset and its store
Plant = Callable[[list[Row], tuple[int, ...]], Embeddings]


def planted(noise: float = 1.0, **strengths: float) -> Plant:
    """Return what makes embeddings of a direction for every value of some columns, and noise.

    `planted(label4=1, speaker=3)`: emotions can be heard, and speakers three times as well. Columns
    joined by two underscores are told apart together, as every speaker's own way of being angry.
    """

    def plant(rows: list[Row], shape: tuple[int, ...]) -> Embeddings:
        generator = np.random.default_rng(0)
        values = noise * generator.normal(size=shape)
        for names, strength in strengths.items():
            keys = [tuple(row[name] for name in names.split("__")) for row in rows]
            directions = {key: generator.normal(size=shape[1:]) for key in dict.fromkeys(keys)}
            values += strength * np.stack([directions[key] for key in keys])
        return values.astype(np.float16)

    return plant


def sections_of(folders: Folders, out: Path, *options: str) -> list[Section]:
    """Run a study, or go on with it, and return its sections; no report is written."""
    found: list[Section] = []
    data, store = folders
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answer, "write_report", lambda _out, _study, made: found.extend(made))
        argv = ["--dataset", str(data), "--embeddings", str(store), "--out", str(out)]
        benchmark.main([*argv, *options])
    return found


def numbers(sections: Sequence[Section], table: str) -> list[Number]:
    """Return the rows of a table, which is there once."""
    (rows,) = [one.rows for section in sections for one in section.tables if one.name == table]
    return list(rows)


def section_of(sections: Sequence[Section], title: str) -> Section:
    """Return the section of a title, which is there once."""
    (found,) = [section for section in sections if section.title == title]
    return found
