"""MELD: utterances of the television series Friends, as mp4, with emotions by raters."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataset_scripts.corpus import Archive, Corpus, Skipped, audio_files, read_table, words
from ser_generalize.errors import InputError
from ser_generalize.schema import SourceClip

# As published. Copies keep these folders, or have the files right in a folder named as the split.
FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
SPLITS = {folder: split for split, folder in FOLDERS.items()} | {split: split for split in FOLDERS}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
CUT_AGAIN = "final_videos_test"  # the prefix of a test video that replaces a wrong cut
FAULTY = {
    ("train", 125, 3): "the published file is corrupt",
    ("train", 309, 0): "wrongly cut: 41 seconds for one sentence",
    ("test", 38, 4): "wrongly cut: 305 seconds for one sentence",
    ("test", 220, 0): "wrongly cut: 235 seconds for one sentence",
}
GROUPS = {"All", "Both", "Guys", "Her-Friends"}  # and "Ross and Joey"
NOBODY = {"an", "Commercial", "Message"}  # a slip, and voices of unnamed people
SAME_PERSON = {  # spellings, and roles that one actor plays
    "Dr. Drake Remoray": "Joey",
    "Dr. Leedbetter": "Dr. Ledbetter",
    "Dr. Stryker Ramoray": "Joey",
    "Fireman #1": "Fireman No. 1",
    "Phoebe Sr.": "Phoebe Sr",
    "Ursula": "Phoebe",
}
WOMEN = {
    "Monica", "Phoebe", "Rachel", "Carol", "Elizabeth", "Emily", "Janice", "Joanna", "Julie",
    "Mona", "Phoebe Sr", "Susan", "Woman",
}  # fmt: skip
MEN = {
    "Chandler", "Joey", "Ross", "Danny", "Doug", "Eric", "Frank", "Gunther", "Man", "Mark", "Mike",
    "Paul", "Pete", "Richard", "Tag",
}  # fmt: skip

CORPUS = Corpus(
    name="meld",
    title="MELD, the Multimodal EmotionLines Dataset",
    home="https://affective-meld.github.io/",
    licence="LicenseRef-MELD-television",  # GPL-3.0 covers the repository, not the series
    licence_url="https://github.com/declare-lab/MELD",
    redistribution="private",
    access="Download MELD.Raw from its [home page](https://affective-meld.github.io/) and unpack "
    "the archives inside; the clips are of a television series, so do not pass them on.",
    citation="""@inproceedings{poria2019meld,
  title = {{MELD}: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations},
  author = {Poria, Soujanya and Hazarika, Devamanyu and Majumder, Navonil and Naik, Gautam and
            Cambria, Erik and Mihalcea, Rada},
  booktitle = {ACL},
  pages = {527--536},
  year = {2019},
  doi = {10.18653/v1/P19-1050}
}""",
    languages=("en",),
    elicitation="acted",
    label_source="perceived",
    labels={
        "neutral": "neutral",
        "joy": "happy",
        "sadness": "sad",
        "anger": "angry",
        "surprise": "surprised",
        "disgust": "disgusted",
        "fear": "fearful",
    },
    file_pattern=rf"({CUT_AGAIN})?dia(\d+)_utt(\d+)\.(?i:mp4)",
    file_example="dia125_utt2.mp4",
    # The tables have 13,708 rows; one video is missing, one corrupt, three are cut wrongly.
    expected_clips={
        "neutral": 6_434,
        "joy": 2_306,
        "sadness": 1_002,
        "anger": 1_607,
        "surprise": 1_636,
        "disgust": 360,
        "fear": 358,
    },
    expected_speakers=269,
    archives=(
        Archive("http://web.eecs.umich.edu/~mihalcea/downloads/MELD.Raw.tar.gz"),  # 10.1 GB
    ),
    known_faults=(
        "Of 13,708 utterances one video is missing (dev dia110_utt7), one corrupt (train "
        "dia125_utt3), and three hold minutes of other scenes (train dia309_utt0, test dia38_utt4 "
        "and dia220_utt0).",
        "158 clips are shorter than 0.2 seconds; laughter of the audience and music lie under "
        "many.",
        "Its own split has the same six actors on all sides, and a dialogue occurs twice.",
        "Where several people speak at once the speaker is null; guests named by their role "
        "(Woman, Waiter) may be several people under one name.",
    ),
)


@dataclass(frozen=True)
class Utterance:
    """A row of a split's table."""

    split: str
    dialogue: int
    number: int
    label: str
    speaker: str | None
    transcript: str

    @property
    def name(self) -> str:
        """Return what makes it unique: dialogues are numbered from 0 in every split."""
        return f"{self.split}_dia{self.dialogue}_utt{self.number}"


