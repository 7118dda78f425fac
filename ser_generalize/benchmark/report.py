"""The study's report: a page, tables, figures, its numbers as Parquet, and a card for the Hub."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ser_generalize import __version__
from ser_generalize.benchmark.findings import best_findings
from ser_generalize.benchmark.folder import (
    CARD,
    FIGURES,
    FILES,
    PAGE,
    PLACEHOLDER,
    RESULTS,
    TABLES,
)
from ser_generalize.benchmark.methods import commands, tested
from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.results import section_rows, write_rows
from ser_generalize.benchmark.sections import ROW_SCHEMA, Figure, Section, Table
from ser_generalize.benchmark.study_page import as_sentence, lead, study_page, told
from ser_generalize.benchmark.tables import latex, markdown
from ser_generalize.command import progress_bar
from ser_generalize.files import staged
from ser_generalize.hub import render_card
from ser_generalize.report import check_out

Shown = TypeVar("Shown", Table, Figure)


def write_report(out: Path, study: Study, sections: Sequence[Section]) -> None:
    """Write the report of a study to the folder `out`, whole or not at all.

    A report that lies there is replaced. Raises InputError, with nothing written, where `out` holds
    something else, and ValueError where two tables or two figures share a name.
    """
    tables = _by_name(table for section in sections for table in section.tables)
    figures = _by_name(figure for section in sections for figure in section.figures)
    check_out(out, RESULTS, FILES)
    with staged(out) as folder:
        folder.mkdir()
        _write_tables(folder / TABLES, tables)
        drawn = _draw(folder / FIGURES, figures)
        (folder / PAGE).write_text(study_page(study, sections, drawn), encoding="utf-8")
        write_rows(folder / RESULTS, section_rows(sections))
        (folder / CARD).write_text(_card(study, sections), encoding="utf-8")


def _by_name(found: Iterable[Shown]) -> dict[str, Shown]:
    """Return tables or figures by the stems of their files."""
    shown: dict[str, Shown] = {}
    for one in found:
        stem = re.sub(r"[^\w.-]", "_", one.name)
        if stem in shown:
            raise ValueError(f"two of a report are named {one.name!r}, so one would be lost")
        shown[stem] = one
    return shown


def _write_tables(folder: Path, tables: Mapping[str, Table]) -> None:
    folder.mkdir()
    for stem, table in tables.items():
        (folder / f"{stem}.md").write_text(markdown(table), encoding="utf-8")
        (folder / f"{stem}.tex").write_text(latex(table), encoding="utf-8")


def _draw(folder: Path, figures: Mapping[str, Figure]) -> dict[str, str]:
    """Write every figure that has a number; return what the page takes in, by name."""
    from ser_generalize.benchmark.pictures import draw, themed  # matplotlib takes a second

    folder.mkdir()
    with_rows, drawn = {stem: one for stem, one in figures.items() if one.rows}, {}
    with progress_bar(len(with_rows), "figures", "figure") as progress:
        for stem, figure in with_rows.items():
            svg, png = draw(figure)
            (folder / f"{stem}.svg").write_bytes(svg)
            (folder / f"{stem}.png").write_bytes(png)
            drawn[figure.name] = themed(svg, figure)
            progress.update()
    return drawn


def _card(study: Study, sections: Sequence[Section]) -> str:
    rows = section_rows(sections)
    return render_card(
        "report.md.jinja",
        lead=lead(study, rows),
        findings=[as_sentence(found.text) for found in best_findings(sections)],
        sections=[section for _, section in told(sections)],
        tested=tested(rows),
        commands=commands(study),
        columns=ROW_SCHEMA.names,
        placeholder=PLACEHOLDER,
        version=__version__,
    )
