"""The report as a terminal shows it: what was found, and the tables behind it."""

import textwrap
from collections.abc import Iterator, Sequence

from ser_generalize.benchmark.sections import DIFFERENCE, Row, Section, Table
from ser_generalize.summary import percent, points

WIDTH = 100


def text(sections: Sequence[Section]) -> str:
    """Return the sections as plain text."""
    return "\n\n".join("\n".join(_section(section)) for section in sections)


def _section(section: Section) -> Iterator[str]:
    yield section.title
    yield "=" * len(section.title)
    for line in (*section.findings, *section.notes):
        yield textwrap.fill(f"- {line}", WIDTH, subsequent_indent="  ")
    for table in section.tables:
        yield ""
        yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    yield f"{table.title} ({len(table.rows)} figures, percent)"
    named = [[str(getattr(row, name)) for name in table.shown] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*named, strict=True)]
    for row, names in zip(table.rows, named, strict=True):
        said = (name.ljust(width) for name, width in zip(names, widths, strict=True))
        yield f"  {'  '.join(said)}  {_value(row)}"


def _value(row: Row) -> str:
    show = points if row.kind == DIFFERENCE else percent
    interval = ""
    if row.low is not None and row.high is not None:
        interval = f" ({show(row.low)} to {show(row.high)})"
    return f"{show(row.value):>6}{interval}"
