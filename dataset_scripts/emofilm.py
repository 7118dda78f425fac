"""EmoFilm: lines of 43 films in English, Spanish and Italian dubbing, five emotions, no neutral."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

from dataset_scripts.corpus import Corpus, Skipped, audio_files
from ser_generalize.errors import InputError
from ser_generalize.schema import SourceClip

EMOTION_CODES = {  # of the Italian words
    "ans": "ansia",
    "dis": "disprezzo",
    "gio": "gioia",
    "rab": "rabbia",
    "tri": "tristezza",
}
SEXES = {"f": "female", "m": "male"}
LEGEND = "f_m_corpus_it_es_en_legend.xlsx"
COLUMNS = ("file", "speaker", "film")
# One person, or one film, that the legend spells in several ways, after folding case and accents.
SPEAKERS = {
    "constantino romero 6": "constantino romero",
    "giuppi izzo": "giuppy izzo",
    "massimo de ambrosio": "massimo de ambrosis",
    "robert duval": "robert duvall",
}
FILMS = {
    "a bautiful mind": "a beautiful mind",
    "american hisotry x": "american history x",
    "beautiful mind": "a beautiful mind",
    "bicentennian man": "bicentennial man",
    "borkeback mountain": "brokeback mountain",
    "borkebackmountain": "brokeback mountain",
    "brokeback": "brokeback mountain",
    "joe black": "meet joe black",
    "million dolar baby": "million dollar baby",
    "poltergueist": "poltergeist",
    "the life of the others": "the lives of others",
    "the live of the others": "the lives of others",
    "ther interpreter": "the interpreter",
    "will hinting": "good will hunting",
}

CORPUS = Corpus(
    name="emofilm",
    title="EmoFilm",
    home="https://zenodo.org/records/7665999",
    licence="LicenseRef-EmoFilm-EULA",
    licence_url="https://zenodo.org/records/7665999",
    redistribution="private",  # extracts of commercial films
    access="Ask for it on [Zenodo](https://zenodo.org/records/7665999) and sign its licence.",
    citation="""@inproceedings{paradacabaleiro2018categorical,
  title = {Categorical vs Dimensional Perception of {Italian} Emotional Speech},
  author = {Parada-Cabaleiro, Emilia and Costantini, Giovanni and Batliner, Anton
            and Baird, Alice and Schuller, Bj{\\"o}rn},
  booktitle = {Interspeech},
  pages = {3638--3642},
  year = {2018},
  doi = {10.21437/Interspeech.2018-47}
}""",
    languages=("en", "es", "it"),
    elicitation="acted",
    label_source="acted",
    labels={
        "ansia": "fearful",
        "disprezzo": "contempt",  # not disgust, as the code suggests
        "gioia": "happy",
        "rabbia": "angry",
        "tristezza": "sad",
    },
    # A copy resampled by others ends in _16k.
    file_pattern=r"([fm])_(ans|dis|gio|rab|tri)(\d{3}[a-gs])(en|es|it)(?:_16k)?\.(?i:wav)",
    file_example="f_ans001aen.wav",
    expected_clips={
        "ansia": 221,
        "disprezzo": 168,
        "gioia": 240,
        "rabbia": 232,
        "tristezza": 254,
    },
    expected_speakers=202,
    known_faults=(
        "There is no neutral speech.",
        "A line is there in up to three languages, said by different dubbers; `text_id` is shared.",
        "The paper counts 207 speakers; the legend's spellings fold to about 202, and 22 clips "
        "have no name, which are of unknown speaker here.",
        "`session` is the film.",
    ),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every clip below a folder; speaker and film come from the legend, where it is."""
    legend = _legend(root)
    found = False
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            found = True
            sex, emotion, line, language = match.groups()
            text = f"{sex}_{emotion}{line}"
            speaker, film = legend.get(f"{text}{language}", (None, None))
            yield SourceClip(
                path=path,
                name=f"{text}{language}",
                native_label=EMOTION_CODES[emotion],
                speaker=speaker,
                language=language,
                sex=SEXES[sex],
                text=text,
                session=film,
            )
    if found and not legend:
        yield Skipped(root / LEGEND, "not there, so that speakers and films are unknown")


def _legend(root: Path) -> dict[str, tuple[str | None, str | None]]:
    """Return speaker and film of every file name, from both sheets of the legend."""
    return {
        str(file).strip(): (_folded(speaker, SPEAKERS), _folded(film, FILMS))
        for path in sorted(root.rglob(LEGEND))[:1]
        for file, speaker, film in _rows(path)
    }


def _rows(path: Path) -> Iterator[tuple[object, ...]]:
    """Yield file, speaker and film of every row of every sheet."""
    from openpyxl import load_workbook  # a tenth of a second, for one corpus

    try:
        workbook = load_workbook(path, data_only=True)
    except (BadZipFile, KeyError, ValueError) as error:
        raise InputError(f"{path} is no Excel workbook ({error}); get the corpus's own") from None
    for sheet in workbook.worksheets:
        rows = sheet.iter_rows(values_only=True)
        if not (head := next(rows, ())):
            continue  # Excel adds empty sheets
        if missing := set(COLUMNS) - set(head):
            raise InputError(f"{path}, sheet {sheet.title}, has no column {min(missing)}")
        yield from (
            tuple(row[head.index(column)] for column in COLUMNS) for row in rows if any(row)
        )


def _folded(name: object, same: dict[str, str]) -> str | None:
    """Return one spelling of a name: no case, accents or stray signs; None for "" and "????"."""
    letters = unicodedata.normalize("NFKD", str(name or "").casefold())
    words = re.findall(r"\w+", "".join(sign for sign in letters if not unicodedata.combining(sign)))
    folded = " ".join(words)
    return same.get(folded, folded) or None
