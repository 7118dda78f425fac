"""The Benchmark tab: the last report of `ser-generalize benchmark`, as boards that can be filtered.

A board is an HTML table that looks like a picture: eyes, screen readers and phones read the same. A
report is somebody's data, so every text of it is escaped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import gradio as gr
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ser_generalize.benchmark.boards import (
    ALL,
    ITSELF,
    Choice,
    find_report,
    in_order,
    leaderboard,
    leaks,
    matrices,
    read_uar,
)
from ser_generalize.benchmark.sections import Row
from ser_generalize.errors import InputError
from ser_generalize.predictions import PLAIN
from ser_generalize.protocols import LEAKS, PROTOCOLS

MENUS = ("Protocol", "Label set", "Adaptation", "Corpus", "Encoder")  # in the order of Choice
SHOWN = 3  # systems per corpus, until one corpus is chosen
SYSTEM = ("encoder", "window", "sampler", "head")
PARTS = (*SYSTEM, "trained_on")  # what names are made of
SAMPLERS = {"none": "no sampling", "under": "under-sampling", "over": "over-sampling"}
Menu = list[tuple[str, str]]  # text and value of every entry


def benchmark_tab(source: str | None) -> None:
    """Fill a tab of the Blocks around it with the report in a local folder or a Hub dataset.

    The report is looked up whenever the page is opened, so that one pushed meanwhile is shown.
    """
    file = gr.State("")
    with gr.Row(visible=False) as filters:
        chosen = [
            gr.Dropdown(label=label, choices=[], filterable=False, min_width=140) for label in MENUS
        ]
    boards = gr.HTML(apply_default_css=False)
    quietly: dict[str, Any] = {"queue": False, "api_visibility": "private"}

    def changed(file: str, *values: str) -> str:
        return render_boards(read_uar(Path(file)), Choice(*values))

    gr.on(
        fn=lambda: opened(source),
        inputs=[],
        outputs=[file, filters, *chosen, boards],
        **quietly,
    )
    gr.on(
        [menu.input for menu in chosen],
        changed,
        [file, *chosen],
        boards,
        show_progress="hidden",
        **quietly,
    )


def opened(source: str | None) -> list[Any]:
    """Return the report's file, and updates of the row of menus, of every menu, and the boards."""
    try:
        file = find_report(source) if source else None
        rows = read_uar(file) if file else ()
    except InputError as error:
        return _without_menus(render("error", error=str(error)))
    if not rows:
        return _without_menus(render("empty", source=source))
    menus = menus_of(rows)
    choice = Choice(*(menu[0][1] for menu in menus))
    updates = [
        gr.Dropdown(choices=menu, value=value)
        for menu, value in zip(menus, astuple(choice), strict=True)
    ]
    return [str(file), gr.Row(visible=True), *updates, render_boards(rows, choice)]


def _without_menus(page: str) -> list[Any]:
    return ["", gr.Row(visible=False), *(gr.skip() for _ in MENUS), page]


def menus_of(rows: Sequence[Row]) -> list[Menu]:
    """Return what can be chosen in every menu, what is shown at first in front."""
    plain = [row for row in rows if not row.setting]
    return [
        [(name, name) for name in _values(plain, "protocol")],
        [(name, name) for name in _values(plain, "label_set")],
        [("none (plain)" if name == PLAIN else name, name) for name in _values(plain, "adapt")],
        [("all corpora", ALL), *((name, name) for name in _values(plain, "corpus"))],
        [("all encoders", ALL), *((name, name) for name in _values(plain, "encoder"))],
    ]


def _values(rows: Sequence[Row], name: str) -> list[str]:
    return sorted({getattr(row, name) for row in rows}, key=in_order)


def render_boards(rows: Sequence[Row], choice: Choice) -> str:
    """Return the HTML of the three boards."""
    rankings = leaderboard(rows, choice)
    ranked = [row for ranking in rankings for row in ranking.rows]
    return render(
        "boards",
        choice=choice,
        rankings=rankings,
        lost=sorted({leak for row in ranked for leak in row.leaks.split(",") if leak}),
        matrices=matrices(rows, choice),
        leaks=leaks(rows, choice),
        names=Names(ranked, PARTS),
        systems=Names((row for row in rows if choice.keeps(row)), SYSTEM),
    )


class Names:
    """What tells rows apart: a name is made of the fields in which they differ, and no others."""

    def __init__(self, rows: Iterable[Row], parts: Sequence[str]) -> None:
        rows = list(rows)
        values = {name: {_said(name, row) for row in rows} for name in parts}
        self._differ = [name for name, said in values.items() if len(said) > 1] or ["encoder"]
        self.common = ", ".join(
            one for name, said in values.items() if name not in self._differ for one in said if one
        )

    def __call__(self, row: Row) -> str:
        """Return the name of a row."""
        return " · ".join(filter(None, (_said(name, row) for name in self._differ)))


def _said(name: str, row: Row) -> str:
    """Return a field of a row in words, empty where it says nothing."""
    value = str(getattr(row, name))
    said = {
        "encoder": value,
        "window": f"{value} window",
        "sampler": SAMPLERS.get(value, value),
        "head": f"head {value}",
        "trained_on": "" if value in (*ITSELF, row.corpus) else f"trained on {value}",
    }
    return said[name] if value else ""


def protocol_title(name: str) -> str:
    """Return a protocol's name and what it means, in a few words."""
    known = PROTOCOLS.get(name)  # None: of another version of this package
    return f"{name}: {known.title.partition(':')[0]}" if known else name


def percent(share: float) -> str:
    """Return a share in percent, as it is shown: 0.7123 is 71.2."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """Return a difference of shares in points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def above_chance(row: Row) -> float:
    """Return how far a score is on the way from chance to all right, a share."""
    chance = row.chance or 0.0
    return max(0.0, (row.value - chance) / (1 - chance)) if chance < 1 else 0.0


def render(page: str, **values: object) -> str:
    """Return a page of benchmark.html.jinja: "boards", "empty" or "error"."""
    return _environment().get_template("benchmark.html.jinja").render(page=page, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = (percent, points, above_chance, protocol_title, median)
    environment.globals |= {function.__name__: function for function in functions}
    environment.globals |= {"meaning": LEAKS, "plain": PLAIN, "all": ALL, "shown": SHOWN}
    return environment
