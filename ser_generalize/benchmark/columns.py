"""How a table of numbers is laid out: what is said once above it, its lines and its columns.

No number may stand without what it was measured under, so a field that differs within a table and
that its part did not ask to show becomes a column all the same.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ser_generalize.benchmark.sections import DIFFERENCE, Figure, Row, Table
from ser_generalize.benchmark.wording import (
    FIELDS,
    INTERVAL,
    NONE,
    field_text,
    interval,
    is_share,
    metric,
    number,
    probability,
    setting_name,
    setting_number,
)

FIRST_SAID = ("protocol", "adapt", "label_set")  # without which no two numbers may be compared
VALUE = "Value"  # the heading where metrics differ from line to line
OFFSET = 1e12  # makes numbers positive that are sorted as text
WIDEST = 9.0  # than any interval: none is sorted last


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


def varying(rows: Sequence[Row], name: str) -> bool:
    """Return whether a field differs among rows."""
    return len({field_text(row, name) for row in rows}) > 1


def said_once(shown: Table | Figure) -> list[tuple[str, str]]:
    """Return what is the same for all rows and in no column, as pairs of heading and value."""
    rows = shown.rows
    in_columns = fields_shown(shown) if isinstance(shown, Table) else []
    names = dict.fromkeys([*FIRST_SAID, *FIELDS])
    same = [name for name in names if name not in in_columns and not varying(rows, name)]
    found = [(FIELDS[name], field_text(rows[0], name)) for name in same if rows]
    found += _said_apart(shown)
    chances = {row.chance: row for row in rows if row.chance is not None}
    if len(chances) == 1:
        chance, row = chances.popitem()
        found.append(("Chance", number(row, chance) + (" %" if is_share(row) else "")))
    return [(heading, value) for heading, value in found if value != NONE]


def _said_apart(shown: Table | Figure) -> list[tuple[str, str]]:
    """Return what differs where it has no column: all values in a figure, most in a matrix."""
    rows, placed = shown.rows, set[str]()
    if isinstance(shown, Figure):
        placed = {shown.x, shown.series}
    elif not is_matrix(shown):
        return []
    names = [name for name in FIRST_SAID if name not in placed and varying(rows, name)]
    if isinstance(shown, Table):
        return [(FIELDS[n], f"{_most_common(rows, n)} where no other is named") for n in names]
    return [(FIELDS[name], _names(rows, name)) for name in names]


def fields_shown(table: Table) -> list[str]:
    """Return the fields that have a column: what differs, first what was asked for.

    Where nothing differs that is the first one asked for.
    """
    asked = [name for name in table.shown if name in FIELDS]
    names = dict.fromkeys([*asked, *FIELDS])
    return [name for name in names if varying(table.rows, name)] or asked[:1]


def lines(table: Table) -> list[Row]:
    """Return the row of every line: each, or those of the first metric where the others join them.

    Several metrics of one result share a line.
    """
    rows = table.rows
    found = [row for row in rows if row.metric == rows[0].metric]
    results = {_result(row) for row in found}
    places = {(_result(row), row.metric) for row in rows}
    joined = len(places) == len(rows) and all(_result(row) in results for row in rows)
    return found if joined else list(rows)


def _result(row: Row) -> Row:
    """Return a row without its number: rows of one result differ in nothing else."""
    plain = replace(row, metric="", value=0.0, low=None, high=None, chance=None)
    return replace(plain, p=None, p_adjusted=None, note="")


def columns(table: Table) -> list[Column]:
    """Return the columns of a table that has a line per result."""
    shown = lines(table)
    found = [_field_column(name) for name in fields_shown(table)]
    if len({metric(row) for row in shown}) > 1:
        found.append(Column("Metric", lambda row: Cell(metric(row), metric(row))))
        heading = VALUE
    else:
        heading = metric(shown[0]) if shown else VALUE
    found.append(Column(heading, lambda row: Cell(number(row, row.value), row.value), True))
    if any(row.low is not None for row in shown) or all(map(is_share, shown)):
        found.append(Column(INTERVAL, lambda row: Cell(interval(row), _width(row)), True))
    found += _other_metrics(table, shown)
    found += [column for name, column in OPTIONAL if any(getattr(row, name) for row in shown)]
    return found + ([CHANCE] if _differs(shown, "chance") else [])


def _other_metrics(table: Table, shown: Sequence[Row]) -> list[Column]:
    """Return a column for every metric that shares the lines of the first, with its interval."""
    others: dict[str, dict[Row, Row]] = {}
    for row in table.rows if len(shown) < len(table.rows) else ():
        if row.metric != shown[0].metric:
            others.setdefault(metric(row), {})[_result(row)] = row
    return [_metric_column(heading, found) for heading, found in others.items()]


def _metric_column(heading: str, found: Mapping[Row, Row]) -> Column:
    def cell(row: Row) -> Cell:
        other = found.get(_result(row))
        if other is None:
            return Cell(NONE, -WIDEST)
        ends = f" ({interval(other)})" if other.low is not None else ""
        return Cell(f"{number(other, other.value)}{ends}", other.value)

    return Column(heading, cell, True)


def _differs(rows: Sequence[Row], name: str) -> bool:
    return len({getattr(row, name) for row in rows} - {None}) > 1


def _field_column(name: str) -> Column:
    return Column(FIELDS[name], lambda row: Cell(field_text(row, name), _natural(row, name)))


def _natural(row: Row, name: str) -> str:
    """Sort settings by what they set and then by its number, so that 5 comes before 10."""
    found = setting_number(row.setting) if name == "setting" else None
    if found is None:
        return field_text(row, name).lower()
    return f"{setting_name(row.setting)} {found + OFFSET:020.4f}"


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
    """Return whether a table is a matrix: asked for, one number a place, and all else the same.

    Protocols may differ, as those on the diagonal do: see `aside`.
    """
    by = (table.rows_by, table.columns_by)
    if not (all(by) and table.rows):
        return False
    places = {(field_text(row, by[0]), field_text(row, by[1])) for row in table.rows}
    alike = not any(varying(table.rows, name) for name in FIELDS if name not in (*by, "protocol"))
    return alike and len(places) == len(table.rows) and not _differs(table.rows, "metric")


def matrix(rows: Sequence[Row], rows_by: str, columns_by: str) -> "Matrix":
    """Arrange rows by two of their fields, in the order in which they come; the same both ways."""
    down = list(dict.fromkeys(field_text(row, rows_by) for row in rows))
    across = list(dict.fromkeys(field_text(row, columns_by) for row in rows))
    across.sort(key=lambda name: down.index(name) if name in down else len(down))
    found = {(field_text(row, rows_by), field_text(row, columns_by)): row for row in rows}
    return Matrix(down, across, [[found.get((d, a)) for a in across] for d in down])


def shade(row: Row, rows: Sequence[Row]) -> str:
    """Return how deep a matrix shades a number, in percent: scores by their share."""
    if row.kind != DIFFERENCE:
        return f"{100 * min(max(row.value, 0), 1):.1f}"
    return f"{100 * abs(row.value) / (max(abs(one.value) for one in rows) or 1):.1f}"


def aside(row: Row, rows: Sequence[Row]) -> str:
    """Return the protocol of a number in a matrix, where it is not that of most."""
    own = field_text(row, "protocol")
    return "" if own == _most_common(rows, "protocol") else own


def _most_common(rows: Sequence[Row], name: str) -> str:
    times = Counter(field_text(row, name) for row in rows)
    return min(times, key=lambda text: (-times[text], text))


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
