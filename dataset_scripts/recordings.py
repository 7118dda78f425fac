"""Which recording is which: the same audio is one recording, whatever its files are called."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

Row = dict[str, Any]  # of a Clip; here: clip_id, sha256, native_label, speaker
Reasons = dict[int, str]  # position of a row: why it is left out


def repetitions(rows: Sequence[Row]) -> Reasons:
    """Return the rows to leave out so that each recording is there once and each id is one clip's.

    The first of several copies is kept; where their labels or speakers contradict each other, none.
    """
    reasons: Reasons = {}
    taken: set[str] = set()
    for first, *others in copies(rows):
        same = [rows[position] for position in (first, *others)]
        clip_id = rows[first]["clip_id"]
        if contradiction := contradict(same):
            reasons |= dict.fromkeys((first, *others), contradiction)
            continue
        reasons |= dict.fromkeys(others, f"the same recording as {clip_id}")
        if clip_id in taken:
            reasons[first] = f"another recording is called {clip_id} too"
        taken.add(clip_id)
    return reasons


def copies(rows: Sequence[Row]) -> Iterator[list[int]]:
    """Yield the positions of the rows that hold the same recording, recording by recording."""
    found: dict[str, list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        found[row["sha256"]].append(position)
    yield from found.values()


def contradict(same: Sequence[Row]) -> str | None:
    """Return how rows of one recording contradict each other, None if they do not."""
    for column in ("native_label", "speaker"):
        if len({row[column] for row in same}) > 1:
            claims = ", ".join(f"{row['clip_id']}: {row[column]}" for row in same)
            return f"one recording with more than one {column.replace('_', ' ')} ({claims})"
    return None
