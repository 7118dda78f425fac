"""The parts of the study, in the order of its report."""

from collections.abc import Sequence

from ser_generalize.benchmark.adaptation import ADAPTATION
from ser_generalize.benchmark.cost import COST
from ser_generalize.benchmark.features import FEATURES
from ser_generalize.benchmark.generalise import GENERALISE
from ser_generalize.benchmark.heads import HEADS
from ser_generalize.benchmark.honesty import HONESTY
from ser_generalize.benchmark.paper import GRID
from ser_generalize.benchmark.part import Part
from ser_generalize.benchmark.people import GROUPS
from ser_generalize.benchmark.robustness import ROBUSTNESS
from ser_generalize.errors import one_of

PARTS = {
    part.name: part
    for part in (
        GRID,
        GENERALISE,
        FEATURES,
        HEADS,
        ADAPTATION,
        HONESTY,
        GROUPS,
        ROBUSTNESS,
        COST,
    )
}


def find_parts(names: Sequence[str]) -> list[Part]:
    """Return the parts of some names, all where none is given; else raise InputError."""
    wanted = [one_of("part", name, PARTS) for name in names] or list(PARTS)
    return [part for name, part in PARTS.items() if name in wanted]
