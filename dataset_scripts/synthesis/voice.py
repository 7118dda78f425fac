"""Speakers that never lived."""

from dataclasses import dataclass

import numpy as np

from dataset_scripts.synthesis.prosody import Prosody
from ser_generalize.errors import one_of


@dataclass(frozen=True)
class Voice:
    """A speaker: larynx, vocal tract and habits; `draw_voice` makes plausible ones."""

    f0: float  # Hz, mean of neutral speech
    tract: float  # formant frequencies relative to those of a 17-cm tract (an adult man's)
    open_quotient: float  # part of a glottal cycle with airflow, 0 to 1; large is breathy
    corner: float  # Hz, where the source starts to fall by another 6 dB per octave
    breath: float  # dB, aspiration relative to the glottal pulses
    jitter: float  # relative standard deviation of successive periods
    shimmer: float  # relative standard deviation of successive amplitudes
    tempo: float  # octaves on the speaking rate
    cue_use: Prosody  # weight of each cue of an emotion: actors differ (Juslin & Laukka 2003)


def draw_voice(sex: str, rng: np.random.Generator) -> Voice:
    """Draw a "male" or "female" speaker; another sex is an InputError (Hillenbrand et al. 1995)."""
    female = one_of("sex", sex, ("male", "female")) == "female"
    return Voice(
        f0=(205.0 if female else 115.0) * 2 ** rng.normal(0, 0.12),
        tract=(1.16 if female else 1.0) * 2 ** rng.normal(0, 0.05),
        open_quotient=float(np.clip(rng.normal(0.7 if female else 0.6, 0.05), 0.4, 0.85)),
        corner=2500.0 * 2 ** rng.normal(0, 0.4),
        breath=rng.normal(-20.0 if female else -24.0, 2.0),
        jitter=0.008 * 2 ** rng.normal(0, 0.4),
        shimmer=0.04 * 2 ** rng.normal(0, 0.4),
        tempo=rng.normal(0, 0.08),
        cue_use=Prosody(*rng.normal(1.0, 0.35, len(Prosody._fields))),
    )
