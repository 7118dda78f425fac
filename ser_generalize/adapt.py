"""Adaptation: whose unlabelled clips standardise the features, and how far a few may be trusted.

Voices, rooms and languages shift a frozen encoder's features more than emotions do. Standardised by
what is known of their own corpus or speaker, clips of different origin lie together. No label is
used, but clips to be scored are: an adapted result answers another question than a plain one.

The mean and the variance of a few clips are poor estimates, and what is worse, they follow what was
said in them. So they are shrunk towards the training statistics, as if those came from `SHRINKAGE`
clips of the same voice, and a head hears in training what it will hear later: speakers of whom no
clip is known, a few, or all.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_generalize.errors import InputError
from ser_generalize.heads import Scaler
from ser_generalize.predictions import PLAIN

CORPUS, SPEAKER = "corpus", "speaker"
# Chosen among 2, 5, 10 and 20 on RAVDESS actors 01-06 and EmoDB speakers 03 08 09 10 11 only.
SHRINKAGE = 5.0
SIMULATED = (0, 1, 2, 5, 10, 20)  # clips of a speaker known in an epoch; as often as each, all
FEWEST = 5  # clips with which the measured curve is safely above that without any

Column = NDArray[np.object_]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Adaptation:
    """Whose unlabelled clips standardise a clip's features, and how many of a test speaker's."""

    by: str
    clips: int | None = None  # None: all that the dataset holds

    @property
    def name(self) -> str:
        """What every table calls a result of it."""
        if self.by == PLAIN:
            return PLAIN
        few = "" if self.clips is None else f" by {self.clips} clip{'s' * (self.clips != 1)}"
        return f"{self.by}-adapted{few}"

    def note(self, names: Column) -> str:
        """Return what the reader of such a result must know, by the domain of every clip."""
        if self.clips == 0:
            return f"{self.name}: trained to be told of a speaker's unlabelled clips, told of none"
        counts = Counter(names)
        given = "all their" if self.clips is None else f"{self.clips}"
        few = sum(min(count, self.clips or count) < FEWEST for count in counts.values())
        return (
            f"{self.name}: features are standardised by {given} own unlabelled clips of every "
            f"{self.by}, clips that are scored among them; {few} of {len(counts)} have fewer than "
            f"{FEWEST} ({min(counts.values())} to {max(counts.values())} there)"
        )


def parse_adapt(text: str) -> Adaptation:
    """Return what `--adapt` asks for: none, corpus, speaker or speaker:CLIPS; else InputError."""
    by, colon, clips = text.partition(":")
    if by in (PLAIN, CORPUS, SPEAKER) and not colon:
        return Adaptation(by)
    if by == SPEAKER and clips.isdecimal():
        return Adaptation(by, int(clips))
    raise InputError(
        f"unknown --adapt {text!r}; choose one of: {PLAIN}, {CORPUS}, {SPEAKER} (by all of a "
        f"speaker's clips), or {SPEAKER}:5 (by five of a test speaker's, or any number from 0)"
    )


def domains(by: str, corpora: Column, speakers: Column) -> Column:
    """Return whose statistics count for every clip: its corpus, or its speaker.

    Clips of unknown speaker have only their corpus in common, and stand together by it.
    """
    if by == CORPUS:
        return corpora
    known = speakers != np.array(None)
    return np.where(known, speakers, corpora)


def shrunken(training: Scaler, clips: Tensor, mean: Tensor, squares: Tensor) -> Scaler:
    """Return training statistics updated by a domain's own, all of shapes that broadcast.

    `clips` counts what the domain's own statistics rest on; `squares` is summed about `mean`. No
    clip leaves the training statistics, a single one moves the mean alone, and many leave their
    own. A feature that never varies keeps a positive deviation.
    """
    own = torch.lerp(training.mean, mean, clips / (clips + SHRINKAGE))
    freedom = (clips - 1).clamp(min=0)
    variance = (SHRINKAGE * training.deviation.square() + squares) / (SHRINKAGE + freedom)
    return Scaler(own, variance.sqrt())


def calibrate(training: Scaler, features: Tensor) -> Scaler:
    """Return the statistics of a speaker of whom some clips are known, [layers, width].

    `features` [clips, layers, width] are those clips', clip-normalised; without any, the training
    statistics come back.
    """
    return shrunken(training, *own_statistics(features))


def own_statistics(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how many clips there are, their mean and their squares about it, [layers, width]."""
    count = torch.tensor(float(len(features)), device=features.device)
    mean = features.sum(0) / count.clamp(min=1)
    return count, mean, (features - mean).square_().sum(0)


@dataclass(frozen=True)
class Known:
    """What some unlabelled clips say about their domains."""

    domain: Tensor  # of every clip of the features, a position in the rest, [clips]
    clips: Tensor  # [domains]
    mean: Tensor  # [domains, layers, width]
    squares: Tensor

    def of(self, rows: Tensor, training: Scaler) -> Scaler:
        """Return the statistics [heads, layers, clips, width] of clips by rows [heads, clips].

        `training` has those of every head, [heads, layers, 1, width].
        """
        domain = self.domain[rows]
        mean, squares = (values[domain].transpose(1, 2) for values in (self.mean, self.squares))
        return shrunken(training, self.clips[domain][:, None, :, None], mean, squares)

    def of_all(self, training: Scaler) -> Scaler:
        """Return the statistics of every clip, [clips, layers, width], training's have no clips."""
        clips, mean, squares = (one[self.domain] for one in (self.clips, self.mean, self.squares))
        return shrunken(training, clips[:, None, None], mean, squares)


class UnlabelledClips:
    """The unlabelled clips of a dataset by domain, and which of them are known when."""

    def __init__(self, features: Tensor, names: Column, adaptation: Adaptation) -> None:
        """`features` [clips, layers, width] are clip-normalised, `names` their domains."""
        self._features, self._adaptation = features, adaptation
        self.names, domain = np.unique(names.astype(str), return_inverse=True)
        self._domain = torch.from_numpy(domain).to(features.device)
        self.rows = [np.flatnonzero(domain == index) for index in range(len(self.names))]

    @cached_property
    def in_scoring(self) -> Known:
        """What is known of a clip's domain when it is scored: all clips, or as many as asked for.

        Drawn by the name of the speaker, so that more clips include the fewer.
        """
        clips = self._adaptation.clips
        if clips is None:
            return self.known(self.rows)
        drawn = [
            np.random.default_rng(crc32(name.encode())).permutation(rows)[:clips]
            for name, rows in zip(self.names, self.rows, strict=True)
        ]
        return self.known(drawn)

    def in_epoch(self, number: int) -> Known:
        """Return what a head knows of its training speakers in an epoch: nothing, a little or all.

        It is the same for every head, whatever is trained beside it.
        """
        if self._adaptation.by == CORPUS:
            return self.in_scoring
        generator = np.random.default_rng(number)
        counts = generator.choice([*SIMULATED, max(map(len, self.rows))], len(self.rows))
        pairs = zip(self.rows, counts, strict=True)
        return self.known([generator.permutation(rows)[:count] for rows, count in pairs])

    def known(self, drawn: Sequence[Rows]) -> Known:
        """Return what some clips of every domain say, given by their rows; `rows` has all."""
        parts = [own_statistics(self._features[torch.from_numpy(rows)]) for rows in drawn]
        clips, mean, squares = (torch.stack(column) for column in zip(*parts, strict=True))
        return Known(self._domain, clips, mean, squares)
