"""How a table of numbers reads: what is said once above it, its columns, and how a number looks.

No number may stand without what it was measured under, so a field that differs within a table and
that its part did not ask to show becomes a column all the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ser_generalize.benchmark.sections import DIFFERENCE, Row, Table
from ser_generalize.summary import percent, points

FIELDS = {  # the heading of a field, in reading order
    "corpus": "Tested on",
    "trained_on": "Trained on",
    "setting": "Setting",
    "sampler": "Sampling",
    "adapt": "Adaptation",
    "encoder": "Encoder",
    "window": "Window",
    "head": "Head",
    "label_set": "Label set",
    "protocol": "Protocol",
    "compared_with": "Compared with",
}
SAID = (
    *("protocol", "adapt", "label_set", "trained_on", "sampler"),
    *("encoder", "window", "head", "setting", "compared_with"),
)
METRIC_NAMES = {"uar": "UAR", "macro_f1": "Macro-F1", "accuracy": "Accuracy", "shapley": "Shapley"}
NO_SHARES = {"mean rank", "rank-biserial correlation", "standardised difference"}
WIDEST = 9.0  # than any interval: none is sorted last
NONE = "–"  # where nothing is to be said
INTERVAL = "95 % interval"


@dataclass(frozen=True)
class Cell:
    """What a table shows in one place, and what it is sorted by."""

    text: str
    key: str | float


@dataclass(frozen=True)
class Column:
    """A column: its heading, and what it says of a row."""

    heading: str
    cell: Callable[[Row], Cell]
    numeric: bool = False


def is_share(row: Row) -> bool:
    """Return whether a number is a share of one; what has a unit names it, as "memory (MB)"."""
    return "(" not in row.metric and row.metric not in NO_SHARES


def number(row: Row, value: float) -> str:
    """Format a number of a row: percent, points of a hundred with their sign, or as it is."""
    if not is_share(row):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return points(value) if row.kind == DIFFERENCE else percent(value)


def interval(row: Row) -> str:
    """Format the 95 % interval of a row."""
    if row.low is None or row.high is None:
        return "none"
    return f"{number(row, row.low)} to {number(row, row.high)}"


def probability(value: float | None) -> str:
    """Format a p-value to two digits that count; small ones as a bound."""
    if value is None:
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def metric(row: Row) -> str:
    """Return a metric's name, with the unit of its numbers."""
    spelt = row.metric[:1].upper() + row.metric[1:].replace("_", " ")
    name = METRIC_NAMES.get(row.metric, spelt)
    if not is_share(row):
        return name
    return f"{name}, points" if row.kind == DIFFERENCE else f"{name}, %"


def field_text(row: Row, name: str) -> str:
    """Return what a field of a row says to a reader; a protocol names what it leaks."""
    value = str(getattr(row, name))
    if name == "protocol" and row.leaks:
        return f"{value} (leaks {', '.join(leaks(row))})"
    return value or NONE


def leaks(row: Row) -> list[str]:
    """Return what a row's protocol does not promise."""
    return [name.strip() for name in row.leaks.split(",") if name.strip()]


def varying(rows: Sequence[Row], name: str) -> bool:
    """Return whether a field differs among rows."""
    return len({field_text(row, name) for row in rows}) > 1


