"""Figures that rank: which methods differ critically, and what scores cost."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ser_generalize.benchmark.drawing import (
    SIZE,
    axis_label,
    colour,
    distinct,
    drawing,
    legend,
    limits,
    mark,
    unit,
)
from ser_generalize.benchmark.sections import DIFFERENCE, Figure, Row
from ser_generalize.benchmark.wording import FIELDS, field_text, setting_name
from ser_generalize.figures import ACCENT, INK, MUTED, RULE

Point = tuple[float, Row]  # a cost, and what it buys


def ranks(figure: Figure) -> Drawing:
    """Draw mean ranks on one line, the best left; a bar joins those that differ by no more.

    That is the critical-difference diagram of Demsar (2006, J. Mach. Learn. Res. 7).
    """
    rows = sorted(figure.rows, key=lambda row: row.value)
    bars = list(_cliques([row.value for row in rows], figure.limit or 0))
    left = -(-len(rows) // 2)
    first = 0.35 + 0.16 * len(bars)
    made, axes = drawing(0.9 + 0.22 * (first / 0.16 * 0.5 + left))
    low, high = 1.0, float(max(len(rows), 2))
    for place, row in enumerate(rows):
        here = place < left
        depth = first + 0.42 * (place if here else len(rows) - 1 - place) + 0.4
        end = low - 0.12 * (high - low) if here else high + 0.12 * (high - low)
        axes.plot([row.value, row.value, end], [0, depth, depth], color=MUTED, lw=0.8)
        axes.plot(row.value, 0, "o", ms=4.5, color=ACCENT, zorder=3)
        text = f"{field_text(row, figure.series)} ({row.value:.2f})"
        axes.annotate(
            text, (end, depth), (-4 if here else 4, 0), textcoords="offset points",
            ha="right" if here else "left", va="center", color=INK, fontsize=SIZE,
        )  # fmt: skip
    for number_of_bar, (start, stop) in enumerate(bars):
        height = 0.22 + 0.16 * number_of_bar
        axes.plot([start - 0.03, stop + 0.03], [height, height], color=INK, lw=2.6,
                  solid_capstyle="round")  # fmt: skip
    _rank_axis(axes, low, high, figure.limit, first + 0.42 * left + 0.3)
    return made


def _rank_axis(axes: Axes, low: float, high: float, limit: float | None, bottom: float) -> None:
    span = high - low
    axes.set(xlim=(low - 0.45 * span, high + 0.45 * span), ylim=(bottom, -1.15))
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])
    axes.plot([low, high], [0, 0], color=INK, lw=1)
    for rank in range(int(low), int(high) + 1):
        axes.plot([rank, rank], [-0.1, 0], color=INK, lw=1)
        axes.text(rank, -0.18, str(rank), ha="center", va="bottom", fontsize=SIZE, color=INK)
    if limit is not None:
        end = min(low + limit, high + 0.4 * span)
        axes.plot([low, end], [-0.72, -0.72], color=MUTED, lw=1.4)
        text = f"critical difference {limit:.2f}"
        axes.text(low, -0.8, text, ha="left", va="bottom", fontsize=SIZE, color=MUTED)


def _cliques(values: Sequence[float], limit: float) -> Iterator[tuple[float, float]]:
    """Yield the ends of every largest group of sorted ranks that lies within the limit."""
    reached = -1
    for start, value in enumerate(values):
        stop = max(end for end, other in enumerate(values) if other - value <= limit)
        if stop > start and stop > reached:
            reached = stop
            yield value, values[stop]


def scatter(figure: Figure) -> Drawing:
    """Draw numbers over the number that `setting` gives for `x`.

    Where a series is one point, it is named, and a line joins the scores that no cheaper one beats.
    """
    points = [(found, row) for row in figure.rows if (found := _cost(row, figure.x)) is not None]
    made, axes = drawing(3.2, 5.6)
    names = distinct(field_text(row, figure.series) for _, row in points)
    _dots(axes, points, names, figure.series)
    if len(names) == len(points):
        _name(axes, points, figure.series)
        best = list(_frontier(points))
        axes.plot([cost for cost, _ in best], [unit(row) * row.value for _, row in best],
                  color=MUTED, lw=0.9, ls=(0, (3, 2)), zorder=0)  # fmt: skip
    else:
        legend(made, axes, FIELDS.get(figure.series, ""))
    if any(row.kind == DIFFERENCE for row in figure.rows):
        axes.axhline(0, color=MUTED, lw=0.9, zorder=0)
    costs = [cost for cost, _ in points]
    if min(costs, default=0) > 0 and max(costs) > 20 * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.14)
    axes.set_ylim(*limits(figure.rows))
    axes.grid(color=RULE, lw=0.5)
    axes.minorticks_off()
    axes.set_xlabel(_cost_name(figure))
    axes.set_ylabel(axis_label(figure.rows))
    return made


def _dots(axes: Axes, points: Sequence[Point], names: Sequence[str], by: str) -> None:
    seen = set[int]()
    for cost, row in points:
        series, times = names.index(field_text(row, by)), unit(row)
        if row.low is not None and row.high is not None:
            axes.vlines(cost, times * row.low, times * row.high, color=colour(series), lw=1,
                        alpha=0.6)  # fmt: skip
        label = "_" if series in seen else names[series]
        axes.plot(cost, times * row.value, mark(series), ms=5.5, color=colour(series),
                  mec="#ffffff", mew=0.6, label=label, ls="")  # fmt: skip
        seen.add(series)


def _name(axes: Axes, points: Sequence[Point], by: str) -> None:
    for cost, row in points:
        axes.annotate(field_text(row, by), (cost, unit(row) * row.value), (7, -9),
                      textcoords="offset points", fontsize=SIZE, color=INK)  # fmt: skip


def _given(row: Row) -> dict[str, str]:
    """Return what a setting of several parts gives: "seconds=3,clips:5" as a dictionary."""
    parts = (part.replace(":", "=").partition("=") for part in row.setting.split(","))
    return {name.strip(): value for name, _, value in parts}


def _cost(row: Row, name: str) -> float | None:
    """Return the number that a setting gives under a name, or its first."""
    given = _given(row)
    try:
        return float(given.get(name, next(iter(given.values()))))
    except ValueError:
        return None


def _cost_name(figure: Figure) -> str:
    named = any(figure.x in _given(row) for row in figure.rows)
    return (figure.x if named else setting_name(figure.rows[0].setting)).replace("_", " ")


def _frontier(points: Sequence[Point]) -> Iterator[Point]:
    """Yield, from the cheapest on, every score that beats all cheaper ones."""
    best = -np.inf
    for _, same in groupby(sorted(points, key=lambda one: one[0]), key=lambda one: one[0]):
        cost, row = max(same, key=lambda one: one[1].value)
        if row.value > best:
            best = row.value
            yield cost, row
