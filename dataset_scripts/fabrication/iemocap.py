"""IEMOCAP: turns of dialogs, 16 kHz, with what every rater said, and files that are no labels."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from dataset_scripts.fabrication.tree import Take, Tree, apple_double, grid, write
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.randomness import generator
from dataset_scripts.synthesis.words import sentence

ROOT = "IEMOCAP_full_release"
SPEAKERS = [f"Ses0{session}{sex}" for session in range(1, 6) for sex in "FM"]
# The first letter is who wears the markers; it says nothing about who speaks.
SCENES = ("F_impro01", "M_script01_1", "M_impro05a", "F_script02_2")
EMOTIONS = {
    "neu": "neutral", "ang": "angry", "sad": "sad", "hap": "happy", "exc": "excited",
    "fru": "frustrated", "sur": "surprised", "fea": "fearful", "dis": "disgusted",
    "xxx": "frustrated",
}  # fmt: skip
UNDECIDED = "xxx"
CODES = {emotion: code for code, emotion in EMOTIONS.items() if code != UNDECIDED}
SHARES = {
    "neu": 1.0, "ang": 0.7, "sad": 0.7, "hap": 0.5, "exc": 0.7, "fru": 1.0, "sur": 0.2, "fea": 0.1,
    "dis": 0.1, "xxx": 0.5,
}  # fmt: skip
RATERS_WORDS = {
    "neutral": "Neutral", "angry": "Anger", "sad": "Sadness", "happy": "Happiness",
    "excited": "Excited", "frustrated": "Frustration", "surprised": "Surprise", "fearful": "Fear",
    "disgusted": "Disgust", "other": "Other",
}  # fmt: skip
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes; turns are numbered so that those of other numbers of clips fit between."""
    codes = list(EMOTIONS)
    for speaker, code, number in grid(SPEAKERS[:speakers], SHARES, clips):
        dialog = speaker[:-1] + SCENES[number % len(SCENES)]
        turn = f"{dialog}_{speaker[-1]}{number // len(SCENES) * len(codes) + codes.index(code):03}"
        text = sentence("en", "iemocap", turn)
        yield Take(
            path=f"{ROOT}/Session{speaker[4]}/sentences/wav/{dialog}/{turn}.wav",
            speaker=speaker,
            sex="female" if speaker[-1] == "F" else "male",
            emotion=EMOTIONS[code],
            text=text.phones,
            transcript=text.written,
            votes=tuple(Counter(chain.from_iterable(_choices(turn, code))).items()),
            undecided=code == UNDECIDED,
        )


def _choices(turn: str, code: str) -> list[list[str]]:
    """Return what each of three raters chose: one may choose several; two agree, or nobody does."""
    rng = generator("iemocap", turn)
    others = [emotion for emotion in RATERS_WORDS if emotion != EMOTIONS[code]]
    first, second, third = (str(emotion) for emotion in rng.permutation(others)[:3])
    if code == UNDECIDED:
        return [[first], [second], [third]]
    return [[EMOTIONS[code]], [first], [EMOTIONS[code], *([second] if rng.random() < 0.3 else [])]]


def tables(tree: Path, takes: Sequence[Take]) -> None:
    """Write the dialogs' evaluations and transcripts, and the folders and files to pass over."""
    for dialog in sorted({Path(take.path).parent.name for take in takes}):
        own = sorted(
            (take for take in takes if Path(take.path).parent.name == dialog),
            key=lambda take: take.path,
        )
        folder = tree / ROOT / f"Session{dialog[4]}" / "dialog"
        evaluation = folder / "EmoEvaluation" / f"{dialog}.txt"
        write(evaluation, HEADER + "".join(_evaluation(take, at) for at, take in enumerate(own)))
        apple_double(evaluation)
        _write_single_raters(evaluation.parent, dialog, own)
        lines = (f"{_turn(take)} [{_times(at, '-')}]: {take.transcript}\n"
                 for at, take in enumerate(own))  # fmt: skip
        write(folder / "transcriptions" / f"{dialog}.txt", "".join(lines))


def _turn(take: Take) -> str:
    return Path(take.path).stem


def _code(take: Take) -> str:
    return UNDECIDED if take.undecided else CODES[take.emotion]


def _times(position: int, between: str) -> str:
    return f"{4 * position:08.4f}{between}{4 * position + 3:08.4f}"


def _evaluation(take: Take, position: int) -> str:
    """Return a turn's block: the label, the raters, the actor about himself, the attributes."""
    sex, code = _turn(take)[-4], _code(take)
    raters = enumerate(_choices(_turn(take), code), 2)
    return "".join(
        [
            f"[{_times(position, ' - ')}]\t{_turn(take)}\t{code}\t[2.5000, 3.0000, 3.5000]\n",
            *(f"C-E{rater}:\t{_words(choices)}\t()\n" for rater, choices in raters),
            f"C-{sex}1:\tOther;\t(made up)\n",
            "A-E3:\tval 2; act 3; dom  3;\t()\n",
            f"A-{sex}1:\tval 3; act 3; dom  4;\t()\n\n",
        ]
    )


def _words(choices: Iterable[str]) -> str:
    return " ".join(f"{RATERS_WORDS[emotion]};" for emotion in choices)


def _write_single_raters(folder: Path, dialog: str, takes: Sequence[Take]) -> None:
    """Write one rater's own files: a reader of the labels must not walk into their folders."""
    turns = [_turn(take) for take in takes]
    categories = "".join(f"{turn} :Surprise; ()\n" for turn in turns)
    write(folder / "Categorical" / f"{dialog}_e2_cat.txt", categories)
    attributes = "".join(f"{turn} :act 3; :val 2; :dom 3; ()\n" for turn in turns)
    write(folder / "Attribute" / f"{dialog}_e3_atr.txt", attributes)


TREE = Tree(
    len(SPEAKERS),
    99,
    Channel(low=60, high=7_600, gain=6, noise=-60, rumble=0.95, decay=0.35, room=-18),
    takes,
    tables,
)
