"""The findings that a study's numbers support best: what the page opens with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ser_generalize.benchmark.sections import DIFFERENCE, POOLED, Row, Section
from ser_generalize.benchmark.wording import number
from ser_generalize.statistics import MACRO_AVERAGE

SHOWN = 3
SURE = 0.05  # of an adjusted p-value


@dataclass(frozen=True)
class Finding:
    """A sentence, the section that it is of, and how sure the number is that it tells."""

    text: str
    section: Section
    sureness: float


def best_findings(sections: Sequence[Section], shown: int = SHOWN) -> list[Finding]:
    """Return the findings that tell the surest differences, one of a section, the surest first.

    Sections that tell no sure difference follow with their first finding, in the order of the page.
    """
    told = (one for one in sections if one.findings)
    best = [max(_findings(one), key=lambda found: found.sureness) for one in told]
    return sorted(best, key=lambda found: -found.sureness)[:shown]


def _findings(section: Section) -> Iterator[Finding]:
    """Yield the findings of a section; averages over corpora speak for one that has them."""
    rows = [row for table in section.tables for row in table.rows if row.kind == DIFFERENCE]
    averages = [row for row in rows if row.corpus in (MACRO_AVERAGE, POOLED)]
    for text in section.findings:
        told = [row for row in averages or rows if _tells(text, row)]
        yield Finding(text, section, max(map(_sureness, told), default=0.0))


def _tells(text: str, row: Row) -> bool:
    """Return whether a sentence gives a number with its interval."""
    numbers = [number(row, end) for end in (row.value, row.low, row.high) if end is not None]
    return len(numbers) == 3 and all(one.lstrip("+−") in text for one in numbers)


def _sureness(row: Row) -> float:
    """Return a difference in half-widths of its interval; 0 where that or its test has a doubt."""
    if row.low is None or row.high is None or row.low <= 0 <= row.high:
        return 0.0
    p = row.p if row.p_adjusted is None else row.p_adjusted
    if p is not None and p > SURE:
        return 0.0
    return abs(row.value) / max((row.high - row.low) / 2, 1e-9)
