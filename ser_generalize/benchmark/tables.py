"""Tables for papers and for READMEs: Markdown, and LaTeX for the package booktabs."""

import re
from collections.abc import Iterator, Sequence

from ser_generalize.benchmark.columns import (
    FIELDS,
    NONE,
    columns,
    interval,
    is_matrix,
    matrix,
    metric,
    notes,
    number,
    said_once,
)
from ser_generalize.benchmark.sections import Row, Table
from ser_generalize.statistics import METHOD

Lines = list[list[str]]  # the headings first

LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "−": "$-$", "–": "--", "<": "$<$", ">": "$>$",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}  # fmt: skip


def markdown(table: Table) -> str:
    """Return a table as GitHub-flavoured Markdown, with all that its reader must know."""
    head, *body = _lines(table)
    numeric = _numeric(table)
    rules = ["---:" if right else "---" for right in numeric]
    rows = ["| " + " | ".join(map(_cell, line)) + " |" for line in (head, rules, *body)]
    below = [f"*{_prose(line)}*" for line in _below(table)]
    return "\n\n".join([f"**{_prose(table.title)}.** {_prose(table.caption)}", _said(table),
                        "\n".join(rows), *below]).replace("\n\n\n\n", "\n\n") + "\n"  # fmt: skip


def latex(table: Table) -> str:
    """Return a table as LaTeX for booktabs, in a `table` with its caption and a label."""
    head, *body = _lines(table)
    lines = [" & ".join(map(escape, line)) + r" \\" for line in (head, *body)]
    about = " ".join(filter(None, [table.title + ".", table.caption, _said(table), *_below(table)]))
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            rf"\caption{{{escape(about)}}}",
            rf"\label{{tab:{re.sub(r'[^a-z0-9-]', '-', table.name.lower())}}}",
            rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in _numeric(table))}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Return a text as LaTeX prints it."""
    return "".join(LATEX.get(sign, sign) for sign in text)


def _said(table: Table) -> str:
    """Return what is the same for all rows of a table, as one sentence."""
    said = [f"{heading.lower()} {value}" for heading, value in said_once(table.rows)]
    if is_matrix(table):
        said = [f"{metric(table.rows[0])} with its 95 % interval", *said]
    text = "; ".join(said)
    return _prose(text[:1].upper() + text[1:] + ".") if said else ""


def _below(table: Table) -> list[str]:
    has_interval = any(row.low is not None for row in table.rows)
    return [*notes(table.rows), *([METHOD + "."] if has_interval else [])]


def _numeric(table: Table) -> list[bool]:
    if is_matrix(table):
        return [index > 0 for index in range(len(_lines(table)[0]))]
    return [column.numeric for column in columns(table)]


def _lines(table: Table) -> Lines:
    if is_matrix(table):
        return list(_matrix_lines(table))
    shown = columns(table)
    body = [[column.cell(row).text for column in shown] for row in table.rows]
    return [[column.heading for column in shown], *body]


def _matrix_lines(table: Table) -> Iterator[list[str]]:
    found = matrix(table.rows, table.rows_by, table.columns_by)
    corner = f"{FIELDS[table.rows_by]} ↓, {FIELDS[table.columns_by].lower()} →"
    yield [corner.replace(" ↓", "").replace(" →", " across"), *found.across]
    for name, cells in zip(found.down, found.cells, strict=True):
        yield [name, *map(_with_interval, cells)]
    yield ["n", *found.sizes]


def _with_interval(row: Row | None) -> str:
    if row is None:
        return NONE
    return f"{number(row, row.value)} ({interval(row)})"


def _cell(text: str) -> str:
    return _prose(text).replace("|", r"\|")


def _prose(text: str) -> str:
    """Keep a text from being read as Markdown or HTML, and on one line."""
    return re.sub(r"([\\`*_<\[\]])", r"\\\1", " ".join(text.split()))

