"""MELD: `train_splits/dia0_utt0.mp4`, AAC in 5.1 or stereo, tables of its splits, twins in test."""

import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataset_scripts.fabrication.containers import Container
from dataset_scripts.fabrication.tree import Take, Tree, apple_double, grid, write
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.words import sentence

ROOT = "MELD.Raw"
SPEAKERS = {
    "Rachel": "female", "Ross": "male", "Monica": "female", "Joey": "male", "Phoebe": "female",
    "Chandler": "male", "Janice": "female", "Mike": "male", "Carol": "female", "Gunther": "male",
}  # fmt: skip
EVERYBODY = "All"  # is in the tables as if it were a person
EMOTIONS = {
    "neutral": "neutral", "joy": "happy", "surprise": "surprised", "anger": "angry",
    "sadness": "sad", "disgust": "disgusted", "fear": "fearful",
}  # fmt: skip
WORDS = {emotion: word for word, emotion in EMOTIONS.items()}
SHARES = {
    "neutral": 1.0, "joy": 0.6, "surprise": 0.5, "anger": 0.5, "sadness": 0.4, "disgust": 0.2,
    "fear": 0.2,
}  # fmt: skip
SENTIMENTS = {"neutral": "neutral", "joy": "positive", "surprise": "positive"}  # else negative
FOLDERS = {
    "train": "train/train_splits",
    "dev": "dev/dev_splits_complete",
    "test": "test/output_repeated_splits_test",
}
CUT_AGAIN = "final_videos_test"  # prefix of a test video that was wrongly cut at first
HEADER = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID",
    "Season", "Episode", "StartTime", "EndTime",
)  # fmt: skip


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes: a dialogue is one emotion, said by each speaker; and a crowd."""
    names = list(SPEAKERS)[:speakers]
    for speaker, emotion, number in grid(names, SHARES, clips):
        yield _take(speaker, emotion, number, names.index(speaker))
    yield _take(None, "joy", 0, len(SPEAKERS))


def _take(speaker: str | None, emotion: str, number: int, utterance: int) -> Take:
    again, turn = divmod(number, len(FOLDERS))
    split = list(FOLDERS)[turn]
    dialogue = again * len(EMOTIONS) + list(EMOTIONS).index(emotion)
    twin = split == "test" and emotion == "neutral" and utterance == 0
    text = sentence("en", "meld", split, dialogue, utterance)
    name = f"{CUT_AGAIN if twin else ''}dia{dialogue}_utt{utterance}.mp4"
    return Take(
        path=f"{ROOT}/{FOLDERS[split]}/{name}",
        speaker=speaker,
        sex=SPEAKERS[speaker] if speaker else "female",
        emotion=EMOTIONS[emotion],
        text=text.phones,
        container=Container(48_000, "mp4", channels=2 if utterance % 3 == 2 else 6),
        transcript=f"‘{text.written}’, y’know.",
    )


def tables(tree: Path, takes: Sequence[Take]) -> None:
    """Write the three tables, and beside each twice-cut test video its first, wrong cut."""
    for split, folder in FOLDERS.items():
        own = [take for take in takes if take.path.startswith(f"{ROOT}/{folder}/")]
        path = tree / ROOT / f"{split}_sent_emo.csv"
        write(path, _table(sorted(own, key=_key)), newline="")
    for take in takes:
        video = tree / take.path
        if video.name.startswith(CUT_AGAIN):
            shutil.copyfile(tree / takes[-1].path, video.with_name(video.name[len(CUT_AGAIN) :]))
            apple_double(video)


def _key(take: Take) -> tuple[int, int]:
    dialogue, utterance = Path(take.path).stem.removeprefix(CUT_AGAIN).split("_")
    return int(dialogue.removeprefix("dia")), int(utterance.removeprefix("utt"))


def _table(takes: Sequence[Take]) -> str:
    table = io.StringIO(newline="")
    rows = csv.writer(table)  # quotes what has a comma, ends lines as Windows does: as the corpus
    rows.writerow(HEADER)
    for number, take in enumerate(takes, 1):
        dialogue, utterance = _key(take)
        word = WORDS[take.emotion]
        times = (f"00:{number // 60:02}:{number % 60:02},{part}00" for part in (1, 9))
        who = take.speaker or EVERYBODY
        sentiment = SENTIMENTS.get(word, "negative")
        rows.writerow([number, take.transcript, who, word, sentiment, dialogue, utterance, 1, 1,
                       *times])  # fmt: skip
    return table.getvalue()


TREE = Tree(
    len(SPEAKERS),
    20,
    Channel(low=100, high=14_000, gain=14, noise=-50, rumble=0.85, decay=0.5, room=-16),
    takes,
    tables,
)
