"""Protocols: which clips are trained on and which are scored, and the proof that none is both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_generalize.errors import InputError, listing

PROTOCOLS = ("loso",)
TRAIN_ON = ("each", "union")
# A speaker with fewer clips than this shares a fold with others: a fold of one clip costs as much
# training as any other and says nothing (MELD has 72 speakers with a single clip).
FOLD_CLIPS = 10

Rows = NDArray[np.int64]
Column = NDArray[np.object_]


@dataclass(frozen=True)
class Fold:
    """One split of the clips: positions of the training and of the test rows."""

    name: str
    train: Rows
    test: Rows

    def check(self, speakers: Column, hashes: Column) -> None:
        """Prove that no speaker and no recording is on both sides, else raise InputError."""
        for what, column in (("speaker", speakers), ("recording (SHA-256)", hashes)):
            shared = (set(column[self.train]) & set(column[self.test])) - {None}
            if shared:
                raise InputError(
                    f"fold {self.name} leaks: {what} {listing(sorted(shared), 3)} is in both the "
                    "training and the test part; correct the dataset, or leave a corpus out with "
                    "--corpora"
                )


def leave_one_speaker_out(corpora: Column, speakers: Column, train_on: str = "each") -> list[Fold]:
    """Return one fold per test speaker, as arXiv 2406.09933 evaluates.

    `corpora` and `speakers` name every clip's corpus and speaker (None: unknown). With `train_on`
    "each" a fold trains on the other speakers of the test speaker's corpus, with "union" on
    everybody else in every corpus. Speakers with fewer than 10 clips share folds, unless all of a
    corpus would be one fold; clips of unknown speakers are trained on and never scored. Raises
    InputError for a corpus with fewer than two known speakers.
    """
    folds: list[Fold] = []
    for corpus in sorted(set(corpora)):
        here = corpora == corpus
        groups = _speaker_groups(speakers[here])
        if len(groups) < 2:
            raise InputError(_too_few_speakers(corpus, speakers[here]))
        pool = np.ones(len(corpora), dtype=bool) if train_on == "union" else here
        for name, members in groups:
            test = here & np.isin(speakers, members)
            folds.append(Fold(name, np.flatnonzero(pool & ~test), np.flatnonzero(test)))
    return folds


def _speaker_groups(speakers: Column) -> list[tuple[str, list[str]]]:
    """Return (fold name, its test speakers): one speaker each, the small ones packed together."""
    names, counts = np.unique([name for name in speakers if name is not None], return_counts=True)
    alone = [(str(name), [str(name)]) for name in names[counts >= FOLD_CLIPS]]
    packed: list[list[str]] = [[]]
    clips = 0
    for name, count in zip(names[counts < FOLD_CLIPS], counts[counts < FOLD_CLIPS], strict=True):
        packed[-1].append(str(name))
        clips += int(count)
        if clips >= FOLD_CLIPS:
            packed.append([])
            clips = 0
    if not packed[-1]:
        packed.pop()
    elif len(packed) > 1:  # what is left over is too small for a fold of its own
        left_over = packed.pop()
        packed[-1] += left_over
    groups = alone + [(_group_name(group), group) for group in packed]
    # A corpus that is one group has nobody left to train on: then each is tested alone after all.
    return groups if len(groups) > 1 else [(str(name), [str(name)]) for name in names]


def _group_name(group: Sequence[str]) -> str:
    return group[0] if len(group) == 1 else f"{group[0]}+{len(group) - 1}"


def _too_few_speakers(corpus: str, speakers: Sequence[str | None]) -> str:
    known = sorted({name for name in speakers if name is not None})
    found = f"has only {listing(known)}" if known else "names none"
    return (
        f"corpus {corpus} {found} among its {len(speakers)} clips: loso needs two speakers to test "
        "one and train on the other; leave the corpus out with --corpora"
    )
