"""The study's figures as files and in the page: one drawing, SVG and PNG, the same bytes each time.

The page takes the SVG in and gives its colours and fonts to the reader's theme.
"""

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Drawing

from ser_generalize.benchmark.drawing import SERIES
from ser_generalize.benchmark.plots import curve, intervals, matrix
from ser_generalize.benchmark.rankings import ranks, scatter
from ser_generalize.benchmark.sections import Figure, Kind
from ser_generalize.figures import ACCENT, DPI, INK, MUTED, RULE

DRAW: Mapping[Kind, Callable[[Figure], Drawing]] = {
    "intervals": intervals,
    "curve": curve,
    "matrix": matrix,
    "ranks": ranks,
    "scatter": scatter,
}
FONTS = ["DejaVu Sans", "Helvetica", "Arial"]
THEME = {  # the drawing's colours: the page's
    INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", ACCENT: "var(--accent)",
    "#ffffff": "var(--panel)",
} | {colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)}  # fmt: skip


def draw(figure: Figure) -> tuple[bytes, bytes]:
    """Return a figure as SVG and as PNG."""
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text: it can be searched, read out and edited
        "svg.hashsalt": figure.name,  # ids that are the same in every run, and no other figure's
        "font.family": FONTS[:1],
        "text.parse_math": False,  # a dollar sign in a name is no formula
        "hatch.linewidth": 0.4,
    }
    with matplotlib.rc_context(settings):
        drawing = DRAW[figure.kind](figure)
        return _save(drawing, "svg", {"Date": None}), _save(drawing, "png", {"Software": None})


def _save(drawing: Drawing, form: str, metadata: Mapping[str, None]) -> bytes:
    file = io.BytesIO()
    drawing.savefig(file, format=form, dpi=DPI, facecolor="white", metadata=dict(metadata))
    return file.getvalue()


def themed(svg: bytes, figure: Figure) -> str:
    """Return an SVG as part of a page: in its colours and fonts, with ids that no other has."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # "axes_1" is in every drawing
    for colour, variable in THEME.items():
        text = text.replace(colour, variable)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    width, height = re.findall(r'(?:width|height)="([\d.]+)pt"', text[: text.index(">")])
    label = escape(f"{figure.title}. The numbers are in the table below.", quote=True)
    size = f'viewBox="0 0 {width} {height}" style="--wide:{width}"'
    head = f'<svg class="drawing" {size} role="img" aria-label="{label}">'
    return head + text[text.index(">") + 1 :]
