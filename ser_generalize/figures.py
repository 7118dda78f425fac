"""The report's pictures as files for papers: PNG, 300 dpi, one or two columns wide.

The page itself draws its charts in HTML and SVG, so that they follow the reader's light or dark
theme.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ser_generalize.benchmark import sections
from ser_generalize.calibration import calibrate_predictions, reliability
from ser_generalize.statistics import MACRO_AVERAGE, Estimate
from ser_generalize.summary import Group, Run, corpora, swarm

INK, MUTED, RULE, ACCENT = "#1d2327", "#626b72", "#d9d6cc", "#12646b"
HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", "#57a7a8"])
COLUMN, PAGE = 3.4, 6.9  # inches: one and two columns of a paper
DPI = 300
SWARM_GAP = 0.022  # of the axis: dots closer than this are stacked

Draw = Callable[[], Figure]


def figures(groups: Sequence[Group]) -> Iterator[tuple[str, Draw]]:
    """Yield the name, without suffix, of every picture of a report and what draws it."""
    for number, group in enumerate(groups, 1):
        yield f"group{number}-uar", partial(draw_scores, group)
        if any(comparison.results for comparison in group.comparisons):
            yield f"group{number}-differences", partial(draw_differences, group)
    for number, run in enumerate((run for group in groups for run in group.runs), 1):
        if run.crossed:
            yield f"run{number}-crossed", partial(draw_crossed, run)
        yield f"run{number}-reliability", partial(draw_reliability, run)
        for corpus in run.clusters:
            stem = re.sub(r"[^\w.-]", "_", f"run{number}-{corpus}")
            yield f"{stem}-confusion", partial(draw_confusion, run, corpus)
            yield f"{stem}-speakers", partial(draw_speakers, run, corpus)


def save(draw: Draw, path: Path) -> None:
    """Draw a figure and write it as PNG; a dollar sign in a name is a dollar sign, not formula."""
    with matplotlib.rc_context({"text.parse_math": False}):
        draw().savefig(path, dpi=DPI, facecolor="white")


def draw_scores(group: Group) -> Figure:
    """Draw UAR with its interval, a row per corpus and run; the tick of every row is chance."""
    rows = [
        (corpus, _label(run), result.estimates["uar"], result.chance)
        for corpus in corpora(group.runs)
        for run in group.runs
        if (result := run.result(corpus))
    ]
    by_name = len(group.runs) > 1 or any(run.adapted for run in group.runs)
    figure, axes = _forest([row[:3] for row in rows], with_run=by_name)
    chances = np.array([chance for *_, chance in rows])
    heights = np.arange(len(rows))
    axes.vlines(100 * chances, heights - 0.35, heights + 0.35, color=MUTED, lw=0.8, ls=(0, (2, 1)))
    axes.set_xlim(0, 100)
    axes.set_xlabel("UAR, % (95 % interval; dashed: chance)")
    return figure


def draw_differences(group: Group) -> Figure:
    """Draw the difference in UAR to the first run; a filled dot's interval excludes zero."""
    rows = [
        (corpus, _label(comparison.run), result.estimates["uar"])
        for corpus in corpora(group.comparisons)
        for comparison in group.comparisons
        if (result := comparison.result(corpus))
    ]
    figure, axes = _forest(rows, with_run=True)
    axes.axvline(0, color=MUTED, lw=0.8)
    axes.set_xlabel(f"UAR minus that of {group.runs[0].name}, points (95 % interval)")
    return figure


def draw_crossed(run: Run) -> Figure:
    """Draw UAR by the corpus trained on and the one tested."""
    from ser_generalize.benchmark.plots import matrix  # takes its colours from here

    shown = sections.Figure("crossed", "matrix", "", "", run.crossed, "trained_on", "corpus")
    return matrix(shown)


