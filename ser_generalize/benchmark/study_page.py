"""The study's page: one file that loads nothing, rendered from `templates/study.html.jinja`."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ser_generalize import __version__
from ser_generalize.benchmark import columns, wording
from ser_generalize.benchmark.findings import best_findings
from ser_generalize.benchmark.methods import commands, methods, tested
from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.results import section_rows
from ser_generalize.benchmark.sections import DIFFERENCE, POOLED, Figure, Row, Section, Table
from ser_generalize.page import environment, sentence
from ser_generalize.protocols import LEAKS
from ser_generalize.statistics import MACRO_AVERAGE, METHOD, Estimate, Interval

TITLE = "What does it take to generalise?"
SCRIPT = "sort.js.jinja"
OPEN = 8  # lines: a longer table of a figure's numbers is folded
LIMITS = (0.01, 0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8)  # of an axis of differences
FINDINGS = 3  # of a section that are shown at once
CHARTED = 60  # rows: a longer table has no chart beside its numbers


def study_page(study: Study, sections: Sequence[Section], drawn: Mapping[str, str]) -> str:
    """Return the page as HTML, everything escaped; `drawn` are the figures' SVGs by name."""
    rows, made = section_rows(sections), environment()
    made.globals.update({helper.__name__: helper for helper in HELPERS})
    made.globals.update(interval_heading=wording.INTERVAL)
    made.globals.update(value_heading=columns.VALUE, findings_shown=FINDINGS)
    made.globals["averages"] = (MACRO_AVERAGE, POOLED)
    script = made.get_template(SCRIPT).render()
    anchored = told(sections)
    return made.get_template("study.html.jinja").render(
        title=TITLE,
        lead=lead(study, rows),
        findings=best_findings([one for _, one in anchored]),
        sections=anchored,
        anchors={(one.part, one.title): anchor for anchor, one in anchored},
        drawn=drawn,
        methods=methods(study, rows),
        tested=tested(rows),
        commands=commands(study),
        missing=[(one.title, one.notes) for one in sections if one.notes],
        numbers_in_all=len(rows),
        version=__version__,
        script=script,
        script_hash=_hash(script),
    )


def lead(study: Study, rows: Sequence[Row]) -> str:
    """Return what was studied, in one sentence."""
    encoders = list(dict.fromkeys(row.encoder for row in rows if row.encoder))
    clips = sum(held for _, held, _ in tested(rows))
    speakers = sum(heard for _, _, heard in tested(rows))
    named = " and ".join(encoders) if len(encoders) < 3 else f"{len(encoders)} encoders"
    with_what = f", heard by {named}" if encoders else ""
    return (
        f"{len(study.corpora)} {'corpus' if len(study.corpora) == 1 else 'corpora'}, "
        f"{clips:,} clips of {speakers:,} speakers{with_what}: "
        f"{len(rows):,} numbers, each with what it was measured under."
    )


def _anchor(number: int, section: Section) -> str:
    return f"{number}-{re.sub(r'[^a-z0-9]+', '-', section.part.lower())}"


def _hash(script: str) -> str:
    """Return what the page's policy names its only script by: no other one is run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@dataclass(frozen=True)
class Chart:
    """The axis of a chart beside numbers: where zero is, in percent of its width, and its scale."""

    kind: str  # of the mark of every row: "zero" or "" for chance
    origin: float
    unit: float
    labels: Sequence[str]


def chart(table: Table) -> Chart | None:
    """Return the axis of the chart beside a table's numbers, None where there can be none."""
    rows = columns.lines(table)
    kinds = {row.kind for row in rows}
    if len(kinds) != 1 or len(rows) > CHARTED or not all(map(wording.is_share, rows)):
        return None
    if kinds != {DIFFERENCE}:
        return Chart("", 0, 100, ["0", "25", "50", "75", "100"])
    limit = axis_limit(rows)
    ends = [f"{100 * limit:g}", f"{50 * limit:g}"]
    return Chart("zero", 50, 50 / limit, [f"−{ends[0]}", f"−{ends[1]}", "0", f"+{ends[1]}",
                                          f"+{ends[0]}"])  # fmt: skip


def axis_limit(rows: Sequence[Row]) -> float:
    """Return the end of the axis of some differences: the least round one that holds them all."""
    ends = [abs(end) for row in rows for end in (row.value, row.low, row.high) if end is not None]
    return next((one for one in LIMITS if one >= max(ends)), 1.0)


def estimate(row: Row) -> Estimate:
    """Return a row as what charts beside numbers are drawn from."""
    if row.low is None or row.high is None:
        return Estimate(row.value, None, row.note)
    return Estimate(row.value, Interval(row.low, row.high, row.speakers, METHOD), row.note)


def warnings(table: Table | Figure) -> list[str]:
    """Return what the protocols of a table do not promise, a sentence each."""
    found = dict.fromkeys(leak for row in table.rows for leak in wording.leaks(row))
    return [LEAKS.get(leak, f"Not kept apart in training and test: {leak}.") for leak in found]


def told(sections: Sequence[Section]) -> list[tuple[str, Section]]:
    """Return the sections that say or show something, with their ids in the page."""
    shown = (one for one in sections if one.findings or section_rows([one]))
    return [(_anchor(number, one), one) for number, one in enumerate(shown, 1)]


def blocks(section: Section) -> list[tuple[Figure | None, Table | None]]:
    """Return figures, each with the table of its numbers, and then the tables without a figure.

    A figure whose numbers are in no table is followed by one that is made of them.
    """
    left, found = [one for one in section.tables if one.rows], list[tuple[Any, Any]]()
    held = [set(table.rows) for table in section.tables]
    for figure in (one for one in section.figures if one.rows):
        mine = [one for one in left if set(figure.rows) <= set(one.rows)][:1]
        if not mine and not any(set(figure.rows) <= rows for rows in held):
            mine = [_as_table(figure)]
        found.append((figure, mine[0] if mine else None))
        left = [one for one in left if one not in mine]
    return found + [(None, table) for table in left]


def _as_table(figure: Figure) -> Table:
    shown = tuple(name for name in (figure.x, figure.series) if name in wording.FIELDS)
    by = (figure.x, figure.series) if figure.kind == "matrix" else ("", "")
    return Table(figure.name, figure.title, "", figure.rows, shown, *by)


def as_sentence(text: str) -> str:
    """Start a text with a capital and end it with a full stop."""
    return sentence(text) if text.endswith((".", "!", "?")) else f"{sentence(text)}."


def folded(table: Table, figure: Figure | None) -> bool:
    """Return whether a table is folded: it is long, and a figure shows what it holds."""
    return len(columns.lines(table)) > (OPEN if figure else CHARTED)


HELPERS = (  # what the template calls
    blocks,
    chart,
    columns.columns,
    columns.is_matrix,
    columns.lines,
    columns.said_once,
    estimate,
    folded,
    as_sentence,
    warnings,
)
