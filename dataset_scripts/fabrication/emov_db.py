"""EmoV-DB as on OpenSLR: `bea_Amused/amused_1-28_0001.wav`, 64-bit floats, two rates."""

from collections.abc import Iterator

from dataset_scripts.fabrication.containers import Container
from dataset_scripts.fabrication.tree import Take, Tree, grid
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.words import sentence

SPEAKERS = ("bea", "sam", "jenie", "josh")
FEMALE = {"bea", "jenie"}
EMOTIONS = {
    "Amused": "amused", "Angry": "angry", "Disgusted": "disgusted", "Neutral": "neutral",
    "Sleepy": "sleepy",
}  # fmt: skip
STYLES = {  # of the files; the folders have other words
    "Amused": "amused", "Angry": "anger", "Disgusted": "disgust", "Neutral": "neutral",
    "Sleepy": "sleepiness",
}  # fmt: skip
NEVER_RECORDED = {("josh", "Angry"), ("josh", "Disgusted")}
BLOCKS, BLOCK = 20, 28  # sessions, and sentences read in each
OTHERWISE_SPELT = 3  # every fourth session's names have "1_28", and some of them a capital


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes: one sentence of each session before a second of any."""
    for speaker, folder, number in grid(SPEAKERS[:speakers], dict.fromkeys(EMOTIONS, 1), clips):
        if (speaker, folder) not in NEVER_RECORDED:
            yield _take(speaker, folder, number)


def _take(speaker: str, folder: str, number: int) -> Take:
    within, block = divmod(number, BLOCKS)
    first, last, item = block * BLOCK + 1, (block + 1) * BLOCK, block * BLOCK + within + 1
    other = block % 4 == OTHERWISE_SPELT
    style = STYLES[folder].capitalize() if other and folder == "Disgusted" else STYLES[folder]
    return Take(
        path=f"{speaker}_{folder}/{style}_{first}{'_' if other else '-'}{last}_{item:04}.wav",
        speaker=speaker,
        sex="female" if speaker in FEMALE else "male",
        emotion=EMOTIONS[folder],
        text=sentence("en", "emov_db", item).phones,
        container=Container(44_100 if speaker == "bea" else 16_000, subtype="DOUBLE"),
    )


TREE = Tree(4, BLOCKS * BLOCK, Channel(gain=2, noise=-74, decay=0.06, room=-36), takes)
