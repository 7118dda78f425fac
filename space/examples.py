"""Fabricated clips to try a checkpoint with, one per emotion: synthetic voices, made at start."""

from pathlib import Path

import numpy as np
import soundfile

from dataset_scripts.synthesis.channel import Channel, transmit
from dataset_scripts.synthesis.speech import synthesise
from dataset_scripts.synthesis.voice import Voice, draw_voice
from ser_generalize.labels import FIVE
from ser_generalize.schema import SAMPLING_RATE

TEXT = "DH AH0 | P EY1 N T ER0 | B AA1 R OW0 D | S EH1 V AH0 N | AE1 P AH0 L Z"


def write_examples(folder: Path) -> dict[str, Path]:
    """Write a clip per emotion into a folder, the same on every machine; return them by emotion."""
    rng = np.random.default_rng(0)
    voice = draw_voice("female", rng)
    return {emotion: _write(folder, emotion, voice, rng) for emotion in FIVE}


def _write(folder: Path, emotion: str, voice: Voice, rng: np.random.Generator) -> Path:
    dry = synthesise(emotion, voice, TEXT, rng, SAMPLING_RATE)
    path = folder / f"fabricated, {emotion}.flac"
    soundfile.write(path, transmit(dry, Channel(), SAMPLING_RATE, rng), SAMPLING_RATE)
    return path
