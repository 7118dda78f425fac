"""The findings that a study's numbers support best: what the page opens with."""

from collections.abc import Sequence
from dataclasses import dataclass

from ser_generalize.benchmark.sections import DIFFERENCE, POOLED, Row, Section
from ser_generalize.statistics import MACRO_AVERAGE

SHOWN = 3
SURE = 0.05  # of an adjusted p-value


@dataclass(frozen=True)
class Finding:
    """A sentence, and the section that it is the strongest of."""

    text: str
    section: Section


def best_findings(sections: Sequence[Section], shown: int = SHOWN) -> list[Finding]:
    """Return the first finding of the sections with the surest differences, the surest first.

    Sections without a sure difference follow, in the order of the page.
    """
    told = [section for section in sections if section.findings]
    ranked = sorted(told, key=lambda section: -evidence(section))
    return [Finding(section.findings[0], section) for section in ranked[:shown]]


def evidence(section: Section) -> float:
    """Return how sure the surest difference of a section is: its size in half-widths of interval.

    Averages over corpora speak for a section that has them. Without one that excludes zero, and
    that its test confirms, there is none.
    """
    rows = [row for table in section.tables for row in table.rows if row.kind == DIFFERENCE]
    averages = [row for row in rows if row.corpus in (MACRO_AVERAGE, POOLED)]
    return max((_sureness(row) for row in averages or rows), default=0.0)


def _sureness(row: Row) -> float:
    if row.low is None or row.high is None or row.low <= 0 <= row.high:
        return 0.0
    p = row.p if row.p_adjusted is None else row.p_adjusted
    if p is not None and p > SURE:
        return 0.0
    return abs(row.value) / max((row.high - row.low) / 2, 1e-9)
