"""CREMA-D: 91 American actors, twelve sentences, six emotions, and what listeners heard in them."""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dataset_scripts.corpus import Corpus, Skipped, audio_files
from ser_generalize.errors import InputError
from ser_generalize.schema import SourceClip

EMOTION_CODES = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": None}  # None: not asked for
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
NO_SPEECH = "1076_MTI_SAD_XX"
NOT_RECORDED = {"1002": 1, "1008": 6, "1009": 6, "1019": 6, "1076": 1}  # clips of 82 an actor

PEOPLE = "VideoDemographics.csv"
COUNTS = "tabulatedVotes.csv"
WINNERS = "summaryTable.csv"
VOTE_LETTERS = {
    "A": "angry",
    "D": "disgusted",
    "F": "fearful",
    "H": "happy",
    "N": "neutral",
    "S": "sad",
}
Votes = tuple[tuple[str, int | None], ...]

CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset",
    home="https://github.com/CheyneyComputerScience/CREMA-D",
    licence="ODbL-1.0",
    licence_url="https://opendatacommons.org/licenses/odbl/1-0/",
    redistribution="public",
    access="Clone [its repository](https://github.com/CheyneyComputerScience/CREMA-D) with Git LFS "
    "installed; GitHub's own ZIP holds pointers in place of the recordings.",
    citation="""@article{cao2014cremad,
  title = {{CREMA-D}: Crowd-sourced Emotional Multimodal Actors Dataset},
  author = {Cao, Houwei and Cooper, David G. and Keutmann, Michael K. and Gur, Ruben C.
            and Nenkova, Ani and Verma, Ragini},
  journal = {IEEE Transactions on Affective Computing},
  volume = {5},
  number = {4},
  pages = {377--390},
  year = {2014},
  doi = {10.1109/TAFFC.2014.2336244}
}""",
    languages=("en",),
    elicitation="acted",
    label_source="acted",
    labels={
        "anger": "angry",
        "disgust": "disgusted",
        "fear": "fearful",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
    },
    # Old copies have one name with a single X. The .mp3 of the same names are what raters heard.
    file_pattern=r"(10\d\d)_({})_({})_(LO|MD|HI|XX?)\.(?i:wav)".format(
        "|".join(SENTENCES), "|".join(EMOTION_CODES)
    ),
    file_example="1001_IEO_ANG_HI.wav",
    expected_clips={
        "anger": 1_271,
        "disgust": 1_271,
        "fear": 1_271,
        "happy": 1_271,
        "neutral": 1_087,
        "sad": 1_270,  # without the one that has no speech
    },
    expected_speakers=91,
    expected_speaker_clips={
        str(actor): 82 - NOT_RECORDED.get(str(actor), 0) - (actor == int(NO_SPEECH[:4]))
        for actor in range(1001, 1092)
    },
    known_faults=(
        f"{NO_SPEECH} has no speech and is left out.",
        "Three pairs of recordings are the same under two emotions and are left out: 1006_TIE_HAP "
        "and 1006_TIE_NEU, 1013_WSI_DIS and 1013_WSI_SAD, 1017_IWW_ANG and 1017_IWW_FEA.",
        "Listeners who only heard the voice named the intended emotion most often for 42 % of the "
        "clips, and neutral for more than half of them.",
        "The published counts leave out answers whose first click took more than ten seconds.",
        "Intensity was asked for in one sentence of twelve.",
    ),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every clip below a folder, and which of the tables about them are not there."""
    people, votes = _people(root), _votes(root)
    found = False
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            found = True
            yield _clip(path, match, people, votes)
    if found and not people:
        yield Skipped(root / PEOPLE, "not there, so that sex and age are unknown")
    if found and not votes:
        yield Skipped(root / COUNTS, "not there, so that no clip has votes of listeners")


def _clip(
    path: Path,
    match: re.Match[str],
    people: Mapping[str, tuple[str, int]],
    votes: Mapping[str, Votes],
) -> SourceClip | Skipped:
    actor, sentence, emotion, level = match.groups()
    level = level.ljust(2, "X")
    name = f"{actor}_{sentence}_{emotion}_{level}"
    if name == NO_SPEECH:
        return Skipped(path, "has no speech, as the authors of the corpus say")
    sex, age = people.get(actor, (None, None))
    return SourceClip(
        path=path,
        name=name,
        native_label=EMOTION_CODES[emotion],
        speaker=actor,
        language="en",
        sex=sex,
        age=age,
        text=sentence,
        transcript=SENTENCES[sentence],
        intensity=LEVELS[level],
        votes=votes.get(name, ()),
    )


def _people(root: Path) -> dict[str, tuple[str, int]]:
    return {
        row["ActorID"]: (row["Sex"].lower(), int(row["Age"]))
        for row in _rows(root, PEOPLE, ("ActorID", "Age", "Sex"))
    }


def _votes(root: Path) -> dict[str, Votes]:
    """Return what listeners of the voice alone heard: counts, or else the winners without them."""
    counted = {
        row["fileName"]: _counts(row)
        for row in _rows(root, COUNTS, ("", "fileName", *VOTE_LETTERS))
        if row[""].startswith("1")  # 2: they saw the face, 3: both
    }
    return counted or {
        row["FileName"]: tuple(
            (VOTE_LETTERS[letter], None) for letter in row["VoiceVote"].split(":")
        )
        for row in _rows(root, WINNERS, ("FileName", "VoiceVote"))
    }


def _counts(row: Mapping[str, str]) -> Votes:
    votes = ((emotion, int(row[letter])) for letter, emotion in VOTE_LETTERS.items())
    return tuple((emotion, count) for emotion, count in votes if count)


def _rows(root: Path, name: str, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table of the corpus, none where it is not there."""
    for path in sorted(root.rglob(name))[:1]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if missing := set(columns) - set(table.fieldnames or ()):
                raise InputError(f"{path} has no column {min(missing)}; get the corpus's own table")
            for row in table:
                if None in row.values():
                    raise InputError(f"{path} ends within line {table.line_num}; get it anew")
                yield row
