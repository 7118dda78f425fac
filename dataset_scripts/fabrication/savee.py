"""SAVEE: `AudioData/DC/a01.wav`, 44.1 kHz; names that say nothing without their folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dataset_scripts.fabrication.containers import NOTE, Container
from dataset_scripts.fabrication.tree import Take, Tree, grid, write
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.words import sentence

SPEAKERS = ("DC", "JE", "JK", "KL")
EMOTIONS = {
    "a": "angry", "d": "disgusted", "f": "fearful", "h": "happy", "n": "neutral", "sa": "sad",
    "su": "surprised",
}  # fmt: skip
SHARES = {code: 2.0 if code == "n" else 1.0 for code in EMOTIONS}
COMMON = 3  # sentences that are the same in every emotion


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes."""
    for speaker, code, number in grid(SPEAKERS[:speakers], SHARES, clips):
        text = sentence("en", "savee", number, "" if number < COMMON else code)
        yield Take(
            path=f"AudioData/{speaker}/{code}{number + 1:02}.wav",
            speaker=speaker,
            sex="male",
            emotion=EMOTIONS[code],
            text=text.phones,
            container=Container(44_100),
            language="en-GB",
        )


def tables(tree: Path, _takes: Sequence[Take]) -> None:
    """Write the text file that lies beside the speakers."""
    write(tree / "AudioData" / "Info.txt", f"{NOTE}\n")


TREE = Tree(4, 15, Channel(gain=4, noise=-58, rumble=0.97, decay=0.3, room=-22), takes, tables)
