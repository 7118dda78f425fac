"""`ser-generalize demo`: the whole flow on eleven fabricated corpora, offline, in minutes."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ser_generalize.command import CommandParser, run_command
from ser_generalize.errors import InputError

if TYPE_CHECKING:
    from ser_generalize.benchmark.part import Part, Study
    from ser_generalize.cell import Cell

SPEAKERS = 4  # a corpus; TESS has two
CLIPS = 6  # a speaker and emotion: as many as SMOTE needs where one speaker is left to train on
HELD_OUT = "emodb"  # is not one of the eleven
SAMPLERS, OTHER_CORPORA = ("none", "smote"), ("loco", "cross")
FINAL = "fabricated"  # the run whose checkpoint is left, named for whoever sees it in the Space
RAW, DATA, EMBEDDINGS, RUNS, STUDY = "raw", "data", "embeddings", "runs", "study"

NEXT = """
Open {report}/report.html in a browser. Try its checkpoint there too, with the extra `space`:

  ser-generalize space --checkpoint {checkpoint}

These voices were synthesised: the figures above show that everything works, and say nothing of
real speech. Each corpus lies in its own layout in {raw}.
With real recordings, say RAVDESS unpacked in ~/corpora/ravdess:

  python -m dataset_scripts.build ravdess --source ~/corpora/ravdess --out data
  ser-generalize embed --dataset data --encoder {encoder} --out embeddings
  ser-generalize benchmark --dataset data --embeddings embeddings --out study

`--encoder openai/whisper-base` takes an encoder from the Hub."""


def demo(
    out: Path,
    encoder: str,
    corpora: Sequence[str] | None = None,
    speakers: int = SPEAKERS,
    clips: int = CLIPS,
) -> None:
    """Fabricate, build, embed, keep a model, run a small study and report, in `out`.

    `corpora` are the eleven by default; `speakers` are per corpus, `clips` per speaker and emotion,
    both as far as a corpus has them. A demo that was interrupted goes on where it stopped. Raises
    InputError where `out` holds something else, or the encoder is not to be had, before anything is
    written.
    """
    from dataset_scripts import build
    from dataset_scripts.fabricate import corpus_names, fabricate_corpus
    from ser_generalize import embed, train
    from ser_generalize.benchmark.answer import run_study
    from ser_generalize.benchmark.study import Asked
    from ser_generalize.encoder import load_encoder

    _check_out(out)
    load_encoder(encoder)
    names = [name for name in corpus_names() if name != HELD_OUT] if corpora is None else corpora
    raw, data, embeddings = out / RAW, out / DATA, out / EMBEDDINGS
    _step(1, f"fabricate {len(names)} corpora in their own layouts, synthetic voices, in {raw}")
    for name in names:
        if not (raw / name).exists():
            fabricate_corpus(name, raw / name, speakers, clips)
    _step(2, f"build one dataset of them, Parquet and a card, in {data}")
    # One process: to start others takes longer than to read what little there is.
    build.main([*names, "--source", str(raw), "--out", str(data), "--workers", "1"])
    _step(3, f"embed every clip once, every layer, in {embeddings}")
    embed.main(["--dataset", str(data), "--encoder", encoder, "--out", str(embeddings)])
    _step(4, f"keep a model of all corpora, judged on corpora that it never heard, in {_kept(out)}")
    source = ["--dataset", str(data), "--embeddings", str(embeddings)]
    judged = ["--protocol", "loco", "--adapt", "speaker:5", "--encoder", encoder, "--final"]
    train.main([*source, *judged, "--out", str(_kept(out).parent)])
    _step(5, f"study new speakers, with and without SMOTE, and new corpora, in {out / STUDY}")
    run_study(Asked(str(data), [str(embeddings)]), _small_parts(), out / STUDY)


def _small_parts() -> "list[Part]":
    """Return what of the study takes seconds: LOSO with and without SMOTE, and other corpora."""
    from ser_generalize.benchmark.generalise import GENERALISE
    from ser_generalize.benchmark.paper import GRID
    from ser_generalize.benchmark.part import nothing_to_measure

    def samplers(study: "Study") -> "list[Cell]":
        return [study.cell(sampler=sampler) for sampler in SAMPLERS]

    def other_corpora(study: "Study") -> "list[Cell]":
        return [cell for cell in GENERALISE.cells(study) if cell.protocol in OTHER_CORPORA]

    return [
        replace(GRID, cells=samplers),
        replace(GENERALISE, cells=other_corpora, measure=nothing_to_measure),
    ]


def _kept(out: Path) -> Path:
    return out / RUNS / FINAL / "checkpoint"


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / RAW).is_dir())):
        raise InputError(f"--out {out} exists and is no demo; give a new folder")


def _step(number: int, what: str) -> None:
    print(f"\n[{number}/5] {what}", flush=True)


def main(argv: Sequence[str]) -> None:
    """Parse the command line and run the demo."""
    parser = CommandParser(
        "ser-generalize demo",
        "Run everything on eleven fabricated corpora: build, embed, train, report; leave a model. "
        "No network.",
        "ser-generalize demo --out demo",
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder (default: demo)")
    parser.add_argument(
        "--encoder", default="offline", help="Hub id or folder (default: the packaged tiny.en)"
    )
    arguments = parser.parse_args(argv)
    started = time.monotonic()
    demo(arguments.out, arguments.encoder)
    print(f"\ndemo: done in {time.monotonic() - started:.0f} s")
    out = arguments.out
    places = {"report": out / STUDY / "report", "raw": out / RAW, "checkpoint": _kept(out)}
    print(NEXT.format(**places, encoder=arguments.encoder))


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize demo", main, sys.argv[1:]))
