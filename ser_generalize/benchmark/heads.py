"""Heads: what recognises new speakers best, and whether the same does in corpora never trained on.

Linear heads see all layers side by side, networks a learned sum of them; the linear ones are fitted
at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ser_generalize.adapt import SPEAKER
from ser_generalize.benchmark.adaptation import TITLES, home_and_elsewhere
from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import (
    clear_first,
    difference_rows,
    families,
    macro,
    score_rows,
    verdict,
)
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.cell import Cell
from ser_generalize.heads import DEFAULT_HEAD, LDA, LINEAR, LOGISTIC
from ser_generalize.predictions import PLAIN, Predictions
from ser_generalize.protocols import PROTOCOLS

NAME = "heads"
QUESTION = (
    "Which head recognises new speakers best, and is it also the best in a corpus that was never "
    "trained on?"
)
WAYS = (PLAIN, SPEAKER)
NAMES = {LDA: "LDA", LOGISTIC: "logistic regression"}

Heads = Mapping[str, Predictions]


def cells(study: Study) -> list[Cell]:
    """Return every head within corpora and elsewhere, plain and adapted to the speaker."""
    return [
        cell
        for protocol in home_and_elsewhere(study)
        for adapt in WAYS
        for cell in _heads(study, protocol, adapt).values()
    ]


def sections(study: Study, runs: Runs, _: Path) -> Sequence[Section]:
    """Return how heads compare, as far as their cells are finished."""
    made = []
    for protocol in home_and_elsewhere(study):
        found = {
            adapt: {
                head: runs[cell]
                for head, cell in _heads(study, protocol, adapt).items()
                if cell in runs
            }
            for adapt in WAYS
        }
        made.append(_section(study, protocol, found))
    return made


def _heads(study: Study, protocol: str, adapt: str) -> dict[str, Cell]:
    """Return the cell of every head, the study's own first; a network is always among them."""
    train_on = PROTOCOLS[protocol].train_on[0]
    return {
        head: study.cell(protocol=protocol, train_on=train_on, adapt=adapt, head=head)
        for head in dict.fromkeys((study.head, DEFAULT_HEAD, *LINEAR))
    }


def _section(study: Study, protocol: str, ways: Mapping[str, Heads]) -> Section:
    """Return the scores of heads, plain and adapted ones apart, and what each changes."""
    own, table = _called(study.head), f"{protocol}-heads-minus-own"
    tables = [_scores(protocol, adapt, found) for adapt, found in ways.items() if found]
    differences = families(list(_differences(table, study.head, ways)))
    if not differences:
        return Section(NAME, _title(protocol), QUESTION, notes=["its heads are not finished"])
    caption = "Paired by clip, tested over speakers; p by Holm."
    shown = ("corpus", "adapt", "head")
    tables.append(Table(table, f"Minus {own}", caption, differences, shown))
    adaptations = dict.fromkeys(row.adapt for row in differences)
    figures = [_figure(protocol, own, [row for row in differences if row.adapt == adapt])
               for adapt in adaptations]  # fmt: skip
    findings = clear_first(
        verdict(row, _called(row.head), own + f", both {row.adapt}," * (row.adapt != PLAIN))
        for row in macro(differences)
    )
    return Section(NAME, _title(protocol), QUESTION, findings, tables, figures)


def _scores(protocol: str, adapt: str, found: Heads) -> Table:
    name, title = f"{protocol}-heads", "UAR by head"
    caption = "The same clips and folds under every head."
    if adapt != PLAIN:
        name, title = f"{name}-adapted", f"{title}, adapted to the speaker"
        caption = (
            "Features are standardised by all unlabelled clips of the tested speaker: not "
            "comparable with plain results."
        )
    rows = [row for run in found.values() for row in score_rows(NAME, name, run, pooled=True)]
    return Table(name, title, caption, rows, ("corpus", "head"))


def _figure(protocol: str, own: str, rows: Sequence[Row]) -> Figure:
    """Return the picture of differences under one adaptation."""
    adapt, name = rows[0].adapt, rows[0].table + "-adapted" * (rows[0].adapt != PLAIN)
    heads = "Heads" if adapt == PLAIN else f"Heads, {adapt},"
    title = f"{heads} minus {own}: {TITLES[protocol]}"
    return Figure(name, "intervals", title, "UAR, with 95 % intervals over speakers.", rows,
                  series="head")  # fmt: skip


def _title(protocol: str) -> str:
    return f"Heads: {TITLES[protocol]}"


def _differences(table: str, own: str, ways: Mapping[str, Heads]) -> Iterator[Row]:
    """Yield what every other head changes beside the study's own, under the same adaptation."""
    for found in ways.values():
        for head, run in found.items():
            if head != own and own in found:
                yield from difference_rows(NAME, table, found[own], run)


def _called(head: str) -> str:
    return NAMES.get(head, f"a network of {head} units")


HEADS = Part(NAME, QUESTION, cells, sections)
