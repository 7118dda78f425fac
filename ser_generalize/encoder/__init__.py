"""Frozen encoders: Whisper on windows as long as the clip, and others behind the same interface."""

from ser_generalize.encoder.interface import (
    DTYPES,
    RATE,
    WINDOWS,
    Encoder,
    Samples,
    Settings,
    batches,
)
from ser_generalize.encoder.loading import load_encoder
from ser_generalize.encoder.memory import WithinMemory

__all__ = [
    "DTYPES",
    "RATE",
    "WINDOWS",
    "Encoder",
    "Samples",
    "Settings",
    "WithinMemory",
    "batches",
    "load_encoder",
]
