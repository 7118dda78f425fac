"""Label sets: what an emotion counts as by default, and what the named alternatives change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_generalize.labels import (
    ALTERNATIVES,
    BURSTS_COUNT,
    CHOICES,
    EMOTIONS,
    FIVE,
    FOUR,
    in_label_set,
    plurality,
)


@pytest.mark.parametrize(
    ("corpus", "emotion", "counts_as"),
    [
        ("iemocap", "excited", "happy"),
        ("jl_corpus", "excited", None),
        ("asvp_esd", "excited", None),
        ("ravdess", "calm", None),
        ("emov_db", "amused", None),
        ("emodb", "bored", None),
        ("iemocap", None, None),
        ("meld", "sad", "sad"),
    ],
)
def test_what_emotions_count_as_by_default(
    corpus: str, emotion: str | None, counts_as: str | None
) -> None:
    assert in_label_set(corpus, emotion, "speech", FOUR) == counts_as


def test_surprise_is_in_the_five_only() -> None:
    assert in_label_set("tess", "surprised", "speech", FIVE) == "surprised"
    assert in_label_set("tess", "surprised", "speech", FOUR) is None


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_an_alternative_changes_its_own_corpus_and_emotion_only(choice) -> None:  # type: ignore[no-untyped-def]
    changed = {
        (corpus, emotion)
        for corpus in {each.corpus for each in CHOICES} | {"meld"}
        for emotion in EMOTIONS
        if in_label_set(corpus, emotion, "speech", EMOTIONS)
        != in_label_set(corpus, emotion, "speech", EMOTIONS, [choice.name])
    }
    assert changed == {(choice.corpus, choice.emotion)}
    assert {choice.emotion, choice.counts_as, choice.alternative} <= set(EMOTIONS)


def test_bursts_stand_outside_unless_they_are_asked_for() -> None:
    assert in_label_set("asvp_esd", "happy", "burst", FOUR) is None
    assert in_label_set("asvp_esd", "happy", "burst", FOUR, [BURSTS_COUNT]) == "happy"


def test_alternatives_have_names_of_their_own() -> None:
    assert len(set(ALTERNATIVES)) == len(ALTERNATIVES) == len(CHOICES) + 1


VOTES = st.lists(st.tuples(st.sampled_from(EMOTIONS[:5]), st.integers(0, 4)), max_size=8)


@given(votes=VOTES)
def test_plurality_is_the_one_emotion_that_leads(votes: list[tuple[str, int]]) -> None:
    ballots = [emotion for emotion, count in votes for _ in range(count)]
    leaders = {e for e in ballots if ballots.count(e) == max(map(ballots.count, ballots))}
    assert plurality(votes) == (leaders.pop() if len(leaders) == 1 else None)
    assert plurality(reversed(votes)) == plurality(votes)


@given(winners=st.sets(st.sampled_from(EMOTIONS)))
def test_winners_without_numbers_tie_unless_there_is_one(winners: set[str]) -> None:
    expected = next(iter(winners)) if len(winners) == 1 else None
    assert plurality((emotion, None) for emotion in winners) == expected


def test_a_plurality_need_be_no_majority() -> None:
    assert plurality([("sad", 2), ("angry", 1), ("bored", 1)]) == "sad"
