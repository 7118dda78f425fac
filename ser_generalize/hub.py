"""The Hub: what its ids look like, the cards beside what is published, and what may go where."""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from ser_generalize.errors import InputError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
Visibility = Literal["public", "gated", "private"]
STRICTNESS: dict[str, int] = {"public": 0, "gated": 1, "private": 2}


def is_hub_id(name: str) -> bool:
    """Return whether a name can be a repository of the Hub, ORG/NAME, and no mistyped folder."""
    return HUB_ID.fullmatch(name) is not None and not name.startswith(".")


def add_visibility(command: ArgumentParser) -> None:
    """Let a command be told who sees what it pushes; `chosen_visibility` reads it."""
    seen = command.add_mutually_exclusive_group()
    seen.add_argument("--gated", action="store_true", help="users accept the terms first")
    seen.add_argument("--private", action="store_true", help="only members of ORG see it")


def chosen_visibility(arguments: Namespace) -> Visibility:
    """Return who is to see what is pushed: everybody, where nothing else was asked for."""
    return "private" if arguments.private else "gated" if arguments.gated else "public"


def check_redistribution(
    repo: str, visibility: Visibility, holdings: Iterable[tuple[str, str]]
) -> None:
    """Refuse to put into a repository what the terms of its corpora keep out of it.

    `holdings` are pairs of a corpus and its redistribution (public, gated or private); what is made
    of several corpora, as embeddings are, has one pair for each. A repository may hold whatever may
    be as visible as the repository is, or more. Raises InputError naming the corpora that may not.
    """
    holdings = list(holdings)
    reasons = [
        f"{', '.join(names)} may only go into a {redistribution} repository"
        for redistribution in ("gated", "private")
        if STRICTNESS[redistribution] > STRICTNESS[visibility]
        if (names := [name for name, terms in holdings if terms == redistribution])
    ]
    if reasons:
        raise InputError(
            f"{repo} is {visibility}, and by its terms {', and '.join(reasons)}; "
            "give a private repository and --private, or leave them out"
        )


def render_card(template: str, **values: object) -> str:
    """Render a card; a value that the template names and nobody gave is an error, not a blank."""
    environment = Environment(  # noqa: S701 - a card is Markdown, nothing is escaped as HTML
        loader=PackageLoader("hub_cards", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def hub_licence(licence: str) -> str:
    """Return the Hub's own identifier of a licence, "other" where it has none."""
    if licence.startswith("LicenseRef-"):
        return "other"
    return {"ODbL-1.0": "odbl"}.get(licence, licence.lower())


# Each lets its users do less than those before it; "other" is whatever its own text says.
LICENCES = (
    "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "odbl", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0", "other",
)  # fmt: skip


def strictest_licence(licences: Iterable[str]) -> str:
    """Return the Hub's identifier of the licence that lets users do least: it binds what is made.

    An unknown licence is as strict as can be, so it gives "other".
    """
    found = {hub_licence(licence) for licence in licences}
    return max((one if one in LICENCES else "other" for one in found), key=LICENCES.index)
