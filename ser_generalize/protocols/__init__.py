"""Protocols: which clips are trained on and which are scored, and the proof that none is both."""

from ser_generalize.protocols.clips import Clips, Column, IndivisibleError
from ser_generalize.protocols.fold import Fold
from ser_generalize.protocols.make import make_folds
from ser_generalize.protocols.parts import FOLD_CLIPS
from ser_generalize.protocols.protocol import (
    EACH,
    LEAKS,
    MATCHED,
    PROTOCOLS,
    TRAIN_ON,
    UNION,
    Protocol,
    tests_clips_again,
)

__all__ = [
    "EACH",
    "FOLD_CLIPS",
    "LEAKS",
    "MATCHED",
    "PROTOCOLS",
    "TRAIN_ON",
    "UNION",
    "Clips",
    "Column",
    "Fold",
    "IndivisibleError",
    "Protocol",
    "make_folds",
    "tests_clips_again",
]
