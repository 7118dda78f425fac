"""Tables for papers and for READMEs: Markdown, and LaTeX for the package booktabs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ser_generalize.benchmark.columns import (
    aside,
    columns,
    is_matrix,
    lines,
    matrix,
    notes,
    said_once,
)
from ser_generalize.benchmark.sections import Row, Table
from ser_generalize.benchmark.wording import FIELDS, NONE, interval, metric, number
from ser_generalize.statistics import METHOD

LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "−": "$-$", "–": "--", "<": "$<$", ">": "$>$",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}  # fmt: skip


@dataclass(frozen=True)
class Lines:
    """A table as text: its headings, which columns are of numbers, and its lines."""

    head: Sequence[str]
    numeric: Sequence[bool]
    body: Sequence[Sequence[str]]


def markdown(table: Table) -> str:
    """Return a table as GitHub-flavoured Markdown, with all that its reader must know."""
    made = _lines(table)
    rule = ["---:" if right else "---" for right in made.numeric]
    shown = [[_plain(text) for text in line] for line in (made.head, *made.body)]
    grid = "\n".join("| " + " | ".join(line) + " |" for line in (shown[0], rule, *shown[1:]))
    above = [f"**{_plain(table.title)}.** {_plain(table.caption)}".strip(), _plain(_said(table))]
    below = [f"*{_plain(line)}*" for line in _below(table)]
    return "\n\n".join(filter(None, [*above, grid, *below])) + "\n"


def latex(table: Table) -> str:
    """Return a table as LaTeX for booktabs, with a caption that says all and a label."""
    made = _lines(table)
    head, *body = [" & ".join(map(escape, line)) + r" \\" for line in (made.head, *made.body)]
    about = [f"{table.title}.", table.caption, _said(table), *_below(table)]
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            rf"\caption{{{escape(' '.join(filter(None, about)))}}}",
            rf"\label{{tab:{re.sub(r'[^a-z0-9-]', '-', table.name.lower())}}}",
            rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in made.numeric)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Return a text as LaTeX prints it, on one line."""
    return "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))


def _plain(text: str) -> str:
    """Keep a text from being read as Markdown or as HTML, and on one line."""
    return re.sub(r"([\\`*_<\[\]|])", r"\\\1", " ".join(text.split()))


def _said(table: Table) -> str:
    """Return what is the same for all rows of a table, as one sentence."""
    said = [f"{heading.lower()} {value}" for heading, value in said_once(table)]
    if is_matrix(table):
        said = [f"{metric(table.rows[0])} with its 95 % interval", *said]
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if said else ""


def _below(table: Table) -> Iterator[str]:
    yield from (f"{note[:1].upper()}{note[1:]}." for note in notes(table.rows))
    if any(row.low is not None for row in table.rows):
        yield f"{METHOD}."


def _lines(table: Table) -> Lines:
    if is_matrix(table):
        return _matrix_lines(table)
    shown = columns(table)
    return Lines(
        [column.heading for column in shown],
        [column.numeric for column in shown],
        [[column.cell(row).text for column in shown] for row in lines(table)],
    )


def _matrix_lines(table: Table) -> Lines:
    found = matrix(table.rows, table.rows_by, table.columns_by)
    corner = f"{FIELDS[table.rows_by]} (down), {FIELDS[table.columns_by].lower()} (across)"
    body = [
        [name, *(_in_place(row, table) for row in cells)]
        for name, cells in zip(found.down, found.cells, strict=True)
    ]
    numeric = [False, *(True for _ in found.across)]
    return Lines([corner, *found.across], numeric, [*body, ["n", *found.sizes]])


def _in_place(row: Row | None, table: Table) -> str:
    """Return a number of a matrix with its interval, and its protocol where that differs."""
    if row is None:
        return NONE
    said = filter(None, [interval(row), aside(row, table.rows)])
    return f"{number(row, row.value)} ({'; '.join(said)})"
