"""Jinja templates of the cards that go to the Hub; `ser_generalize.hub` renders them."""
