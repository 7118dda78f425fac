"""`ser-generalize demo`: the whole flow on eleven fabricated corpora, offline, in minutes."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ser_generalize.command import CommandParser, run_command
from ser_generalize.errors import InputError

SPEAKERS = 4  # a corpus; TESS has two
CLIPS = 6  # a speaker and emotion: as many as SMOTE needs where one speaker is left to train on
HELD_OUT = "emodb"  # is not one of the eleven
SAMPLERS = ("none", "smote")
RAW, DATA, EMBEDDINGS, RUNS, REPORT = "raw", "data", "embeddings", "runs", "report"

NEXT = """
Open {report}/report.html in a browser.

These voices were synthesised: the figures above show that everything works, and say nothing of
real speech. Each corpus lies in its own layout in {raw}.
With real recordings, say RAVDESS unpacked in ~/corpora/ravdess:

  python -m dataset_scripts.build ravdess --source ~/corpora/ravdess --out data
  ser-generalize embed --dataset data --encoder {encoder} --out embeddings
  ser-generalize train --dataset data --embeddings embeddings --sampler smote --out runs/smote
  ser-generalize report runs/smote --out report

`--encoder openai/whisper-base` takes an encoder from the Hub."""


def demo(
    out: Path,
    encoder: str,
    corpora: Sequence[str] | None = None,
    speakers: int = SPEAKERS,
    clips: int = CLIPS,
) -> None:
    """Fabricate, build, embed, train with and without SMOTE, and report, all below `out`.

    `corpora` are the eleven by default; `speakers` are per corpus, `clips` per speaker and emotion,
    both as far as a corpus has them. A demo that was interrupted goes on where it stopped. Raises
    InputError where `out` holds something else, or the encoder is not to be had, before anything is
    written.
    """
    from dataset_scripts import build
    from dataset_scripts.fabricate import corpus_names, fabricate_corpus
    from ser_generalize import embed, report, train
    from ser_generalize.encoder import load_encoder

    _check_out(out)
    load_encoder(encoder)
    names = [name for name in corpus_names() if name != HELD_OUT] if corpora is None else corpora
    raw, data, embeddings = out / RAW, out / DATA, out / EMBEDDINGS
    runs = [out / RUNS / sampler for sampler in SAMPLERS]
    _step(1, f"fabricate {len(names)} corpora in their own layouts, synthetic voices, in {raw}")
    for name in names:
        if not (raw / name).exists():
            fabricate_corpus(name, raw / name, speakers, clips)
    _step(2, f"build one dataset of them, Parquet and a card, in {data}")
    # One process: to start others takes longer than to read what little there is.
    build.main([*names, "--source", str(raw), "--out", str(data), "--workers", "1"])
    _step(3, f"embed every clip once, every layer, in {embeddings}")
    embed.main(["--dataset", str(data), "--encoder", encoder, "--out", str(embeddings)])
    _step(4, f"train within each corpus on all speakers but one, test on that one, in {out / RUNS}")
    for sampler, run in zip(SAMPLERS, runs, strict=True):
        common = ["--dataset", str(data), "--embeddings", str(embeddings), "--sampler", sampler]
        train.main([*common, "--out", str(run)])
    _step(5, f"report, with intervals over speakers, in {out / REPORT}")
    report.main([*map(str, runs), "--out", str(out / REPORT)])


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / RAW).is_dir())):
        raise InputError(f"--out {out} exists and is no demo; give a new folder")


def _step(number: int, what: str) -> None:
    print(f"\n[{number}/5] {what}", flush=True)


def main(argv: Sequence[str]) -> None:
    """Parse the command line and run the demo."""
    parser = CommandParser(
        "ser-generalize demo",
        "Run everything on eleven fabricated corpora: build, embed, train, report. No network.",
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
    print(NEXT.format(report=out / REPORT, raw=out / RAW, encoder=arguments.encoder))


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize demo", main, sys.argv[1:]))
