"""RAVDESS: `Actor_XX/03-01-EE-II-SS-RR-AA.wav`, 48 kHz, chunks before the samples, some stereo.

Source: Livingstone & Russo (2018).
"""

from collections.abc import Iterator

from dataset_scripts.fabrication.containers import Container
from dataset_scripts.fabrication.tree import Take, Tree
from dataset_scripts.synthesis.channel import Channel

EMOTIONS = (
    "neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised",
)  # fmt: skip
INTENSITIES = (0.8, 1.2)  # normal, strong
STATEMENTS = (
    "K IH1 D Z | AA0 R | T AO1 K IH0 NG | B AY0 | DH AH0 | D AO1 R",
    "D AO1 G Z | AA0 R | S IH1 T IH0 NG | B AY0 | DH AH0 | D AO1 R",
)
# (intensity, statement, repetition), in the order of use: both sentences are there from two on.
PERFORMANCES = (
    (1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 2, 2), (1, 1, 2), (2, 1, 2), (1, 2, 1), (2, 2, 1),
)  # fmt: skip
STEREO = {
    "03-01-02-01-01-02-01", "03-01-08-01-02-02-01", "03-01-02-01-02-02-05", "03-01-03-01-02-01-20",
    "03-01-06-01-01-02-20",
}  # fmt: skip
COPIES = {"03-01-03-01-02-01-07": "03-01-03-01-02-02-07"}  # one recording under two names


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes; neutral, which has no strong intensity, has about half as many."""
    for actor in range(1, speakers + 1):
        for code, emotion in enumerate(EMOTIONS, 1):
            for intensity, statement, repetition in PERFORMANCES[:clips]:
                if (emotion, intensity) != ("neutral", 2):
                    yield _take(actor, code, intensity, statement, repetition)


def _take(actor: int, code: int, intensity: int, statement: int, repetition: int) -> Take:
    name = f"03-01-{code:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}"
    folder = f"Actor_{actor:02}"
    original = COPIES.get(name)
    return Take(
        path=f"{folder}/{name}.wav",
        speaker=f"{actor:02}",
        sex="male" if actor % 2 else "female",
        emotion=EMOTIONS[code - 1],
        text=STATEMENTS[statement - 1],
        container=Container(48_000, "filler", channels=2 if name in STEREO else 1),
        intensity=INTENSITIES[intensity - 1],
        copy_of=f"{folder}/{original}.wav" if original else None,
    )


TREE = Tree(24, len(PERFORMANCES), Channel(gain=0, noise=-70, decay=0.1, room=-30), takes)
