"""ESD, the flat layout: `0011/Angry/0011_000351.wav`, 16 kHz, texts in four encodings."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataset_scripts.fabrication.tree import Take, Tree, grid, write
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.words import sentence

ROOT = "Emotion Speech Dataset"
# A clip's number is that of its sentence, 1 to 350, after those of the emotions before.
EMOTIONS = {
    "Neutral": "neutral", "Angry": "angry", "Happy": "happy", "Sad": "sad",
    "Surprise": "surprised",
}  # fmt: skip
CHINESE = {"Neutral": "中立", "Angry": "生气", "Happy": "快乐", "Sad": "伤心", "Surprise": "惊喜"}
SENTENCES = 350
MALE = {4, 5, 6, 8, 10, 11, 12, 13, 14, 20}
SPEAKERS = [number for pair in zip(range(11, 21), range(1, 11), strict=True) for number in pair]
ENCODINGS = {
    **dict.fromkeys((1, 2, 4, 5, 9), "gb2312"),
    **dict.fromkeys((3, 6, 7, 8, 10, 12, 13, 14, 18, 19), "utf-16"),
    **dict.fromkeys((11, 15, 20), "utf-8"),
    **dict.fromkeys((16, 17), "latin-1"),
}


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes of English and of Mandarin speakers, in turn."""
    names = [f"{number:04}" for number in SPEAKERS[:speakers]]
    for speaker, folder, number in grid(names, dict.fromkeys(EMOTIONS, 1), clips):
        language = "en" if int(speaker) > 10 else "zh"
        text = sentence(language, "esd", number)
        clip = list(EMOTIONS).index(folder) * SENTENCES + number + 1
        yield Take(
            path=f"{ROOT}/{speaker}/{folder}/{speaker}_{clip:06}.wav",
            speaker=speaker,
            sex="male" if int(speaker) in MALE else "female",
            emotion=EMOTIONS[folder],
            text=text.phones,
            language=language,
            transcript=text.written,
        )


def tables(tree: Path, takes: Sequence[Take]) -> None:
    """Write each speaker's texts, emotions in the speaker's language; a few lines lack a tab."""
    by_speaker = defaultdict(list)
    for take in sorted(takes, key=lambda take: Path(take.path).name):
        by_speaker[Path(take.path).parts[1]].append(take)
    for speaker, own in by_speaker.items():
        text = "".join(_line(take, number) for number, take in enumerate(own))
        encoding = ENCODINGS[int(speaker)]
        write(tree / ROOT / speaker / f"{speaker}.txt", text, encoding, newline="\r\n")


def _line(take: Take, number: int) -> str:
    folder, stem = Path(take.path).parent.name, Path(take.path).stem
    emotion = CHINESE[folder] if take.language == "zh" else folder
    return f"{stem}{' ' if number % 7 == 6 else chr(9)}{take.transcript}\t{emotion}\n"


TREE = Tree(
    20, SENTENCES, Channel(low=70, high=7_900, gain=10, noise=-60, rumble=0.5), takes, tables
)
