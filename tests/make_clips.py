"""Columns of made-up clips for the tests of protocols, plain and complete or odd in every way."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from random import Random

from hypothesis import strategies as st

from ser_generalize.protocols import Clips, Fold

Columns = dict[str, list[str | None]]
Parts = dict[str, set[str]]
NAMES = tuple(field.name for field in fields(Clips))
CLASSES = ("angry", "happy", "neutral", "sad")


def speaker(
    name: str | None,
    clips: int,
    corpus: str = "c",
    classes: Sequence[str] = CLASSES,
    texts: Sequence[str | None] = ("t1", "t2"),
    session: str | None = None,
    splits: Sequence[str | None] = ("train", "dev", "test"),
) -> Columns:
    """Return the clips of one speaker, who says every text in every class, again and again."""
    numbers = range(clips)
    ids = [f"{corpus}/{name}-{number:03d}" for number in numbers]
    found: Columns = {
        "clip_id": list(ids),
        "corpus": [corpus] * clips,
        "speaker": [name if name is None else f"{corpus}:{name}"] * clips,
        "sha256": [f"sha of {clip_id}" for clip_id in ids],
        "session": [session if session is None else f"{corpus}:{session}"] * clips,
        "text_id": [texts[number // len(classes) % len(texts)] for number in numbers],
        "official_split": [splits[number % len(splits)] for number in numbers],
        "label": [classes[number % len(classes)] for number in numbers],
    }
    found["text_id"] = [text and f"{corpus}:{text}" for text in found["text_id"]]
    return found


def together(parts: Sequence[Mapping[str, Sequence[str | None]]]) -> Columns:
    return {name: [value for part in parts for value in part[name]] for name in NAMES}


def corpus(name: str = "c", speakers: int = 4, clips: int = 24) -> Columns:
    """Return a corpus that every protocol but `emobox` can divide; two speakers a session."""
    return together(
        [
            speaker(f"{n:02d}", clips, name, session=f"s{(n + 1) // 2}")
            for n in range(1, speakers + 1)
        ]
    )


def reordered(columns: Columns, order: Sequence[int]) -> Columns:
    return {name: [values[row] for row in order] for name, values in columns.items()}


def shuffled_rows(columns: Columns, randoms: Random) -> list[int]:
    rows = list(range(len(columns["clip_id"])))
    randoms.shuffle(rows)
    return rows


def named(columns: Columns, folds: Sequence[Fold]) -> dict[str, Parts]:
    """Return the clip ids of every part of every fold."""
    ids = columns["clip_id"]
    return {
        fold.name: {
            part: {str(ids[row]) for row in getattr(fold, part)}
            for part in ("train", "validation", "test")
        }
        for fold in folds
    }


@st.composite
def odd_corpora(draw: st.DrawFn) -> Columns:
    """Draw corpora with unknown speakers, single clips, missing classes, texts and sessions.

    Some recordings are there twice, of one speaker or of two.
    """
    some = st.lists(st.sampled_from(CLASSES), min_size=1, max_size=4, unique=True)
    texts = st.lists(st.sampled_from(["t1", "t2", "t3", None]), min_size=1, max_size=4)
    splits = st.permutations(["train", "dev", "test", None]).map(lambda all_of: all_of[:3])
    session = st.sampled_from(["s1", "s2", "s3", None])
    parts = []
    for name in draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)):
        for number in range(draw(st.integers(1, 6))):
            who = draw(st.sampled_from([f"{number}", f"{number}", f"{number}", None]))
            clips = draw(st.one_of(st.just(1), st.integers(1, 16)))
            given = (draw(some), draw(texts), draw(session), draw(splits))
            made = speaker(who, clips, name, *given)
            made["clip_id"] = [f"{name}/{number}-{place}" for place in range(clips)]
            made["sha256"] = [f"sha of {clip_id}" for clip_id in made["clip_id"]]
            parts.append(made)
    columns = together(parts)
    rows = st.integers(0, len(columns["clip_id"]) - 1)
    for one, other in draw(st.lists(st.tuples(rows, rows), max_size=2)):
        columns["sha256"][one] = columns["sha256"][other]
    return reordered(columns, shuffled_rows(columns, draw(st.randoms(use_true_random=False))))
