"""The kinds of figures that a study is told with, drawn from rows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle

from ser_generalize.benchmark import columns, wording
from ser_generalize.benchmark.drawing import (
    PAGE,
    SIZE,
    axis_label,
    colour,
    distinct,
    drawing,
    legend,
    limits,
    mark,
    plain,
    unit,
)
from ser_generalize.benchmark.sections import DIFFERENCE, Figure, Row
from ser_generalize.benchmark.wording import FIELDS, field_text, number
from ser_generalize.figures import ACCENT, INK, MUTED, RULE
from ser_generalize.statistics import MACRO_AVERAGE

GAP = 0.9  # between groups of dots, in dots


def intervals(figure: Figure) -> Drawing:
    """Draw a dot and its interval per row: groups of `x` from the top, series side by side."""
    names = distinct(field_text(row, figure.series) for row in figure.rows)
    groups = distinct(field_text(row, figure.x) for row in figure.rows)
    by_group = {g: [r for r in figure.rows if field_text(r, figure.x) == g] for g in groups}
    made, axes = drawing(0.75 + 0.15 * sum(len(rows) + GAP for rows in by_group.values()))
    place, ticks, seen = 0.0, [], set[str]()
    for rows in by_group.values():
        ticks.append(place + (len(rows) - 1) / 2)
        _group_marks(axes, rows, place)
        for row in rows:
            series = names.index(name := field_text(row, figure.series))
            _dot(axes, row, place, series, "" if name in seen else name)
            seen.add(name)
            place += 1
        place += GAP
    axes.set_yticks(ticks, groups)
    axes.set_ylim(place - GAP - 0.2, -0.8)
    axes.set_xlim(*limits(figure.rows))
    axes.grid(axis="x", color=RULE, lw=0.5)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(axis_label(figure.rows))
    legend(made, axes, FIELDS.get(figure.series, ""))
    return made


def _dot(axes: Axes, row: Row, height: float, series: int, label: str) -> None:
    """Draw a number; a difference is filled where its interval excludes zero, a score always."""
    shade, times = colour(series), unit(row)
    whole = row.low is not None and row.high is not None
    if row.low is not None and row.high is not None:
        weight = 2.4 if row.corpus == MACRO_AVERAGE else 1.5
        axes.hlines(height, times * row.low, times * row.high, color=shade, lw=weight)
    signed = row.kind == DIFFERENCE
    filled = not signed or (whole and not (row.low or 0) <= 0 <= (row.high or 0))
    face = shade if filled else "#ffffff"
    axes.plot(
        times * row.value, height, mark(series), ms=4.8, mfc=face, mec=shade, mew=1.1,
        ls="", label=label or "_",
    )  # fmt: skip


def _group_marks(axes: Axes, rows: Sequence[Row], place: float) -> None:
    """Mark chance, where scores have one, and no difference at all."""
    top, bottom = place - 0.5, place + len(rows) - 0.5
    for chance in sorted({row.chance for row in rows if row.chance and row.kind != DIFFERENCE}):
        axes.vlines(100 * chance, top, bottom, color=MUTED, lw=0.9, ls=(0, (2, 1)))
    if any(row.kind == DIFFERENCE for row in rows):
        axes.axvline(0, color=MUTED, lw=0.9)


def matrix(figure: Figure) -> Drawing:
    """Draw `x` down, `series` across: a number per place, and a shade that its size gives."""
    found = columns.matrix(figure.rows, figure.x, figure.series)
    wide, high = len(found.across), len(found.down)
    width = min(PAGE, 1.9 + 0.52 * wide)
    made, axes = drawing(1.0 + 0.3 * high, width)
    most = max(abs(row.value) for row in figure.rows)
    for (down, across), row in _places(found):
        if row:
            _shade(axes, across, down, row, most)
    axes.set(xlim=(0, wide), ylim=(high, 0))
    axes.set_xticks(np.arange(wide) + 0.5, found.across, rotation=40, ha="left",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(np.arange(high) + 0.5, found.down)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.spines[:].set_visible(False)
    axes.set_ylabel(FIELDS.get(figure.x, figure.x))
    axes.set_xlabel(f"{FIELDS.get(figure.series, figure.series)}; {axis_label(figure.rows)}")
    return made


def _places(found: columns.Matrix) -> Iterator[tuple[tuple[int, int], Row | None]]:
    for down, cells in enumerate(found.cells):
        for across, row in enumerate(cells):
            yield (down, across), row


def _shade(axes: Axes, left: float, top: float, row: Row, most: float) -> None:
    """Fill a place: scores by their share, differences by hue and size, losses hatched too."""
    signed = row.kind == DIFFERENCE
    depth = abs(row.value) / most if signed and most else min(max(row.value, 0), 1)
    loss = signed and row.value < 0
    box = Rectangle((left + 0.03, top + 0.04), 0.94, 0.92, lw=0, alpha=0.08 + 0.55 * depth)
    box.set_facecolor(colour(1) if loss else ACCENT)
    axes.add_patch(box)
    axes.text(left + 0.5, top + 0.52, number(row, row.value), ha="center", va="center",
              fontsize=SIZE - 0.5, color=INK)  # fmt: skip


def curve(figure: Figure) -> Drawing:
    """Draw numbers over what `setting` gives: a line per series, a panel per `x` and setting."""
    panels = _panels(figure)
    names = distinct(field_text(row, figure.series) for row in figure.rows)
    across = min(len(panels), 3)
    down = -(-len(panels) // across)
    width = PAGE if across > 1 else 5.2
    made = Drawing(figsize=(width, 0.5 + 2.1 * down + (0.5 if across == 1 else 0)),
                   layout="constrained")  # fmt: skip
    every = made.subplots(down, across, squeeze=False, sharey=True)
    for axes, (title, rows) in zip(every.flat, panels.items(), strict=False):
        plain(axes)
        _lines(axes, rows, names, figure.series)
        axes.set_title(title, fontsize=SIZE, color=INK, loc="left")
        axes.set_ylim(*limits(figure.rows))
    for axes in every.flat[len(panels) :]:
        axes.set_axis_off()
    for axes in every[:, 0]:
        axes.set_ylabel(axis_label(figure.rows))
    legend(made, every.flat[0], FIELDS.get(figure.series, ""))
    return made


def _panels(figure: Figure) -> Mapping[str, list[Row]]:
    panels: dict[str, list[Row]] = {}
    by_x = figure.x not in ("setting", figure.series)
    several = {wording.setting_name(row.setting) for row in figure.rows}
    for row in figure.rows:
        parts = [field_text(row, figure.x)] if by_x else []
        parts += [wording.setting_name(row.setting)] if len(several) > 1 else []
        panels.setdefault(", ".join(parts), []).append(row)
    return {"": panels.popitem()[1]} if len(panels) == 1 else panels


def _lines(axes: Axes, rows: Sequence[Row], names: Sequence[str], by: str) -> None:
    settings = _in_order({row.setting for row in rows})
    places = _along(settings)
    for series, name in enumerate(names):
        mine = [row for row in rows if field_text(row, by) == name]
        mine.sort(key=lambda row: places[row.setting])
        if not mine:
            continue
        along, times = [places[row.setting] for row in mine], unit(mine[0])
        known = [row for row in mine if row.low is not None and row.high is not None]
        axes.fill_between(
            [places[row.setting] for row in known],
            [times * (row.low or 0) for row in known],
            [times * (row.high or 0) for row in known],
            color=colour(series), alpha=0.14, lw=0,
        )  # fmt: skip
        axes.plot(along, [times * row.value for row in mine], color=colour(series), lw=1.4,
                  marker=mark(series), ms=4.2, mec="#ffffff", mew=0.6, label=name)  # fmt: skip
    for chance in sorted({row.chance for row in rows if row.chance and row.kind != DIFFERENCE}):
        axes.axhline(100 * chance, color=MUTED, lw=0.9, ls=(0, (2, 1)))
    if any(row.kind == DIFFERENCE for row in rows):
        axes.axhline(0, color=MUTED, lw=0.9)
    axes.set_xticks([places[one] for one in settings], [_tick(one) for one in settings])
    axes.grid(axis="y", color=RULE, lw=0.5)
    axes.set_xlabel(wording.setting_name(settings[0]))


def _in_order(settings: set[str]) -> list[str]:
    """Sort settings by their number; one without, as "clips=all", comes last."""
    numbers = {one: wording.setting_number(one) for one in settings}
    return sorted(settings, key=lambda one: (numbers[one] is None, numbers[one] or 0, one))


def _along(settings: Sequence[str]) -> dict[str, float]:
    """Place settings: by their numbers where all have one and steps are alike, else evenly."""
    numbers = [wording.setting_number(one) for one in settings]
    known = [one for one in numbers if one is not None]
    steps = np.diff(known)
    if len(known) == len(numbers) and len(steps) and steps.max() <= 4 * steps.min():
        return dict(zip(settings, known, strict=True))
    return {one: float(place) for place, one in enumerate(settings)}


def _tick(setting: str) -> str:
    found = wording.setting_number(setting)
    return f"{found:g}" if found is not None else setting.replace(":", "=").rpartition("=")[2]
