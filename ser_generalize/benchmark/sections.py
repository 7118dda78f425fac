"""What the parts of a study hand to its report: numbers in one form, and what they say.

A number is a `Row`, whatever part it comes from, so that tables, figures, the Parquet file and the
Space read all of them alike. Sections say which rows belong together and how they are looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

SCORE, DIFFERENCE = "score", "difference"
POOLED = "pooled"  # all clips of all corpora together, beside the macro-average over corpora

Kind = Literal["intervals", "curve", "matrix", "ranks", "scatter"]


@dataclass(frozen=True)
class Row:
    """One number with all that its reader must know; empty or None: does not apply.

    Scores are shares in [0, 1], differences in [-1, 1]; `low` and `high` are the ends of the 95 %
    interval over speakers, None where there is none, and `note` says why.
    """

    part: str
    table: str
    value: float
    corpus: str  # tested: a name, `statistics.MACRO_AVERAGE` or POOLED
    trained_on: str = ""
    protocol: str = ""
    leaks: str = ""  # what the protocol does not promise, joined by commas
    label_set: str = ""
    encoder: str = ""
    window: str = ""
    sampler: str = ""
    head: str = ""
    adapt: str = ""
    setting: str = ""  # what this row varies beside the columns, e.g. "clips=5", "noise:10"
    metric: str = "uar"
    kind: str = SCORE
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    clips: int = 0
    speakers: int = 0
    p: float | None = None
    p_adjusted: float | None = None  # Holm, over the table's family of comparisons
    note: str = ""
    run: str = ""
    compared_with: str = ""


ROW_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("part", "table", "corpus", "trained_on", "protocol")]
    + [(name, pa.string()) for name in ("leaks", "label_set", "encoder", "window", "sampler")]
    + [(name, pa.string()) for name in ("head", "adapt", "setting", "metric", "kind")]
    + [(name, pa.float64()) for name in ("value", "low", "high", "chance")]
    + [(name, pa.int64()) for name in ("clips", "speakers")]
    + [(name, pa.float64()) for name in ("p", "p_adjusted")]
    + [(name, pa.string()) for name in ("note", "run", "compared_with")]
)


@dataclass(frozen=True)
class Table:
    """Rows that are read side by side: a line per row, or a matrix of `rows_by` x `columns_by`.

    `shown` names the Row fields that differ within the table, in reading order; what is the same in
    all rows (protocol, label set, encoder) is said once, above it.
    """

    name: str
    title: str
    caption: str
    rows: Sequence[Row]
    shown: tuple[str, ...] = ("corpus",)
    rows_by: str = ""
    columns_by: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture of rows: which of their fields is told by place, and which by colour.

    `intervals`: a dot and its interval per row, grouped by `x`; `curve`: value over the number in
    `setting`; `matrix`: `x` by `series`; `ranks`: mean ranks on one axis and the critical
    difference `limit` (Demsar 2006); `scatter`: value over `x`, a number in `setting`.
    """

    name: str
    kind: Kind
    title: str
    caption: str
    rows: Sequence[Row]
    x: str = "corpus"
    series: str = "sampler"
    limit: float | None = None


@dataclass(frozen=True)
class Section:
    """The answer of one part: its question, what the numbers support, tables and figures.

    A finding is a sentence made from the numbers, with its interval and n, strongest first.
    """

    part: str
    title: str
    question: str
    findings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = field(default=())  # what is missing, what a test cannot decide
