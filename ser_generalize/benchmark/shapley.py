"""What every corpus is worth as training data: Shapley values of a game among corpora.

For a tested corpus t the players are the other n corpora, and a set S of them is worth v_t(S), the
UAR on t after training on S; of nothing, chance. What a player adds is averaged over all orders in
which the players may come (Shapley 1953), which is the same as this sum over sizes s:

    phi_i = 1/n sum_s (mean of v_t(S) over sets of s + 1 with i - mean of v_t(S) over s without i)

Of a sample of the sets the means are those of the sample: unbiased, every set serves every player
and every tested corpus, and with all the sets it is the exact value. UAR is linear in the hits of
speakers, so a value is a UAR of weighted hits, and its interval over speakers costs no more than
that of one run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from math import comb, nan

import numpy as np
from numpy.typing import NDArray

from ser_generalize.statistics import Sampled, effective_speakers, macro_average, speaker_weights

SEED = 0
LEAST = 2  # sets of a kind, if there are as many: one alone has no variance

Values = NDArray[np.float64]
Subset = tuple[int, ...]  # positions of corpora, ascending


@dataclass(frozen=True)
class Game:
    """The sets of corpora that were trained on and tested on one corpus, and what came of it."""

    sets: NDArray[np.int64]  # which of all sets, [sets]
    members: NDArray[np.bool_]  # [sets, n], the players being the other corpora; none is empty
    hits: Values  # clips classified correctly, [sets, speakers, classes]
    clips: Values  # [speakers, classes], of the classes that the corpus holds
    speakers: int  # known ones

    @cached_property
    def values(self) -> Values:
        """What every set is worth: UAR in [0, 1], [sets]."""
        return np.asarray((self.hits.sum(1) / self.clips.sum(0)).mean(-1))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """How many corpora every set has."""
        return np.asarray(self.members.sum(1))

    @property
    def nothing(self) -> float:
        """What training on nothing is worth: guessing among the classes of the corpus."""
        return 1 / self.clips.shape[1]


@dataclass(frozen=True)
class Contrast:
    """A weighted sum over the sets of a game, and its error where they are a sample of all sets."""

    weights: Values  # [sets]
    errors: Values  # [sets]; their squares sum to the variance of the sum
    constant: float = 0.0

    def __add__(self, other: "Contrast") -> "Contrast":
        return Contrast(
            self.weights + other.weights,
            self.errors + other.errors,
            self.constant + other.constant,
        )

    def __mul__(self, factor: float) -> "Contrast":
        return Contrast(self.weights * factor, self.errors * factor, self.constant * factor)


def shapley(game: Game, player: int) -> Contrast:
    """Return what a player adds, averaged over all orders in which the players may come."""
    n, inside = game.members.shape[1], game.members[:, player]
    zero = np.zeros(len(game.sets))
    total = Contrast(zero, zero, -game.nothing / n)
    for size in range(n):  # of the players who came before
        total += _mean(game, inside & (game.sizes == size + 1), comb(n - 1, size)) * (1 / n)
        if size:
            total += _mean(game, ~inside & (game.sizes == size), comb(n - 1, size)) * (-1 / n)
    return total


def of_size(game: Game, size: int) -> Contrast:
    """Return what a set of so many corpora is worth on average."""
    return _mean(game, game.sizes == size, comb(game.members.shape[1], size))


def _mean(game: Game, kind: NDArray[np.bool_], population: int) -> Contrast:
    """Return the mean over the sets of a kind, of which there are `population` in all."""
    count = int(kind.sum())
    assert count, "no set of this kind was trained on"
    weights = kind / count
    if count == population:
        return Contrast(weights, np.zeros(len(kind)))
    if count == 1:
        return Contrast(weights, np.where(kind, nan, 0.0))
    # Sampling without replacement (Cochran 1977, section 2.6).
    factor = ((1 - count / population) * count / (count - 1)) ** 0.5
    mean = game.values @ weights
    return Contrast(weights, factor * weights * (game.values - mean))


def estimate(parts: Sequence[tuple[Game, Contrast]]) -> tuple[Sampled, float]:
    """Return the mean of contrasts over tested corpora, and its standard error by sampling sets.

    The variance holds both: other speakers, and other sets where not all were trained on.
    """
    sampled = macro_average([_over_speakers(game, contrast) for game, contrast in parts])
    errors = np.zeros(max(int(game.sets.max()) for game, _ in parts) + 1)
    for game, contrast in parts:  # a set's luck is the same on all corpora
        errors[game.sets] += contrast.errors / len(parts)
    of_sets = float((errors**2).sum())
    total = Sampled(sampled.value, sampled.variance + of_sets, sampled.degrees)
    return total, of_sets**0.5


def _over_speakers(game: Game, contrast: Contrast) -> Sampled:
    hits = np.tensordot(contrast.weights, game.hits, axes=1)  # [speakers, classes]
    speakers = len(hits)
    drawn = speaker_weights(speakers)
    with np.errstate(invalid="ignore"):  # a resample may lack a class: it averages the others
        draws = np.nanmean((drawn @ hits) / (drawn @ game.clips), axis=1)
    correction = speakers / (speakers - 1) if speakers > 1 else nan
    degrees = max(effective_speakers(game.clips[:, :, None]) - 1, 1.0)
    value = float((hits.sum(0) / game.clips.sum(0)).mean()) + contrast.constant
    return Sampled(value, float(draws.var()) * correction, degrees)


def all_sets(players: int) -> Iterator[Subset]:
    """Yield every set of players but the empty and the full one, small ones first."""
    for size in range(1, players):
        yield from combinations(range(players), size)


def sampling_order(players: int) -> tuple[list[Subset], int]:
    """Return all sets in an order of which any beginning is a fair sample, and how long one is.

    Up to that length every kind of set that `shapley` averages over comes LEAST times, if it can.
    Which sets come first is random, and the same at every call.
    """
    generator = np.random.default_rng(SEED)
    first, later = [], []
    for size in range(1, players):
        sets = list(combinations(range(players), size))
        sets = [sets[index] for index in generator.permutation(len(sets))]
        needed = _kinds(players, size)
        chosen = [one for one in sets if _needs(needed, one)]
        first += chosen
        later.append([one for one in sets if one not in set(chosen)])
    rest = [sets.pop() for _ in range(max(map(len, later), default=0)) for sets in later if sets]
    return first + rest, len(first)


def _kinds(players: int, size: int) -> dict[tuple[int, int, bool], int]:
    """Return how many sets of a size are needed by tested corpus and player, in the set or not."""
    others = players - 2
    available = {True: comb(others, size - 1), False: comb(others, size)}
    return {
        (tested, player, inside): min(LEAST, count)
        for tested, player in permutations(range(players), 2)
        for inside, count in available.items()
    }


def _needs(needed: dict[tuple[int, int, bool], int], one: Subset) -> bool:
    """Return whether a set is of a kind that is still needed, and count it."""
    kinds = [kind for kind in needed if kind[0] not in one and (kind[1] in one) == kind[2]]
    wanted = any(needed[kind] > 0 for kind in kinds)
    if wanted:
        for kind in kinds:
            needed[kind] -= 1
    return wanted
