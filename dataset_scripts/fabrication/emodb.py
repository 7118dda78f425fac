"""EmoDB: `wav/03a01Fa.wav`, 16 kHz, German."""

from collections.abc import Iterator

from dataset_scripts.fabrication.tree import Take, Tree, grid
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.words import sentence

SEXES = {
    "03": "male", "08": "female", "09": "female", "10": "male", "11": "male", "12": "male",
    "13": "female", "14": "female", "15": "male", "16": "female",
}  # fmt: skip
EMOTIONS = {
    "W": "angry", "L": "bored", "E": "disgusted", "A": "fearful", "F": "happy", "T": "sad",
    "N": "neutral",
}  # fmt: skip
TEXTS = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
VERSIONS = "ab"


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes."""
    for speaker, letter, number in grid(list(SEXES)[:speakers], dict.fromkeys(EMOTIONS, 1), clips):
        version, text = divmod(number, len(TEXTS))
        yield Take(
            path=f"wav/{speaker}{TEXTS[text]}{letter}{VERSIONS[version]}.wav",
            speaker=speaker,
            sex=SEXES[speaker],
            emotion=EMOTIONS[letter],
            text=sentence("de", "emodb", text).phones,
            language="de",
        )


TREE = Tree(10, len(TEXTS) * len(VERSIONS), Channel(low=60, gain=12, noise=-66, room=-34), takes)
