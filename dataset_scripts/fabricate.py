"""Fabricate raw corpus trees: the real names, containers and imbalance, with synthetic speech.

    python -m dataset_scripts.fabricate --out DIR [--corpora C ...] [--speakers N] [--clips N]

The demo and the tests run on these trees, so that they need no download and no licence. What they
teach about emotion is nil: the emotion was put there by formula (see `synthesis`). To add a corpus,
write a function like `fabricate_ravdess` and enter it in CORPORA.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

from dataset_scripts.corpus import FABRICATED
from dataset_scripts.synthesis import draw_voice, synthesise
from ser_generalize.command import CommandParser, progress_bar, run_command
from ser_generalize.errors import InputError, one_of
from ser_generalize.files import staged

NOTE = "fabricated by ser-generalize; no human speech"  # in every file, lest one pass for real


@dataclass(frozen=True)
class Take:
    """One file to fabricate: where it goes, who speaks and how."""

    path: str  # within the corpus's folder
    speaker: str
    sex: str  # female | male
    emotion: str  # a key of synthesis.EMOTIONS
    text: str  # ARPAbet
    rate: int  # Hz
    intensity: float = 1.0


RAVDESS_ACTORS = 24
RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
RAVDESS_INTENSITIES = (0.8, 1.2)  # normal, strong
RAVDESS_STATEMENTS = (
    "K IH1 D Z | AA0 R | T AO1 K IH0 NG | B AY0 | DH AH0 | D AO1 R",
    "D AO1 G Z | AA0 R | S IH1 T IH0 NG | B AY0 | DH AH0 | D AO1 R",
)
RAVDESS_TAKES = ((1, 1), (1, 2), (2, 1), (2, 2))  # (repetition, statement), in the order of use


def fabricate_ravdess(out: Path, speakers: int = 6, clips: int = 4, seed: int = 0) -> list[Take]:
    """Write a raw RAVDESS tree, `Actor_XX/03-01-EE-II-SS-RR-AA.wav`, 48 kHz, 16 bit, mono.

    `clips` (2, 4, 6 or 8, as in the corpus) is the number per speaker and emotion; neutral, which
    has no strong intensity, gets half. Each file depends on the seed and its own name only, so a
    larger tree contains the smaller one. Returns what was written. Raises InputError, and leaves
    nothing behind, if the numbers are outside the corpus or `out` is not empty.
    Source: Livingstone & Russo (2018).
    """
    if not 1 <= speakers <= RAVDESS_ACTORS:
        raise InputError(f"ravdess cannot have {speakers} speakers; choose 1 to {RAVDESS_ACTORS}")
    one_of("number of ravdess clips per emotion", str(clips), ("2", "4", "6", "8"))
    takes = [take for actor in range(1, speakers + 1) for take in _ravdess_actor(actor, clips)]
    with new_folder(out) as tree:
        record(tree, "ravdess", takes, seed)
    return takes


def _ravdess_actor(actor: int, clips: int) -> Iterator[Take]:
    grid = product(enumerate(RAVDESS_EMOTIONS, 1), (1, 2), RAVDESS_TAKES[: clips // 2])
    for (code, emotion), intensity, (repetition, statement) in grid:
        if (emotion, intensity) == ("neutral", 2):
            continue
        name = f"03-01-{code:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}.wav"
        yield Take(
            path=f"Actor_{actor:02}/{name}",
            speaker=f"{actor:02}",
            sex="male" if actor % 2 else "female",
            emotion=emotion,
            text=RAVDESS_STATEMENTS[statement - 1],
            rate=48_000,
            intensity=RAVDESS_INTENSITIES[intensity - 1],
        )


CORPORA: dict[str, Callable[[Path, int, int, int], list[Take]]] = {"ravdess": fabricate_ravdess}


def fabricate(
    out: Path,
    corpora: Sequence[str] = tuple(CORPORA),
    speakers: int = 6,
    clips: int = 4,
    seed: int = 0,
) -> dict[str, list[Take]]:
    """Write one raw tree per corpus, `out/<corpus>/`, and return what each holds.

    Raises InputError, and leaves nothing behind, for an unknown corpus, for numbers that one of the
    corpora cannot have, and if `out` is not empty.
    """
    for corpus in corpora:
        one_of("corpus", corpus, CORPORA)
    with new_folder(out) as root:
        return {name: CORPORA[name](root / name, speakers, clips, seed) for name in corpora}


def record(tree: Path, corpus: str, takes: Sequence[Take], seed: int) -> None:
    """Synthesise the takes of a corpus and write them as 16-bit wav files under `tree`."""
    (tree / FABRICATED).write_text(NOTE + "\n")
    with progress_bar(len(takes), f"fabricate {corpus}", "clip") as progress:
        for take in takes:
            _write_take(tree / take.path, corpus, take, seed)
            progress.update()


def _write_take(path: Path, corpus: str, take: Take, seed: int) -> None:
    voice = draw_voice(take.sex, generator(seed, corpus, take.speaker))
    rng = generator(seed, corpus, take.path)
    samples = synthesise(take.emotion, voice, take.text, rng, take.rate, take.intensity)
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", take.rate, 1, "PCM_16") as file:
        file.comment = NOTE
        file.write(samples)


def generator(*key: object) -> np.random.Generator:
    """Return the random numbers that belong to a key, whatever was drawn before."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(list(digest))


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes `out` only once the block has succeeded.

    Raises InputError unless `out` is new or empty.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} is not an empty folder; choose a new one with --out")
    with staged(out) as folder:
        folder.mkdir()
        yield folder


def main(argv: Sequence[str]) -> None:
    """Run the command: parse `argv`, fabricate, say what was written and where."""
    parser = CommandParser(
        prog="python -m dataset_scripts.fabricate",
        description="Fabricate raw corpus trees of synthetic speech, one sub-folder per corpus.",
        example="python -m dataset_scripts.fabricate --out raw --corpora ravdess --speakers 6",
    )
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), metavar="C",
                        help=f"of: {', '.join(CORPORA)} (default: all)")  # fmt: skip
    parser.add_argument("--speakers", type=int, default=6, help="per corpus (default: 6)")
    parser.add_argument("--clips", type=int, default=4, help="per speaker and emotion (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: 0)")
    args = parser.parse_args(argv)
    trees = fabricate(args.out, args.corpora, args.speakers, args.clips, args.seed)
    for corpus, takes in trees.items():
        print(f"fabricated {len(takes)} clips of {args.speakers} speakers in {args.out / corpus}")


if __name__ == "__main__":
    sys.exit(run_command("fabricate", main, sys.argv[1:]))
