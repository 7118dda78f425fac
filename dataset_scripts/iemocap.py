"""IEMOCAP: ten actors in five sessions of two, scripted plays and improvisations, rated turns."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dataset_scripts.corpus import Corpus, Skipped, audio_files, read_table, words
from ser_generalize.errors import InputError
from ser_generalize.schema import SourceClip

VOTE_WORDS = {  # what raters could choose
    "neutral": "neutral",
    "neutral state": "neutral",
    "anger": "angry",
    "sadness": "sad",
    "happiness": "happy",
    "excited": "excited",
    "surprise": "surprised",
    "frustration": "frustrated",
    "fear": "fearful",
    "disgust": "disgusted",
    "other": "other",
}
# "[6.2901 - 8.2357]  Ses01F_impro01_F000  neu  [2.5000, 2.5000, 2.5000]"
EVALUATION = re.compile(r"\[[^\]]*\]\s+(Ses\w+)\s+(\w+)\s+\[.*")
# "C-E2:  Frustration; Other;  (disbelief)". C-F and C-M are the actors judging themselves.
RATER = re.compile(r"C-E\d+:\s*([^(]*)\(?.*")
TRANSCRIPT = re.compile(r"(Ses\w+) \[[^\]]*\]:\s*(.*?)\s*")

CORPUS = Corpus(
    name="iemocap",
    title="IEMOCAP, the Interactive Emotional Dyadic Motion Capture database",
    home="https://sail.usc.edu/iemocap/",
    licence="LicenseRef-IEMOCAP-research-only",
    licence_url="https://sail.usc.edu/iemocap/Data_Release_Form_IEMOCAP.pdf",
    redistribution="private",
    access="Send the [release form](https://sail.usc.edu/iemocap/Data_Release_Form_IEMOCAP.pdf) to "
    "USC SAIL from an academic address.",
    citation="""@article{busso2008iemocap,
  title = {{IEMOCAP}: Interactive Emotional Dyadic Motion Capture Database},
  author = {Busso, Carlos and Bulut, Murtaza and Lee, Chi-Chun and Kazemzadeh, Abe and Mower, Emily
            and Kim, Samuel and Chang, Jeannette N. and Lee, Sungbok and Narayanan, Shrikanth S.},
  journal = {Language Resources and Evaluation},
  volume = {42},
  number = {4},
  pages = {335--359},
  year = {2008},
  doi = {10.1007/s10579-008-9076-6}
}""",
    languages=("en",),
    elicitation="elicited",  # of the improvisations; a clip of a play says "acted"
    label_source="perceived",
    labels={
        "neu": "neutral",
        "ang": "angry",
        "sad": "sad",
        "hap": "happy",
        "exc": "excited",
        "sur": "surprised",
        "fru": "frustrated",
        "fea": "fearful",
        "dis": "disgusted",
        "oth": "other",
        "xxx": None,  # no majority among the raters
    },
    # The first letter is who wears the markers in this dialog, the last is who speaks.
    file_pattern=(r"((Ses0[1-5])[FM]_(impro|script)\d\d(?:_\d)?[ab]?)_([FM])\d{3}\.(?i:wav)"),
    file_example="Ses02F_impro01_F001.wav",
    expected_clips={
        "neu": 1_708,
        "ang": 1_103,
        "sad": 1_084,
        "hap": 595,
        "exc": 1_041,
        "sur": 107,
        "fru": 1_849,
        "fea": 40,
        "dis": 2,
        "oth": 3,
        "xxx": 2_507,
    },
    expected_speakers=10,
    expected_speaker_clips={
        "Ses01F": 873,
        "Ses01M": 946,
        "Ses02F": 859,
        "Ses02M": 952,
        "Ses03F": 1_048,
        "Ses03M": 1_088,
        "Ses04F": 987,
        "Ses04M": 1_116,
        "Ses05F": 1_033,
        "Ses05M": 1_137,
    },
    known_faults=(
        "The raters agreed on no label for 2,507 of the 10,039 turns; their votes are kept.",
        "A rater could choose several emotions for a turn; in `votes` each of them counts as one.",
        "All sessions play the same scripts. Turns with the same words have the same `text_id`; a "
        "line that an actor changed has another, so only leaving out the plays (`elicitation` "
        "acted) rules shared texts out.",
        "Happiness is rare (595 turns), surprise rarer (107), fear and disgust hardly occur.",
    ),
)


@dataclass(frozen=True)
class Evaluation:
    """What the raters said about a turn: the label of the majority and every choice of theirs."""

    code: str
    choices: tuple[str, ...]


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every turn below a folder that holds SessionN/dialog and SessionN/sentences.

    Raises InputError if a dialog with turns has no file in SessionN/dialog/EmoEvaluation.
    """
    tables = {path.stem: path for path in _texts(root, "EmoEvaluation")}
    evaluations = {dialog: _evaluations(path) for dialog, path in tables.items()}
    transcripts = _transcripts(root)
    turns = set()
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            turns.add(path.stem)
            dialog = match[1]
            if dialog not in tables:
                raise InputError(_no_table(root, path, dialog))
            evaluation = evaluations[dialog].get(path.stem)
            if reason := _reason_to_skip(evaluation):
                yield Skipped(path, f"{reason} in {tables[dialog].name}")
            elif evaluation:
                yield _clip(path, match, evaluation, transcripts.get(path.stem))
    yield from _missing(tables, evaluations, turns)


