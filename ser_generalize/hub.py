"""The cards that go beside what is published: Jinja templates of `hub_cards`, rendered strictly."""

from jinja2 import Environment, PackageLoader, StrictUndefined


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
