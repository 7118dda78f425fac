"""ESD: 350 sentences in five emotions by ten Mandarin and ten English speakers each."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.corpus import Corpus, Skipped, audio_files, read_table
from ser_generalize.schema import SourceClip

# A clip's number says everything: 1-350 are neutral, 351-700 the same sentences in anger, ...
EMOTIONS_BY_NUMBER = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
SENTENCES = 350
EVALUATION, TEST = 20, 50  # the last item of each split; the rest of the 350 is for training
MALE = {"0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020"}
MANDARIN = {f"{number:04}" for number in range(1, 11)}
# Of a text file: clip, words, and the emotion, which Mandarin speakers' files name in Chinese. Tabs
# part them, or spaces; the emotion is not always there.
TRANSCRIPT = re.compile(
    r"\s*(\d{4})[_-](\d{6})\s+(.+?)"
    r"(?:\s+(?:Neutral|Angry|Happy|Sad|Surprise|中立|生气|快乐|伤心|惊喜))?\s*"
)

CORPUS = Corpus(
    name="esd",
    title="ESD, the Emotional Speech Dataset",
    home="https://hltsingapore.github.io/ESD/",
    licence="LicenseRef-ESD-research-only",
    licence_url="https://github.com/HLTSingapore/Emotional-Speech-Data",
    redistribution="private",
    access="Complete the licence form on its [home page](https://hltsingapore.github.io/ESD/) and "
    "send it in by e-mail.",
    citation="""@inproceedings{zhou2021seen,
  title = {Seen and Unseen Emotional Style Transfer for Voice Conversion with a New Emotional
           Speech Dataset},
  author = {Zhou, Kun and Sisman, Berrak and Liu, Rui and Li, Haizhou},
  booktitle = {ICASSP},
  pages = {920--924},
  year = {2021}
}""",
    languages=("zh", "en"),
    elicitation="acted",
    label_source="acted",
    labels={
        "Neutral": "neutral",
        "Angry": "angry",
        "Happy": "happy",
        "Sad": "sad",
        "Surprise": "surprised",
    },
    # The documentation draws a dash where the files have an underscore.
    file_pattern=r"(00(?:0[1-9]|1\d|20))[_-](\d{6})\.(?i:wav)",
    file_example="0011_000351.wav",
    expected_clips=dict.fromkeys(EMOTIONS_BY_NUMBER, 7_000),
    expected_speakers=20,
    expected_speaker_clips={f"{number:04}": 1_750 for number in range(1, 21)},
    known_faults=(
        "Every sentence is said in every emotion and by all ten speakers of its language, so "
        "splits that are disjoint in speakers still share all texts.",
        "Its own split into training, evaluation and test has all speakers on all sides.",
        "A few transcripts do not belong to their clip; labels do not depend on them.",
    ),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every clip below a folder; the folders of emotions and splits may be there or not."""
    transcripts = _transcripts(root)
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            speaker, number = match[1], int(match[2])
            if reason := _reason_to_skip(path, number):
                yield Skipped(path, reason)
            else:
                yield _clip(path, speaker, number, transcripts.get((speaker, number)))


def _reason_to_skip(path: Path, number: int) -> str | None:
    if not 1 <= number <= SENTENCES * len(EMOTIONS_BY_NUMBER):
        return "its number is not among 1 to 1750"
    emotion = _emotion(number)
    folders = {folder.name for folder in list(path.parents)[:2]}  # a split's may lie between
    if others := (folders & {*EMOTIONS_BY_NUMBER}) - {emotion}:
        return f"its number says {emotion}, its folder {others.pop()}"
    return None


def _emotion(number: int) -> str:
    return EMOTIONS_BY_NUMBER[(number - 1) // SENTENCES]


def _clip(path: Path, speaker: str, number: int, transcript: str | None) -> SourceClip:
    language = "zh" if speaker in MANDARIN else "en"
    item = (number - 1) % SENTENCES + 1
    return SourceClip(
        path=path,
        name=f"{speaker}_{number:06}",
        native_label=_emotion(number),
        speaker=speaker,
        language=language,
        sex="male" if speaker in MALE else "female",
        text=f"{language}-{item:03}",
        transcript=transcript,
        official_split=_split(item),
    )


def _split(item: int) -> str:
    if item <= EVALUATION:
        return "evaluation"
    return "test" if item <= TEST else "train"


def _transcripts(root: Path) -> dict[tuple[str, int], str]:
    """Return what the speakers' text files say, by speaker and number; lines that say less."""
    found = {}
    for path in sorted(root.rglob("00[0-2][0-9].txt")):
        text = _decoded(read_table(path), "gb18030" if path.stem in MANDARIN else "cp1252")
        for line in text.splitlines():
            if match := TRANSCRIPT.fullmatch(line.replace("\ufeff", "")):
                found[match[1], int(match[2])] = match[3]
    return found


def _decoded(content: bytes, local: str) -> str:
    """Decode a text file: the twenty speakers' are in four encodings, some with marks, some not."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        return content.decode("utf-16-le", errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode(local, errors="replace")
