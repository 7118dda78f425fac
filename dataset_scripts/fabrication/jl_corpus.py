"""JL-Corpus: `female1_angry_1a_1.wav` with a text file beside each, 44.1 kHz."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dataset_scripts.fabrication.containers import Container
from dataset_scripts.fabrication.tree import Take, Tree, grid, write
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.words import sentence

ROOT = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)"
SPEAKERS = ("female1", "male1", "female2", "male2")
EMOTIONS = (
    "angry", "sad", "neutral", "happy", "excited", "anxious", "apologetic", "assertive",
    "concerned", "encouraging",
)  # fmt: skip
SENTENCES, SHARED = 15, 10  # of an emotion; of these the same in all of them


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes."""
    for speaker, emotion, number in grid(SPEAKERS[:speakers], dict.fromkeys(EMOTIONS, 1), clips):
        again, index = divmod(number, SENTENCES)
        text = sentence("en", "jl_corpus", index, "" if index < SHARED else emotion)
        yield Take(
            path=f"{ROOT}/{speaker}_{emotion}_{index + 1}{'ab'[again % 2]}_{again // 2 + 1}.wav",
            speaker=speaker,
            sex=speaker.rstrip("12"),
            emotion=emotion,
            text=text.phones,
            container=Container(44_100),
            language="en-NZ",
            transcript=text.written,
        )


def tables(tree: Path, takes: Sequence[Take]) -> None:
    """Write what is said beside each recording."""
    for take in takes:
        write((tree / take.path).with_suffix(".txt"), f"{take.transcript}\n")


TREE = Tree(4, 4 * SENTENCES, Channel(low=50, gain=6, noise=-68, decay=0.15), takes, tables)
