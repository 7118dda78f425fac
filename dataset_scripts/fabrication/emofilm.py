"""EmoFilm: `wav_corpus/f_ans001aen.wav`, 48 kHz, and a workbook that knows who speaks."""

import io
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from openpyxl import Workbook
from openpyxl.writer.excel import ExcelWriter

from dataset_scripts.fabrication.containers import NOTE, Container
from dataset_scripts.fabrication.tree import Take, Tree, grid
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.words import sentence

ROOT = "EmoFilm"
LEGEND = "f_m_corpus_it_es_en_legend.xlsx"
EMOTIONS = {
    "ans": "fearful", "dis": "contempt", "gio": "happy", "rab": "angry", "tri": "sad",
}  # fmt: skip
SHEETS = {"f": "female", "m": "male"}
LANGUAGES = ("en", "it", "es")  # one scene is dubbed in all three, by other speakers
FIRST_NAMES = {
    "f": ("Lucía", "Marta", "Chiara", "Inés", "Giulia", "Olive"),
    "m": ("Andrés", "Bruno", "Niccolò", "Félix", "Dario", "Ernest"),
}
FAMILIES = ("Prova", "Ensayo", "Sample", "Esempio")
SPEAKERS = [f"{sex}{number}" for number in range(24) for sex in "fm"]
UNKNOWN = ("ans", 1)  # this clip of everybody's is of somebody whom the workbook does not name
LETTERS = "abcdefg"
EPOCH = (1980, 1, 1, 0, 0, 0)  # when time begins in a zip file
LINES = 40  # numbers that a group of three speakers has to itself, for each emotion


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes; the same line has the same number in all languages."""
    for speaker, code, number in grid(SPEAKERS[:speakers], dict.fromkeys(EMOTIONS, 1), clips):
        sex, index = speaker[0], int(speaker[1:])
        language = LANGUAGES[index % 3]
        line = index // 3 * LINES + number + 1
        name = f"{sex}_{code}{line:03}{LETTERS[number % len(LETTERS)]}{language}"
        yield Take(
            path=f"{ROOT}/wav_corpus/{name}.wav",
            speaker=None if (code, number) == UNKNOWN else _name(sex, index),
            sex=SHEETS[sex],
            emotion=EMOTIONS[code],
            text=sentence(language, "emofilm", name[:-2]).phones,
            container=Container(48_000),
            language=language,
        )


def _name(sex: str, index: int) -> str:
    names = FIRST_NAMES[sex]
    return f"{names[index % len(names)]} {FAMILIES[index // len(names)]}"


def tables(tree: Path, takes: Sequence[Take]) -> None:
    """Write the workbook: a sheet a sex, names not always spelt alike, the same bytes each time."""
    book = Workbook()
    book.remove(book.active)
    book.properties.description = NOTE
    for title in SHEETS.values():
        sheet = book.create_sheet(title)
        sheet.append(["file", "speaker", "film"])
        for take in takes:
            if take.sex == title:
                sheet.append(_row(take))
    (tree / ROOT / LEGEND).write_bytes(_saved(book))


def _row(take: Take) -> list[str]:
    name = Path(take.path).stem
    careless = int(name[5:8]) % 2 == 0
    speaker = (_plain(take.speaker) if careless else take.speaker) if take.speaker else "????"
    return [name, speaker, f"film no. {int(name[5:8]) // LINES + 1}"]


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.lower())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _saved(book: Workbook) -> bytes:
    """Return the file without the times of day that openpyxl and zip leave in it."""
    book.properties.created = book.properties.modified = datetime(*EPOCH)
    first, second = io.BytesIO(), io.BytesIO()
    ExcelWriter(book, ZipFile(first, "w", ZIP_DEFLATED)).save()
    with ZipFile(first) as dated, ZipFile(second, "w", ZIP_DEFLATED) as timeless:
        for name in dated.namelist():
            timeless.writestr(ZipInfo(name, EPOCH), dated.read(name))
    return second.getvalue()


TREE = Tree(
    len(SPEAKERS),
    LINES,
    Channel(low=80, high=12_000, gain=9, noise=-54, rumble=0.92, decay=0.6, room=-18),
    takes,
    tables,
)
