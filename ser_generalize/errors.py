"""Expected mistakes: one line that says what is wrong, where, and what to do."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(Exception):
    """A mistake in what the user gave us; every command prints it as one line and exits 2."""


def one_of(what: str, given: str, valid: Iterable[str]) -> str:
    """Return `given` if it is valid, else raise an InputError that lists the valid values."""
    valid = list(valid)
    if given not in valid:
        raise InputError(f"unknown {what} {given!r}; choose one of: {', '.join(valid)}")
    return given


def listing(items: Iterable[object], limit: int = 5) -> str:
    """Join the first few items for an error line and count the rest: "a, b, c and 14 more"."""
    texts = [str(item) for item in items]
    shown = ", ".join(texts[:limit])
    return shown if len(texts) <= limit else f"{shown} and {len(texts) - limit} more"


@contextmanager
def silenced(*libraries: str) -> Iterator[None]:
    """Keep libraries from logging, while they run, what an InputError is about to say."""
    loggers = [logging.getLogger(name) for name in libraries]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
