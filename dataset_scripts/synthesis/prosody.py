"""What an emotion does to a voice: a vector of departures from the speaker's neutral delivery.

Signs and relative sizes of the emotions that Banse & Scherer (1996) and Juslin & Laukka (2003,
table 7) report are theirs; the others lie between the neighbours that their names suggest. None of
it says anything about real emotion.
"""

from typing import NamedTuple

import numpy as np

from ser_generalize.errors import one_of


class Prosody(NamedTuple):
    """How one clip departs from the speaker's neutral delivery; all zero is neutral."""

    pitch: float  # semitones on the mean F0
    span: float  # octaves on the height of the pitch accents
    tempo: float  # octaves on the speaking rate
    level: float  # dB on the RMS
    brightness: float  # octaves on the corner of the source spectrum; up is a flatter tilt
    breath: float  # dB on the aspiration noise
    roughness: float  # octaves on jitter and shimmer
    ending: float  # semitones by which the last syllables rise
    tremor: float  # semitones of vibrato at 6 Hz
    opening: float  # octaves on F1: the jaw
    smile: float  # octaves on F2 and F3: the lips (Tartter 1980)
    pause: float  # seconds at a word boundary, on average


# Every emotion of the closed list that names how somebody sounds.
EMOTIONS = {
    #                   pitch span tempo level bright breath rough ending tremor open smile pause
    "neutral": Prosody(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "calm": Prosody(-1.0, -0.4, -0.15, -3.0, -0.6, 3.0, -0.2, -0.5, 0.0, -0.03, 0.0, 0.03),
    "happy": Prosody(5.0, 0.8, 0.12, 6.0, 0.8, -1.0, 0.0, 1.5, 0.0, 0.08, 0.06, 0.0),
    "excited": Prosody(6.5, 0.9, 0.25, 9.0, 1.1, -1.0, 0.2, 2.5, 0.0, 0.12, 0.05, 0.0),
    "amused": Prosody(4.0, 1.0, -0.1, 3.0, 0.3, 4.0, 0.2, 0.5, 0.5, 0.05, 0.08, 0.02),
    "pleasure": Prosody(1.0, 0.4, -0.35, -1.0, -0.4, 6.0, 0.0, -1.0, 0.1, 0.06, 0.03, 0.04),
    "sad": Prosody(-1.0, -0.8, -0.25, -5.0, -1.2, 5.0, 0.3, -1.5, 0.15, -0.08, -0.03, 0.06),
    "angry": Prosody(4.0, 0.7, 0.2, 10.0, 1.6, -4.0, 0.8, -1.0, 0.0, 0.18, 0.0, 0.0),
    "frustrated": Prosody(2.0, 0.4, -0.05, 6.0, 0.9, -1.0, 0.6, -2.0, 0.0, 0.1, -0.02, 0.02),
    "surprised": Prosody(7.0, 1.0, 0.05, 5.0, 0.5, 1.0, 0.0, 5.0, 0.0, 0.1, 0.0, 0.01),
    "fearful": Prosody(6.0, -0.1, 0.2, 3.0, 0.2, 4.0, 0.5, 1.0, 0.6, 0.04, 0.03, 0.02),
    "disgusted": Prosody(-1.0, 0.1, -0.2, 1.0, 0.3, 2.0, 0.7, -2.0, 0.0, 0.05, -0.04, 0.05),
    "contempt": Prosody(-2.0, 0.3, -0.3, -1.0, 0.2, 0.0, 0.4, -3.0, 0.0, 0.0, -0.04, 0.03),
    "bored": Prosody(-2.0, -0.9, -0.35, -4.0, -0.8, 2.0, 0.0, -1.0, 0.0, -0.05, -0.02, 0.05),
    "sleepy": Prosody(-3.0, -0.8, -0.5, -6.0, -1.2, 7.0, 0.6, -1.0, 0.0, -0.08, -0.03, 0.1),
    "anxious": Prosody(4.0, 0.0, 0.2, 1.0, 0.1, 3.0, 0.4, 1.0, 0.4, 0.02, 0.01, 0.03),
    "apologetic": Prosody(0.5, -0.3, -0.2, -3.5, -0.7, 4.0, 0.0, -1.5, 0.1, -0.03, 0.0, 0.04),
    "assertive": Prosody(1.0, 0.5, -0.05, 7.0, 1.0, -3.0, 0.2, -3.0, 0.0, 0.1, 0.0, 0.0),
    "concerned": Prosody(2.0, 0.1, -0.15, -1.0, -0.2, 2.0, 0.0, 1.0, 0.1, 0.0, 0.0, 0.03),
    "encouraging": Prosody(3.5, 0.8, -0.05, 4.0, 0.5, 0.0, -0.1, 1.5, 0.0, 0.06, 0.05, 0.0),
    "pain": Prosody(5.0, -0.3, -0.3, 7.0, 0.6, 4.0, 1.0, -1.0, 0.8, 0.15, 0.0, 0.03),
    "disappointed": Prosody(-1.5, -0.4, -0.3, -3.0, -0.7, 3.0, 0.1, -3.0, 0.0, -0.04, -0.03, 0.05),
    "breath": Prosody(-2.0, -0.9, -0.2, -8.0, -1.5, 15.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.08),
}
# Nobody says a sentence twice alike: standard deviations of what each clip adds to its emotion.
CLIP_SPREAD = Prosody(1.0, 0.2, 0.07, 1.6, 0.3, 1.5, 0.3, 1.0, 0.1, 0.03, 0.02, 0.02)


def perform(emotion: str, cue_use: Prosody, rng: np.random.Generator, intensity: float) -> Prosody:
    """Decide how a speaker who weighs the cues like this renders an emotion this time."""
    textbook = EMOTIONS[one_of("emotion", emotion, EMOTIONS)]
    acted = intensity * np.array(textbook) * np.array(cue_use)
    return Prosody(*(acted + rng.normal(0, CLIP_SPREAD)).tolist())
