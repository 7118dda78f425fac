"""Fabricate raw corpus trees: the real names, containers and tables, with synthetic speech.

    python -m dataset_scripts.fabricate --out DIR [--corpora C ...] [--speakers N] [--clips N]

The demo and the tests run on these trees, so that they need no download and no licence. What they
teach about emotion is nil: the emotion was put there by formula (see `synthesis`). How a corpus is
laid out is said in `fabrication`, a module a corpus.
"""

import importlib
import pkgutil
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from dataset_scripts import fabrication
from dataset_scripts.corpus import FABRICATED
from dataset_scripts.fabrication.containers import NOTE, save
from dataset_scripts.fabrication.tree import Take, Tree
from dataset_scripts.synthesis.channel import Channel, transmit
from dataset_scripts.synthesis.randomness import generator
from dataset_scripts.synthesis.speech import Samples, synthesise
from dataset_scripts.synthesis.voice import draw_voice
from dataset_scripts.workers import available_cores
from ser_generalize.command import CommandParser, progress_bar, run_command
from ser_generalize.errors import InputError, one_of
from ser_generalize.files import staged

SHARED = {"containers", "tree"}  # every other module of `fabrication` is a corpus


def corpus_names() -> list[str]:
    """Return the names of all corpora that can be fabricated."""
    modules = pkgutil.iter_modules(fabrication.__path__)
    return sorted(module.name for module in modules if module.name not in SHARED)


def load_tree(name: str) -> Tree:
    """Return how a corpus is laid out; an unknown name is an InputError."""
    one_of("corpus", name, corpus_names())
    tree: Tree = importlib.import_module(f"{fabrication.__name__}.{name}").TREE
    return tree


def fabricate(
    out: Path,
    corpora: Sequence[str] | None = None,
    speakers: int = 6,
    clips: int = 4,
    seed: int = 0,
) -> dict[str, list[Take]]:
    """Write one raw tree per corpus (all by default), `out/<corpus>/`, and return what each holds.

    Raises InputError, and leaves nothing behind, for an unknown corpus, for numbers below 1, and if
    `out` is not empty.
    """
    names = corpus_names() if corpora is None else list(dict.fromkeys(corpora))
    for name in names:
        one_of("corpus", name, corpus_names())
    with new_folder(out) as root:
        return {name: fabricate_corpus(name, root / name, speakers, clips, seed) for name in names}


def fabricate_corpus(
    name: str, out: Path, speakers: int = 6, clips: int = 4, seed: int = 0
) -> list[Take]:
    """Write the raw tree of one corpus and return its takes.

    `clips` is the number per speaker and emotion; emotions that are rarer in the corpus get fewer,
    and where a corpus has fewer speakers or clips than asked for, it gets those that it has. Each
    recording depends on the seed and its own name only, so a larger tree contains the smaller one.

    Raises InputError, and leaves nothing behind, for an unknown corpus, for numbers below 1, and if
    `out` is not empty.
    """
    tree = load_tree(name)
    for what, number in (("speakers", speakers), ("clips", clips)):
        if number < 1:
            raise InputError(f"{number} {what} make no corpus; choose 1 or more")
    takes = list(tree.takes(min(speakers, tree.speakers), min(clips, tree.clips)))
    with new_folder(out) as folder:
        (folder / FABRICATED).write_text(NOTE + "\n", encoding="utf-8")
        _record(folder, name, takes, tree.channel, seed)
        tree.tables(folder, takes)
    return takes


def _record(folder: Path, corpus: str, takes: Sequence[Take], channel: Channel, seed: int) -> None:
    """Write the recordings; threads do, because the filters that take the time release Python."""

    def one(take: Take) -> None:
        save(folder / take.path, _performed(corpus, take, channel, seed), take.container)

    originals = [take for take in takes if not take.copy_of]
    with (
        progress_bar(len(originals), f"fabricate {corpus}", "clip") as progress,
        ThreadPoolExecutor(available_cores()) as threads,
    ):
        for _ in threads.map(one, originals):
            progress.update()
    for take in takes:
        if take.copy_of:
            shutil.copyfile(folder / take.copy_of, folder / take.path)


def _performed(corpus: str, take: Take, channel: Channel, seed: int) -> Samples:
    voice = draw_voice(take.sex, generator(seed, corpus, take.speaker))
    rng, rate = generator(seed, corpus, take.path), take.container.rate
    dry = synthesise(take.emotion, voice, take.text, rng, rate, take.intensity)
    return transmit(dry, channel, rate, rng)


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
    parser.add_argument("--corpora", nargs="+", metavar="C",
                        help=f"of: {', '.join(corpus_names())} (default: all)")  # fmt: skip
    parser.add_argument("--speakers", type=int, default=6,
                        help="per corpus, as far as it has them (default: 6)")  # fmt: skip
    parser.add_argument("--clips", type=int, default=4,
                        help="per speaker and emotion, likewise (default: 4)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: 0)")
    args = parser.parse_args(argv)
    trees = fabricate(args.out, args.corpora, args.speakers, args.clips, args.seed)
    for corpus, takes in trees.items():
        speakers = len({take.speaker for take in takes if take.speaker})
        print(f"fabricated {len(takes)} clips of {speakers} speakers in {args.out / corpus}")


if __name__ == "__main__":
    sys.exit(run_command("fabricate", main, sys.argv[1:]))