def said_once(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return what is the same for all rows, as pairs of heading and value."""
    found = [(FIELDS[n], field_text(rows[0], n)) for n in SAID if rows and not varying(rows, n)]
    if rows and rows[0].chance is not None and not _differs(rows, "chance"):
        unit = " %" if is_share(rows[0]) else ""
        found.append(("Chance", number(rows[0], rows[0].chance) + unit))
    return [(heading, value) for heading, value in found if value != NONE]


def fields_shown(table: Table) -> list[str]:
    """Return the fields that have a column: those asked for, and every other that differs."""
    asked = [name for name in table.shown if name in FIELDS]
    return asked + [n for n in FIELDS if n not in asked and varying(table.rows, n)]


def columns(table: Table) -> list[Column]:
    """Return the columns of a table that has a line per row."""
    rows = table.rows
    found = [_field_column(name) for name in fields_shown(table)]
    if len({metric(row) for row in rows}) > 1:
        found.append(Column("Metric", lambda row: Cell(metric(row), metric(row))))
        heading = "Value"
    else:
        heading = metric(rows[0]) if rows else "Value"
    found.append(Column(heading, lambda row: Cell(number(row, row.value), row.value), True))
    if any(row.low is not None for row in rows) or all(map(is_share, rows)):
        found.append(Column(INTERVAL, lambda row: Cell(interval(row), _width(row)), True))
    found += [column for name, column in OPTIONAL if any(getattr(row, name) for row in rows)]
    return found + ([CHANCE] if _differs(rows, "chance") else [])


def _differs(rows: Sequence[Row], name: str) -> bool:
    return len({getattr(row, name) for row in rows}) > 1


def _field_column(name: str) -> Column:
    return Column(FIELDS[name], lambda row: Cell(field_text(row, name), _natural(row, name)))


def _natural(row: Row, name: str) -> str | float:
    """Sort a setting by its number, so that 5 comes before 10."""
    found = setting_number(row.setting) if name == "setting" else None
    return field_text(row, name).lower() if found is None else found


def setting_number(setting: str) -> float | None:
    """Return the number that a setting gives, "clips=5" or "noise:10"; None where it gives none."""
    try:
        return float(setting.replace(":", "=").rpartition("=")[2])
    except ValueError:
        return None


def setting_name(setting: str) -> str:
    """Return what a setting sets: "clips" of "clips=5"."""
    return setting.replace(":", "=").partition("=")[0]


def _width(row: Row) -> float:
    return WIDEST if row.low is None or row.high is None else row.high - row.low


def _chance(row: Row) -> Cell:
    return Cell(NONE, -1.0) if row.chance is None else Cell(number(row, row.chance), row.chance)


def _p_column(name: str, heading: str) -> Column:
    def cell(row: Row) -> Cell:
        value = getattr(row, name)
        return Cell(probability(value), 2.0 if value is None else value)

    return Column(heading, cell, True)


def _count_column(name: str, heading: str) -> Column:
    def cell(row: Row) -> Cell:
        value = getattr(row, name)
        return Cell(f"{value:,}" if value else NONE, value)

    return Column(heading, cell, True)


CHANCE = Column("Chance", _chance, True)
OPTIONAL = (  # shown where any row has them
    ("p", _p_column("p", "p")),
    ("p_adjusted", _p_column("p_adjusted", "p, Holm")),
    ("clips", _count_column("clips", "Clips")),
    ("speakers", _count_column("speakers", "Speakers")),
)


def notes(rows: Sequence[Row]) -> list[str]:
    """Return a line per distinct note, with the rows that it is about where not all are."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.note:
            found.setdefault(row.note, []).append(row)
    name = next((n for n in FIELDS if varying(rows, n)), "corpus")
    return [
        note if len(about) == len(rows) else f"{note} ({_names(about, name)})"
        for note, about in found.items()
    ]


def _names(rows: Sequence[Row], name: str) -> str:
    return ", ".join(dict.fromkeys(field_text(row, name) for row in rows))


def is_matrix(table: Table) -> bool:
    """Return whether a table is a matrix: asked for, one number a place, and all else the same."""
    by = (table.rows_by, table.columns_by)
    if not (all(by) and table.rows):
        return False
    places = {(field_text(row, by[0]), field_text(row, by[1])) for row in table.rows}
    alike = not any(varying(table.rows, name) for name in FIELDS if name not in by)
    return alike and len(places) == len(table.rows) and not _differs(table.rows, "metric")


def matrix(rows: Sequence[Row], rows_by: str, columns_by: str) -> "Matrix":
    """Arrange rows by two of their fields, in the order in which they come; the same both ways."""
    down = list(dict.fromkeys(field_text(row, rows_by) for row in rows))
    across = list(dict.fromkeys(field_text(row, columns_by) for row in rows))
    across.sort(key=lambda name: down.index(name) if name in down else len(down))
    found = {(field_text(row, rows_by), field_text(row, columns_by)): row for row in rows}
    return Matrix(down, across, [[found.get((d, a)) for a in across] for d in down])


@dataclass(frozen=True)
class Matrix:
    """Numbers by two fields; None where there is none."""

    down: Sequence[str]
    across: Sequence[str]
    cells: Sequence[Sequence[Row | None]]

    @property
    def sizes(self) -> list[str]:
        """How many clips and speakers every column is of: a range where its numbers differ."""
        return [_sizes([row for row in column if row]) for column in zip(*self.cells, strict=True)]


def _sizes(rows: Sequence[Row]) -> str:
    clips, speakers = ({getattr(row, name) for row in rows} for name in ("clips", "speakers"))
    return f"{_range(clips)} clips, {_range(speakers)} speakers"


def _range(values: set[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
