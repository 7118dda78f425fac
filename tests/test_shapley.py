"""Shapley values against their definition, their axioms, and the error of a sample of the sets."""

from collections.abc import Callable
from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ser_generalize.benchmark.shapley import (
    LEAST,
    Game,
    Subset,
    estimate,
    of_size,
    sampling_order,
    shapley,
)
from ser_generalize.scores import uar
from ser_generalize.statistics import difference_estimate, sample, score_estimate

CLIPS = 20  # of every speaker and class
SPEAKERS, CLASSES = 5, 4


def game(sets: list[Subset], players: int, hits: Callable[[Subset], NDArray[np.int64]]) -> Game:
    """Return the game of a corpus that is none of the players; hits are [speakers, classes]."""
    members = np.array([[place in one for place in range(players)] for one in sets])
    clips = np.full((SPEAKERS, CLASSES), float(CLIPS))
    values = np.array([hits(one) for one in sets], dtype=float)
    return Game(np.arange(len(sets)), members, values, clips, SPEAKERS)


def complete(players: int) -> list[Subset]:
    """Return all sets of the players but the empty one."""
    numbers = range(1, 2**players)
    return [tuple(p for p in range(players) if number >> p & 1) for number in numbers]


def values_of(one: Game) -> dict[Subset, float]:
    """Return what every set is worth, by a library function of whole confusion counts."""
    found: dict[Subset, float] = {(): 1 / CLASSES}
    for members, hits in zip(one.members, one.hits, strict=True):
        counts = np.zeros((SPEAKERS, CLASSES, CLASSES))
        counts[:, range(CLASSES), range(CLASSES)] = hits
        counts[:, range(CLASSES), np.roll(range(CLASSES), 1)] = CLIPS - hits
        found[tuple(np.flatnonzero(members).tolist())] = float(uar(counts.sum(0)))
    return found


def by_orders(worth: dict[Subset, float], players: int) -> NDArray[np.float64]:
    """Return the definition: what a player adds, averaged over all orders of arrival."""
    added = np.zeros(players)
    for order in permutations(range(players)):
        for place, player in enumerate(order):
            before = tuple(sorted(order[:place]))
            after = tuple(sorted(order[: place + 1]))
            added[player] += worth[after] - worth[before]
    return added / factorial(players)


def value(one: Game, player: int) -> float:
    return estimate([(one, shapley(one, player))])[0].value


@st.composite
def games(draw: st.DrawFn) -> Game:
    players = draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    return game(
        complete(players), players,
        lambda _: generator.integers(0, CLIPS + 1, (SPEAKERS, CLASSES)),
    )  # fmt: skip


@given(games())
def test_the_value_is_what_a_player_adds_over_all_orders(one: Game) -> None:
    players = one.members.shape[1]
    expected = by_orders(values_of(one), players)
    found = [value(one, player) for player in range(players)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # Efficiency: together they are worth what all of them are worth over nothing.
    worth = values_of(one)
    assert sum(found) == pytest.approx(worth[tuple(range(players))] - 1 / CLASSES)


@given(st.integers(2, 4), st.integers(0, 2**32))
def test_a_dummy_adds_nothing_and_twins_add_the_same(players: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    drawn: dict[Subset, NDArray[np.int64]] = {(): np.full((SPEAKERS, CLASSES), CLIPS // CLASSES)}

    def without_the_dummy(one: Subset) -> NDArray[np.int64]:
        key = tuple(player for player in one if player != players)
        key = tuple(sorted({0: 1}.get(player, player) for player in key))  # 0 is 1's twin
        return drawn.setdefault(key, generator.integers(0, CLIPS, (SPEAKERS, CLASSES)))

    one = game(complete(players + 1), players + 1, without_the_dummy)
    assert value(one, players) == pytest.approx(0, abs=1e-12)
    assert value(one, 0) == pytest.approx(value(one, 1), abs=1e-12)


def test_the_interval_over_speakers_is_that_of_a_run() -> None:
    """A game of one player is a run against guessing: `statistics` gives its interval as well."""
    generator = np.random.default_rng(0)
    hits = generator.integers(5, CLIPS, (SPEAKERS, CLASSES))
    one = game([(0,)], 1, lambda _: hits)
    counts = np.zeros((1, SPEAKERS, CLASSES, CLASSES), dtype=int)
    counts[0][:, range(CLASSES), range(CLASSES)] = hits
    counts[0][:, range(CLASSES), np.roll(range(CLASSES), 1)] = CLIPS - hits
    expected = sample(counts)["uar"]
    found, of_sets = estimate([(one, of_size(one, 1))])
    assert (found.value, found.variance) == pytest.approx((expected.value, expected.variance))
    assert found.degrees == pytest.approx(expected.degrees)
    assert of_sets == 0
    one_way, other_way = (score_estimate(one, SPEAKERS).interval for one in (found, expected))
    assert one_way is not None
    assert other_way is not None
    assert (one_way.low, one_way.high) == pytest.approx((other_way.low, other_way.high))
    worth = difference_estimate(estimate([(one, shapley(one, 0))])[0], SPEAKERS)
    assert worth.value == pytest.approx(expected.value - 1 / CLASSES)
    assert worth.interval is not None


@pytest.mark.parametrize("players", [2, 3, 5, 11])
def test_the_sampling_order_has_every_set_once_and_every_kind_early(players: int) -> None:
    order, least = sampling_order(players)
    assert len(order) == len(set(order)) == 2**players - 2
    assert sampling_order(players) == (order, least)
    members = np.array([[place in one for place in range(players)] for one in order])
    sizes = members.sum(1)
    for tested, player in permutations(range(players), 2):
        for size, inside in {(int(size), flag) for size in sizes for flag in (True, False)}:
            kind = (sizes == size) & ~members[:, tested] & (members[:, player] == inside)
            assert kind[:least].sum() >= min(LEAST, kind.sum())


def test_a_sample_of_the_sets_says_how_far_off_it_is() -> None:
    """Over many games the errors are as large as stated, and centred on zero."""
    players, share, errors = 6, 30, []
    for seed in range(120):
        generator = np.random.default_rng(seed)
        worth = generator.dirichlet(np.ones(players))
        sets = complete(players)
        hits = {
            one: np.clip(
                CLIPS * (0.25 + 0.5 * worth[list(one)].sum() + generator.normal(0, 0.05)), 0, CLIPS
            )
            * np.ones((SPEAKERS, CLASSES))
            for one in sets
        }
        whole = game(sets, players, hits.__getitem__)
        some = _sample(sets, share, generator)
        part = game(some, players, hits.__getitem__)
        found, error = estimate([(part, shapley(part, 0))])
        assert error > 0
        assert found.variance >= error**2 - 1e-15
        errors.append((found.value - value(whole, 0)) / error)
    assert abs(np.mean(errors)) < 0.3
    assert 0.7 < np.std(errors) < 1.4


def _sample(sets: list[Subset], count: int, generator: np.random.Generator) -> list[Subset]:
    """Draw sets until every kind is there LEAST times, as `sampling_order` sees to it."""
    while True:
        chosen = [sets[index] for index in generator.permutation(len(sets))[:count]]
        kinds = [
            (size, inside, sum(len(one) == size and (0 in one) == inside for one in pool))
            for pool in (chosen, sets)
            for size in range(1, 7)
            for inside in (True, False)
        ]
        there, of = kinds[: len(kinds) // 2], kinds[len(kinds) // 2 :]
        if all(a[2] >= min(LEAST, b[2]) for a, b in zip(there, of, strict=True)):
            return chosen
