"""Complete copies of the corpora: empty files under their real names, beside their real tables."""

import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from openpyxl import Workbook

from dataset_scripts.corpus import AUDIO_SUFFIXES, load_script
from ser_generalize.schema import SourceClip

Tree = Callable[[str], Path]
Clips = Callable[[str], list[SourceClip]]

# Where the names of a whole copy are listed, of the corpora that are not there themselves.
NAMES = {
    "asvp_esd": "listings/asvp_esd.tsv",
    "crema_d": "listings/crema_d.tsv",
    "emofilm": "listings/emofilm.tsv",
    "emov_db": "listings/emov_db_sorted.tsv",  # the OpenSLR listing lacks six of them
    "esd": "listings/esd.tsv",
    "iemocap": "listings/iemocap.tsv",
    "jl_corpus": "listings/jl_corpus.tsv",
    "meld": "listings/meld.tsv",
    "ravdess": "listings/ravdess.tsv",
    "savee": "manifests/savee.tsv",
    "tess": "manifests/tess.tsv",
}
# One text is a scene, whatever the language that it is dubbed in.
DUBBED = {"emofilm"}
# What a copy cannot show, because what says it was not published.
LABELS_UNKNOWN = {"iemocap": "the turns that are listed are those of four classes, without labels"}


def touch(root: Path, names: Iterable[str]) -> Path:
    """Make empty files below a folder and return the folder."""
    for path in _placed(root, names):
        path.touch()
    return root


def link(root: Path, names: Iterable[str]) -> Path:
    """Do the same five times as fast: the files are one, so never write to any."""
    first, *others = names
    touch(root, [first])
    for path in _placed(root, others):
        path.hardlink_to(root / first)
    return root


def _placed(root: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yield the paths of names below a folder, each once its own folder is there."""
    folders = set()
    for name in names:
        path = root / name
        if path.parent not in folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            folders.add(path.parent)
        yield path


def parsed(name: str, root: Path) -> list[SourceClip]:
    return [clip for clip in load_script(name)[1](root) if isinstance(clip, SourceClip)]


def listed(shared: Path, name: str) -> list[str]:
    """Return the paths of a complete copy of a corpus."""
    lines = (shared / NAMES[name]).read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in lines[1:]]


def complete_copy(name: str, shared: Path, root: Path) -> Path:
    """Return the folder of a complete copy of a corpus: one made in `root`, or the corpus."""
    if name not in NAMES:
        return shared / "corpora" / name
    link(root, listed(shared, name))
    if name in TABLES:
        TABLES[name](shared, root)
    return root


def copy_tables(source: Path, target: Path) -> None:
    """Copy whatever is not audio, in its place: a corpus's tables."""
    for path in source.rglob("*"):
        if path.is_file() and path.suffix.lower() not in AUDIO_SUFFIXES:
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _crema_d_tables(shared: Path, root: Path) -> None:
    copy_tables(shared / "corpora" / "crema_d", root)


def _emofilm_tables(_shared: Path, root: Path) -> None:
    """Give every line a speaker of its own until all are used; 22 lines have none, in two ways."""
    names = [wav.stem for wav in sorted(root.rglob("*.wav"))]
    people = load_script("emofilm")[0].expected_speakers
    speakers = [f"Speaker {letters(number % people)}" for number in range(len(names))]
    speakers[-22:] = ["????", ""] * 11
    rows = [
        (name, speaker, f"Film {letters(number % 43)}")
        for number, (name, speaker) in enumerate(zip(names, speakers, strict=True))
    ]
    write_legend(root, rows)


def letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def write_legend(root: Path, rows: Sequence[tuple[str, str | None, str | None]]) -> Path:
    """Write EmoFilm's workbook: file, speaker and film, on one sheet for each sex."""
    workbook = Workbook()
    workbook.remove(workbook.active)
    for sex in ("female", "male"):
        sheet = workbook.create_sheet(sex)
        sheet.append(["file", "speaker", "film"])
        for row in rows:
            if row[0].startswith(sex[0]):
                sheet.append(row)
    path = root / "f_m_corpus_it_es_en_legend.xlsx"
    workbook.save(path)
    return path


def _meld_tables(shared: Path, root: Path) -> None:
    copy_tables(shared / "listings" / "meld_csv", root)


def _iemocap_tables(_shared: Path, root: Path) -> None:
    """Call every turn neutral: which of four labels it has is not listed."""
    dialogs = defaultdict(list)
    for wav in sorted(root.rglob("*.wav")):
        dialogs[wav.parent].append(wav.stem)
    for folder, turns in dialogs.items():
        dialog = folder.parents[2] / "dialog"
        write_evaluation(dialog, {turn: ("neu", ["Neutral", "Neutral"]) for turn in turns})


def write_evaluation(dialog: Path, turns: dict[str, tuple[str, list[str]]]) -> Path:
    """Write IEMOCAP's label file of a dialog: each turn's code and what each rater chose."""
    name = re.sub(r"_[FM]\d+$", "", next(iter(turns)))
    path = dialog / "EmoEvaluation" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"]
    for number, (turn, (code, choices)) in enumerate(turns.items()):
        times = f"[{number:.4f} - {number + 0.5:.4f}]"
        blocks.append(f"{times}\t{turn}\t{code}\t[2.0000, 2.5000, 2.5000]\n")
        blocks += [f"C-E{rater}:\t{choice};\t()\n" for rater, choice in enumerate(choices, 1)]
        blocks.append("C-F1:\tFear;\t(self)\nA-E1:\tval 2; act 3; dom  2;\t()\n\n")
    path.write_text("".join(blocks), encoding="latin-1")
    return path


TABLES: dict[str, Callable[[Path, Path], None]] = {
    "crema_d": _crema_d_tables,
    "emofilm": _emofilm_tables,
    "iemocap": _iemocap_tables,
    "meld": _meld_tables,
}
