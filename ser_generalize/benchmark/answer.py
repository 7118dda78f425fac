"""Running a study: its cells, what is no cell, and the report of what is finished."""

import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ser_generalize.benchmark.folder import PAGE, RESULTS
from ser_generalize.benchmark.grid import FinishedRuns, Grid, make_grid, run_grid
from ser_generalize.benchmark.part import Part, Study
from ser_generalize.benchmark.report import write_report
from ser_generalize.benchmark.sections import Section
from ser_generalize.benchmark.study import (
    Asked,
    check_out,
    describe_study,
    open_study,
    write_study,
)
from ser_generalize.launch import in_step, processes

MEASURED = "parts"  # what parts measure that is no cell, a folder each
REPORT = "report"
WIDTH = 100  # of the terminal's lines


def run_study(asked: Asked, parts: Sequence[Part], out: Path, report_only: bool = False) -> None:
    """Answer some parts of a study into `out`; a finished one returns at once.

    Every process of an `accelerate launch` or `torchrun` takes its share. What was interrupted goes
    on where it stopped. Raises InputError before anything is written.
    """
    with processes() as accelerator:
        study = in_step(lambda: open_study(asked))
        names = [part.name for part in parts]
        description = in_step(lambda: describe_study(study, names))
        done = in_step(lambda: check_out(out, description) and (out / REPORT / RESULTS).is_file())
        if done and not report_only:
            accelerator.print(f"benchmark: {out} is done already")
            return
        grid = in_step(lambda: make_grid(study, parts, out))
        first = accelerator.is_main_process
        in_step(lambda: write_study(out, description, finished=False) if first else None)
        if not report_only:
            grid = run_grid(grid, accelerator)
            _measure(study, parts, out, first)
        if first:
            sections = make_sections(grid, parts, out)
            write_report(out / REPORT, study, sections)
            write_study(out, description, finished=grid.is_finished)
            print(in_short(sections))
            print(f"\nbenchmark: the report is {out / REPORT / PAGE}")


def _measure(study: Study, parts: Sequence[Part], out: Path, first: bool) -> None:
    """Let every part measure what is no cell, in a folder of its own."""
    for part in parts:
        if part.together or first:
            in_step(partial(part.measure, study, out / MEASURED / part.name))
        else:
            in_step(lambda: None)


def make_sections(grid: Grid, parts: Sequence[Part], out: Path) -> list[Section]:
    """Return what the parts make of the finished cells, then what is missing or to be known."""
    runs, sections = FinishedRuns(grid, parts), list[Section]()
    for part in parts:
        sections += part.sections(grid.study, runs, out / MEASURED / part.name)
    missing = [f"{part.name}: {line}" for part in parts for line in grid.missing(part)]
    if lines := [*grid.study.notes, *missing]:
        title, question = "What is missing", "Which cells and corpora does this report lack?"
        sections.append(Section("study", title, question, notes=lines))
    if lines := grid.notes:
        title, question = "What the runs say", "What must a reader know of single runs?"
        sections.append(Section("study", title, question, notes=lines))
    return sections


def in_short(sections: Sequence[Section]) -> str:
    """Return what was found, and what a reader must know, for a terminal."""
    lines = []
    for section in sections:
        lines += ["", section.title] if section.findings or section.notes else []
        for line in (*section.findings, *section.notes):
            lines.append(textwrap.fill(f"- {line}", WIDTH, subsequent_indent="  "))
    return "\n".join(lines)
