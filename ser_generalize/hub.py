"""The Hub: what its ids look like, and the cards that go beside what is published."""

import re

from jinja2 import Environment, PackageLoader, StrictUndefined

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_id(name: str) -> bool:
    """Return whether a name can be a repository of the Hub, ORG/NAME, and no mistyped folder."""
    return HUB_ID.fullmatch(name) is not None and not name.startswith(".")


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