def _texts(root: Path, folder: str) -> list[Path]:
    """Return the dialogs' text files; those of single raters lie in folders below them."""
    found = root.rglob(f"dialog/{folder}/Ses*.txt")  # macOS's "._Ses..." are none
    return sorted(found, reverse=True)  # of two copies the first stays


def _lines(path: Path) -> list[str]:
    return read_table(path).decode("latin-1").splitlines()


def _no_table(root: Path, turn: Path, dialog: str) -> str:
    return (
        f"{turn} has no label: dialog/EmoEvaluation/{dialog}.txt is nowhere below {root}; "
        f"give the folder that holds Session1 to Session5 of {CORPUS.title}"
    )


def _evaluations(path: Path) -> dict[str, Evaluation]:
    found: dict[str, Evaluation] = {}
    turn = None
    for line in _lines(path):
        if match := EVALUATION.fullmatch(line):
            turn = match[1]
            found[turn] = Evaluation(match[2], ())
        elif turn and (match := RATER.fullmatch(line)):
            chosen = (choice.strip().lower() for choice in match[1].split(";"))
            choices = (*found[turn].choices, *filter(None, chosen))
            found[turn] = Evaluation(found[turn].code, choices)
    return found


def _reason_to_skip(evaluation: Evaluation | None) -> str | None:
    if evaluation is None:
        return "it has no row"
    if evaluation.code not in CORPUS.labels:
        return f"unknown label {evaluation.code!r}"
    unknown = sorted({*evaluation.choices} - VOTE_WORDS.keys())
    return f"unknown choice {unknown[0]!r} of a rater" if unknown else None


def _clip(
    path: Path, name: re.Match[str], evaluation: Evaluation, transcript: str | None
) -> SourceClip:
    _dialog, session, scene, speaker = name.groups()
    return SourceClip(
        path=path,
        name=path.stem,
        native_label=evaluation.code,
        speaker=session + speaker,
        language="en",
        sex="female" if speaker == "F" else "male",
        text=None if transcript is None else words(transcript),
        transcript=transcript,
        session=session,
        votes=_votes(evaluation),
        elicitation="elicited" if scene == "impro" else "acted",
    )


def _votes(evaluation: Evaluation) -> tuple[tuple[str, int], ...]:
    counts = Counter(VOTE_WORDS[choice] for choice in evaluation.choices)
    return tuple(sorted(counts.items(), key=lambda vote: (-vote[1], vote[0])))


def _transcripts(root: Path) -> dict[str, str]:
    lines = (line for path in _texts(root, "transcriptions") for line in _lines(path))
    return {match[1]: match[2] for line in lines if (match := TRANSCRIPT.fullmatch(line))}


def _missing(
    tables: Mapping[str, Path],
    evaluations: Mapping[str, Mapping[str, Evaluation]],
    turns: set[str],
) -> Iterator[Skipped]:
    for dialog, table in sorted(tables.items()):
        folder = table.parents[2] / "sentences" / "wav" / dialog
        for turn in sorted(evaluations[dialog].keys() - turns):
            reason = f"named in {table.name}, but the file is not there"
            yield Skipped(folder / f"{turn}.wav", reason)