def draw_confusion(run: Run, corpus: str) -> Figure:
    """Draw a confusion matrix: shade and percentage by true class (row), the count below."""
    counts, classes = run.confusion(corpus), run.about.classes
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = max(COLUMN, 1.2 + 0.5 * len(classes))
    figure, axes = _axes(size, size)
    axes.imshow(shares, cmap=HEAT, vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        percentage = f"{100 * share:.0f}\n" if counts[row].sum() else "–\n"
        axes.text(column, row, percentage, ha="center", va="center", fontsize=8)
        count = f"\n{counts[row, column]:,}"
        axes.text(column, row, count, ha="center", va="center", fontsize=5.5)
    axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(
        f"{corpus}{run.adapted}: % of the true class, clips below", fontsize=7, color=MUTED
    )
    axes.spines[:].set_visible(False)
    return figure


def draw_speakers(run: Run, corpus: str) -> Figure:
    """Draw a dot per speaker that has all classes; line and band: the corpus's UAR and interval."""
    values = [speaker.uar for speaker in run.speakers(corpus) if speaker.uar is not None]
    rows = swarm(values, SWARM_GAP)
    figure, axes = _axes(COLUMN, 1.0 + 0.09 * max(rows, default=0))
    result = run.result(corpus)
    assert result is not None
    _reference(axes, result.estimates["uar"], result.chance)
    axes.scatter(
        100 * np.array(values), rows, s=14, color=ACCENT, edgecolor="white", lw=0.4, zorder=3
    )
    axes.set(xlim=(0, 100), ylim=(-1, max(rows, default=0) + 1), yticks=[])
    axes.set_xlabel(f"UAR of each speaker of {corpus}, %{run.adapted}")
    axes.spines["left"].set_visible(False)
    return figure


def draw_reliability(run: Run) -> Figure:
    """Draw accuracy against confidence, as predicted and under a temperature of other speakers.

    Below the diagonal a run is surer than right; a dot's area is its share of the clips.
    """
    predictions = run.predictions
    labels, found = predictions.labels(), calibrate_predictions(predictions)
    figure, axes = _axes(COLUMN, COLUMN)
    axes.plot([0, 100], [0, 100], color=MUTED, lw=0.8, ls=(0, (2, 1)))
    for name, probabilities, error, colour in (
        ("as predicted", predictions.probabilities(), found.error_before, MUTED),
        ("with temperature", found.probabilities, found.error_after, ACCENT),
    ):
        bins = reliability(probabilities, labels)
        points = 100 * np.array([(one.confidence, one.accuracy) for one in bins])
        sizes = [120 * one.clips / len(labels) + 6 for one in bins]
        across, up = points.T
        axes.plot(across, up, color=colour, lw=0.9)
        label = f"{name}: error {100 * error:.1f} points"
        axes.scatter(across, up, s=sizes, color=colour, edgecolor="white", lw=0.4, label=label)
    axes.set(xlim=(0, 100), ylim=(0, 100))
    axes.set(xlabel="confidence, %", ylabel="accuracy, %")
    axes.legend(fontsize=6.5, frameon=False, loc="upper left")
    axes.set_title(_label(run), fontsize=7, color=MUTED)
    return figure


def _label(run: Run) -> str:
    """Name a run together with what its protocol leaks, so that no picture travels without it."""
    leaks = ", ".join(run.about.leaks)
    return f"{run.name} (leaks {leaks})" if leaks else run.name


def _reference(axes: Axes, estimate: Estimate, chance: float) -> None:
    axes.axvline(100 * estimate.value, color=ACCENT, lw=0.9)
    axes.axvline(100 * chance, color=MUTED, lw=0.8, ls=(0, (2, 1)))
    if estimate.interval:
        axes.axvspan(
            100 * estimate.interval.low,
            100 * estimate.interval.high,
            color=ACCENT,
            alpha=0.13,
            lw=0,
        )


def _forest(rows: Sequence[tuple[str, str, Estimate]], with_run: bool) -> tuple[Figure, Axes]:
    figure, axes = _axes(PAGE, 0.7 + 0.2 * len(rows))
    for height, (corpus, _, estimate) in enumerate(rows):
        weight = 2.2 if corpus == MACRO_AVERAGE else 1.4
        if estimate.interval:
            low, high = 100 * estimate.interval.low, 100 * estimate.interval.high
            axes.hlines(height, low, high, color=ACCENT, lw=weight)
        filled = bool(
            estimate.interval and not estimate.interval.low <= 0 <= estimate.interval.high
        )
        face = ACCENT if filled else "white"
        axes.plot(100 * estimate.value, height, "o", ms=4.5, mfc=face, mec=ACCENT, mew=1)
    labels = [f"{corpus} · {run}" if with_run else corpus for corpus, run, _ in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    return figure, axes


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(RULE)
    axes.tick_params(labelsize=7, length=0, labelcolor=INK)
    axes.xaxis.label.set(fontsize=7.5, color=INK)
    axes.yaxis.label.set(fontsize=7.5, color=INK)
    return figure, axes
