"""Protocols: whatever the corpora look like, nobody is on both sides of a fold."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_generalize.errors import InputError
from ser_generalize.protocols import FOLD_CLIPS, TRAIN_ON, Column, leave_one_speaker_out

SETTINGS = settings(deadline=None, derandomize=True)


@dataclass(frozen=True)
class Clips:
    """Columns of a made-up dataset, in any order."""

    corpora: Column
    speakers: Column
    hashes: Column


def clips(speakers: dict[str | None, int], corpus: str = "c", copies: int = 0) -> Clips:
    """Return a corpus with so many clips of every speaker; the last `copies` repeat the first."""
    names = [name for name, count in speakers.items() for _ in range(count)]
    owned = [range(max(1, count - copies)) for count in speakers.values()]
    recordings = [
        f"{corpus} {name} {numbers[index % len(numbers)]}"
        for (name, count), numbers in zip(speakers.items(), owned, strict=True)
        for index in range(count)
    ]
    columns = ([corpus] * len(names), names, recordings)
    return Clips(*(np.array(column, dtype=object) for column in columns))


@st.composite
def datasets(draw: st.DrawFn) -> Clips:
    """Draw one to three corpora of speakers of very unequal size, shuffled."""
    parts = []
    for corpus in draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)):
        counts = draw(st.lists(st.integers(1, 25), min_size=1, max_size=9))
        # Two speakers large enough for a fold each: without them there is nothing to test.
        counts += draw(st.lists(st.integers(FOLD_CLIPS, 30), min_size=2, max_size=3))
        speakers: dict[str | None, int] = {f"{corpus}:{i}": n for i, n in enumerate(counts)}
        speakers[None] = draw(st.integers(0, 12))
        parts.append(clips(speakers, corpus, copies=draw(st.integers(0, 3))))
    order = draw(st.randoms(use_true_random=False))
    columns = [np.concatenate([getattr(p, n) for p in parts]) for n in Clips.__dataclass_fields__]
    shuffled = list(range(len(columns[0])))
    order.shuffle(shuffled)
    return Clips(*(column[shuffled] for column in columns))


@SETTINGS
@given(datasets(), st.sampled_from(TRAIN_ON))
def test_no_speaker_and_no_recording_is_on_both_sides(data: Clips, train_on: str) -> None:
    for fold in leave_one_speaker_out(data.corpora, data.speakers, train_on):
        trained, tested = set(data.speakers[fold.train]), set(data.speakers[fold.test])
        assert trained and tested
        assert not trained & tested
        assert not set(data.hashes[fold.train]) & set(data.hashes[fold.test])
        fold.check(data.speakers, data.hashes)


@SETTINGS
@given(datasets(), st.sampled_from(TRAIN_ON))
def test_every_clip_of_a_known_speaker_is_tested_once_and_no_other(
    data: Clips, train_on: str
) -> None:
    folds = leave_one_speaker_out(data.corpora, data.speakers, train_on)
    known = [row for row, name in enumerate(data.speakers) if name is not None]
    assert sorted(np.concatenate([fold.test for fold in folds])) == known
    assert len({fold.name for fold in folds}) == len(folds)


@SETTINGS
@given(datasets(), st.sampled_from(TRAIN_ON))
def test_training_takes_everybody_else_within_the_corpus_or_in_all(
    data: Clips, train_on: str
) -> None:
    for fold in leave_one_speaker_out(data.corpora, data.speakers, train_on):
        (corpus,) = set(data.corpora[fold.test])  # a fold tests one corpus
        pool = data.corpora == corpus if train_on == "each" else data.corpora != ""
        assert set(fold.train) == set(np.flatnonzero(pool)) - set(fold.test)


@SETTINGS
@given(datasets())
def test_small_speakers_share_folds_and_others_have_their_own(data: Clips) -> None:
    sizes = Counter(data.speakers)
    small = {name for name, size in sizes.items() if size < FOLD_CLIPS}
    for fold in leave_one_speaker_out(data.corpora, data.speakers):
        tested = set(data.speakers[fold.test])
        if tested & small:
            (corpus,) = set(data.corpora[fold.test])
            all_small = small & set(data.speakers[data.corpora == corpus])
            assert tested <= small
            assert len(fold.test) >= FOLD_CLIPS or tested == all_small - {None}
        else:
            assert tested == {fold.name}


@pytest.mark.parametrize("size", [1, 4, 9])
def test_many_tiny_speakers_make_few_folds_and_lose_none(size: int) -> None:
    tiny = clips({f"c:{i:02d}": size for i in range(29)})
    folds = leave_one_speaker_out(tiny.corpora, tiny.speakers)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(29 * size))
    assert all(FOLD_CLIPS <= len(fold.test) < 3 * FOLD_CLIPS for fold in folds)


def test_a_corpus_of_tiny_speakers_alone_is_still_split() -> None:
    data = clips({"c:tiny": 3, "c:small": 9, None: 2})
    folds = leave_one_speaker_out(data.corpora, data.speakers)
    assert [(fold.name, len(fold.test), len(fold.train)) for fold in folds] == [
        ("c:small", 9, 5), ("c:tiny", 3, 11),
    ]  # fmt: skip


def test_folds_do_not_depend_on_the_order_of_the_rows() -> None:
    data = clips({"c:a": 12, "c:b": 3, "c:c": 9, "c:d": 4, "c:e": 2, None: 5})
    back = np.arange(len(data.speakers))[::-1]
    forward = leave_one_speaker_out(data.corpora, data.speakers)
    backward = leave_one_speaker_out(data.corpora[back], data.speakers[back])
    assert [fold.name for fold in forward] == [fold.name for fold in backward]
    assert [set(f.test) for f in forward] == [set(back[f.test]) for f in backward]


def test_a_recording_under_two_speakers_is_refused() -> None:
    data = clips({"c:a": 12, "c:b": 12})
    data.hashes[0] = data.hashes[-1]
    fold, _ = leave_one_speaker_out(data.corpora, data.speakers)
    with pytest.raises(InputError, match=r"fold c:a leaks: recording .*c c:b 11"):
        fold.check(data.speakers, data.hashes)


def test_a_recording_of_a_test_speaker_filed_as_unknown_is_refused() -> None:
    data = clips({"c:a": 12, "c:b": 12, None: 3})
    data.hashes[-1] = data.hashes[0]
    first, second = leave_one_speaker_out(data.corpora, data.speakers)
    with pytest.raises(InputError, match="fold c:a leaks: recording"):
        first.check(data.speakers, data.hashes)
    second.check(data.speakers, data.hashes)  # both copies are trained on: no leak


def test_one_name_for_the_speakers_of_two_corpora_is_refused_by_the_union() -> None:
    a, b = clips({"1": 12, "2": 12}, "a"), clips({"1": 12, "2": 12}, "b")
    corpora, speakers, hashes = (
        np.concatenate([getattr(part, name) for part in (a, b)])
        for name in Clips.__dataclass_fields__
    )
    for fold in leave_one_speaker_out(corpora, speakers, "each"):
        fold.check(speakers, hashes)
    with pytest.raises(InputError, match=r"leaks: speaker 1 is in both .* --corpora"):
        leave_one_speaker_out(corpora, speakers, "union")[0].check(speakers, hashes)


@pytest.mark.parametrize(
    ("speakers", "named"),
    [
        ({"c:lonely": 40}, "c:lonely"),
        ({"c:lonely": 40, None: 40}, "c:lonely"),
        ({None: 40}, "names none"),
    ],
)
def test_nobody_to_train_on_is_refused(speakers: dict[str | None, int], named: str) -> None:
    good, bad = clips({"b:a": 12, "b:b": 12}, "b"), clips(speakers, "bad")
    with pytest.raises(InputError, match=rf"corpus bad .*{named}.* among its \d+ clips"):
        leave_one_speaker_out(
            np.concatenate([good.corpora, bad.corpora]),
            np.concatenate([good.speakers, bad.speakers]),
            "union",
        )