Key = tuple[int, int]  # of a video within its split: dialogue and utterance
Videos = dict[Key, list[Path]]


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every utterance of the splits that lie below a folder.

    Raises InputError if a split with videos has no `<split>_sent_emo.csv`, or one without the
    columns that are needed.
    """
    videos = _videos(root)
    for path in sorted(path for paths in videos[None].values() for path in paths):
        yield Skipped(path, f"lies in none of the folders {', '.join(SPLITS)}")
    for split, folder in FOLDERS.items():
        table = min(root.rglob(f"{split}_sent_emo.csv"), default=None)
        if table:
            yield from _of_split(videos[split], _utterances(table, split), table, root / folder)
        elif videos[split]:
            raise InputError(
                f"the videos of MELD's {split} split have no labels: "
                f"{split}_sent_emo.csv is nowhere below {root}; put it there"
            )


def _videos(root: Path) -> dict[str | None, Videos]:
    """Return the videos of each split, and under None those that lie in no split's folder."""
    videos: dict[str | None, Videos] = defaultdict(lambda: defaultdict(list))
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            videos[_split(path, root)][int(match[2]), int(match[3])].append(path)
    return videos


def _split(path: Path, root: Path) -> str | None:
    for folder in path.relative_to(root).parents:
        if folder.name in SPLITS:
            return SPLITS[folder.name]
    return None


def _of_split(
    videos: Videos, utterances: list[Utterance], table: Path, folder: Path
) -> Iterator[SourceClip | Skipped]:
    folder = next((paths[0].parent for paths in videos.values()), folder)
    for utterance in utterances:
        key = utterance.dialogue, utterance.number
        paths = videos.pop(key, [])
        if not paths:
            missing = folder / f"dia{key[0]}_utt{key[1]}.mp4"
            yield Skipped(missing, f"named in {table.name}, but the file is not there")
        yield from _of_utterance(utterance, paths, table)
    for path in sorted(path for paths in videos.values() for path in paths):
        yield Skipped(path, f"has no row in {table.name}")


def _of_utterance(
    utterance: Utterance, paths: list[Path], table: Path
) -> Iterator[SourceClip | Skipped]:
    replaced = any(path.name.startswith(CUT_AGAIN) for path in paths)
    fault = FAULTY.get((utterance.split, utterance.dialogue, utterance.number))
    if utterance.label not in CORPUS.labels:
        fault = f"unknown emotion {utterance.label!r} in {table.name}"
    for path in paths:
        if replaced and not path.name.startswith(CUT_AGAIN):
            yield Skipped(path, f"a wrong cut, replaced by {CUT_AGAIN}{path.name}")
        elif fault:
            yield Skipped(path, fault)
        else:
            yield _clip(path, utterance)


def _clip(path: Path, utterance: Utterance) -> SourceClip:
    return SourceClip(
        path=path,
        name=utterance.name,
        native_label=utterance.label,
        speaker=utterance.speaker,
        language="en",
        sex=_sex(utterance.speaker or ""),
        text=words(utterance.transcript),
        transcript=utterance.transcript,
        official_split=utterance.split,
    )


def _utterances(path: Path, split: str) -> list[Utterance]:
    reader = csv.DictReader(io.StringIO(_decoded(path), newline=""))
    if lacking := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
        raise InputError(
            f"{path} has no column {', '.join(lacking)}; take the table that MELD publishes"
        )
    try:
        return [
            Utterance(
                split=split,
                dialogue=int(row["Dialogue_ID"]),
                number=int(row["Utterance_ID"]),
                label=row["Emotion"].strip().lower(),
                speaker=_person(row["Speaker"]),
                transcript=row["Utterance"].strip(),
            )
            for row in reader
        ]
    except (csv.Error, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}, line {reader.line_num}: not a row of MELD ({error})") from error


def _decoded(path: Path) -> str:
    content = read_table(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")  # as older copies are


def _person(speaker: str) -> str | None:
    """Return one name for one person; None for several people at once, and for nobody."""
    name = re.sub(r"^(A|An|The) ", "", speaker.strip().replace("’", "'"))
    name = name.partition("/")[0]  # "Joey/Drake" is Joey in a role
    if not name or name in GROUPS | NOBODY or " and " in name:
        return None
    return SAME_PERSON.get(name, name)


def _sex(person: str) -> str | None:
    if person in WOMEN or person.startswith(("Mrs. ", "Ms. ", "Aunt ")):
        return "female"
    return "male" if person in MEN or person.startswith("Mr. ") else None
