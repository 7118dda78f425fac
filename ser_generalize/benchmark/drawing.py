"""What the study's figures are drawn with: colours and marks that tell series apart without hue."""

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ser_generalize.benchmark.sections import DIFFERENCE, Row
from ser_generalize.benchmark.wording import is_share, metric
from ser_generalize.figures import INK, MUTED, RULE

# Told apart by people with any colour vision, on white, on black and printed in grey: neighbours
# differ in lightness, and every series has a mark of its own as well.
SERIES = ("#0f6b72", "#c8590c", "#5b4b9e", "#7d8a1e", "#b3305f", "#4d5d6b")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
SIZE = 8  # points, of the text
PAGE = 6.9  # inches


def drawing(height: float, width: float = PAGE) -> tuple[Drawing, Axes]:
    """Return a figure with one plain set of axes."""
    figure = Drawing(figsize=(width, height), layout="constrained")
    return figure, plain(figure.add_subplot())


def plain(axes: Axes) -> Axes:
    """Take from a set of axes all that is no data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(RULE)
    axes.tick_params(labelsize=SIZE, length=0, labelcolor=INK)
    axes.xaxis.label.set(fontsize=SIZE, color=MUTED)
    axes.yaxis.label.set(fontsize=SIZE, color=MUTED)
    axes.set_axisbelow(True)
    return axes


def colour(index: int) -> str:
    """Return the colour of a series."""
    return SERIES[index % len(SERIES)]


def mark(index: int) -> str:
    """Return the mark of a series."""
    return MARKS[index % len(MARKS)]


def distinct(values: Iterable[str]) -> list[str]:
    """Return the distinct values, in the order in which they come."""
    return list(dict.fromkeys(values))


def unit(row: Row) -> float:
    """Return what a number of a row is multiplied with to be drawn: shares in percent."""
    return 100.0 if is_share(row) else 1.0


def axis_label(rows: Sequence[Row]) -> str:
    """Return the label of the axis of these rows' numbers."""
    names = distinct(metric(row) for row in rows)
    return " / ".join(names) + (" (95 % interval)" if any(r.low is not None for r in rows) else "")


def limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Return round ends of an axis that holds all numbers, and zero where they have signs."""
    shown = [
        value * unit(row)
        for row in rows
        for value in (row.value, row.low, row.high, row.chance)
        if value is not None
    ]
    if any(row.kind == DIFFERENCE for row in rows):
        shown.append(0.0)
    low, high = min(shown), max(shown)
    step = round_step(max(high - low, 0.05 * max(abs(low), abs(high)), 1e-9))
    return step * math.floor(low / step - 0.1), step * math.ceil(high / step + 0.1)


def round_step(span: float) -> float:
    """Return the 1, 2 or 5 times a power of ten that divides a span into five to ten."""
    power = 10 ** math.floor(math.log10(span / 5))
    return float(power * max(m for m in (1, 2, 5) if m * power <= span / 5))


def legend(figure: Drawing, axes: Axes, title: str) -> None:
    """Put a legend above all axes, left, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        made = figure.legend(
            handles, labels, loc="outside upper left", ncols=min(len(labels), 6), title=title,
            fontsize=SIZE, title_fontsize=SIZE, frameon=False, labelcolor=INK,
            alignment="left", handletextpad=0.4, columnspacing=1.2, borderpad=0,
        )  # fmt: skip
        made.get_title().set_color(MUTED)
