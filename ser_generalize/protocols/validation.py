"""Validation parts: clips taken from the training side for early stopping and for calibration."""

import zlib

import numpy as np
from numpy.typing import NDArray

from ser_generalize.protocols.clips import Clips, Rows
from ser_generalize.protocols.parts import VALIDATION_SPLITS, in_splits, random_groups

SHARE = 1 / 5  # of the training side
FEWEST_SPEAKERS = 3  # with fewer, what is left to train on would be a single voice

Counts = NDArray[np.int64]


def some_speakers(clips: Clips, train: Rows, fold: str) -> Rows:
    """Return the clips of about a fifth of the training side: by whole speakers, of every class.

    Which speakers differs from fold to fold, but is the same at every call. Empty under three
    training speakers, and where training would lose a corpus's only clips of a class.
    """
    counts = _clips_of_speakers(clips, train)
    speakers = np.flatnonzero(counts[:-1].any(axis=1))
    if len(speakers) < FEWEST_SPEAKERS:
        return train[:0]
    order = np.random.default_rng(zlib.crc32(fold.encode())).permutation(speakers)
    chosen = np.zeros(len(counts), dtype=bool)
    chosen[order[_about_a_fifth(counts[order], counts.sum(axis=0))]] = True
    return train[chosen[clips.speaker.codes[train]]]


def official(clips: Clips, train: Rows, _fold: str) -> Rows:
    """Return what the corpora's authors call their validation part."""
    return train[in_splits(clips, train, VALIDATION_SPLITS)]


def some_clips(clips: Clips, train: Rows, _fold: str) -> Rows:
    """Return a random fifth of the training side, whoever speaks: as leaky as the random folds."""
    return train[random_groups(clips, train) == 1]  # a single clip is group 0, and trained on


def _clips_of_speakers(clips: Clips, train: Rows) -> Counts:
    """Count training clips by speaker, the unknown last, and by class of a corpus."""
    classes = len(clips.label.names)
    of_corpus = clips.corpus.codes[train] * classes + clips.label.codes[train]
    columns = len(clips.corpus.names) * classes
    rows = len(clips.speaker.names) + 1
    speakers = clips.speaker.codes[train] % rows  # -1, unknown, is the last row
    counts = np.bincount(speakers * columns + of_corpus, minlength=rows * columns)
    counts = counts.reshape(rows, columns)
    return counts[:, counts.any(axis=0)]


def _about_a_fifth(counts: Counts, total: Counts) -> list[int]:
    """Return the rows of `counts` that together come near to a fifth of every column of `total`.

    Goes through the speakers once and takes who brings the part nearer, in squared distance, and
    leaves training some of every column and half of the speakers; if nobody does, who takes it
    least far away.
    """
    shares, left, missing = counts / total, total.copy(), np.full(len(total), SHARE)
    gains = 2 * shares @ missing - (shares**2).sum(axis=1)
    allowed = (counts < total).all(axis=1)
    chosen: list[int] = []
    for row in np.flatnonzero(allowed & (gains > 0)):
        if len(chosen) == len(counts) // 2:
            break
        nearer = shares[row] @ (2 * missing - shares[row]) > 0
        if nearer and (counts[row] < left).all():
            chosen.append(int(row))
            left -= counts[row]
            missing -= shares[row]
    if not chosen and allowed.any():
        chosen = [int(np.where(allowed, gains, -np.inf).argmax())]
    return chosen
