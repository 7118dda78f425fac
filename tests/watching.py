"""Watching code at work: waiting for what another process does, counting calls."""

import time
from collections.abc import Callable
from typing import Any

import pytest


def wait_for(what: Callable[[], object], seconds: float = 90) -> None:
    """Return as soon as it is so; fail where it never is."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def count_calls(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """Return a list that grows by its arguments with every call of a module's function."""
    calls, original = [], getattr(module, name)

    def counted(*given: Any) -> Any:
        calls.append(given)
        return original(*given)

    monkeypatch.setattr(module, name, counted)
    return calls
