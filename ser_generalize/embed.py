"""`ser-generalize embed`: every clip of a dataset through a frozen encoder, once, into a store.

The same as `accelerate launch -m ser_generalize.embed` and `torchrun -m ser_generalize.embed`: the
processes share out the shards, and every launch leaves the same store.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_generalize.command import CommandParser, is_first_process, run_command
from ser_generalize.degradation import NONE, parse_degradation
from ser_generalize.errors import listing

if TYPE_CHECKING:  # torch and datasets take seconds to import, and `--help` needs neither
    from ser_generalize.encoder import Settings
    from ser_generalize.pipeline import Tally


def embed(
    dataset: str,
    encoder: str,
    store: Path,
    corpora: Sequence[str] | None = None,
    settings: "Settings | None" = None,
    workers: int | None = None,
    streaming: bool = False,
    degradation: str = NONE,
) -> "Tally":
    """Embed what the store does not hold yet, and write its manifest.

    Every process of an `accelerate launch` or `torchrun` takes its share. A run that was killed and
    started again ends with the same bytes. Clips whose audio is unusable are left out and listed in
    the manifest. Returns what all processes together did.
    """
    from ser_generalize.encoder import Settings
    from ser_generalize.engine import Job, run_job

    settings = settings or Settings()
    degraded = parse_degradation(degradation)
    return run_job(Job(dataset, encoder, store, corpora, settings, workers, streaming, degraded))


def parser() -> CommandParser:
    """Return the command's parser; its choices are checked where they are used."""
    command = CommandParser(
        "ser-generalize embed",
        "Run every clip of a dataset through a frozen encoder, once, into a store.",
        "ser-generalize embed --dataset data --encoder openai/whisper-base --out embeddings",
    )
    add = command.add_argument
    add("--dataset", required=True, help="Hub id, or a folder made by `build`")
    add("--encoder", required=True, help="Hub id, local folder, or `offline`")
    add("--out", type=Path, required=True, help="store to write or to complete")
    add("--corpora", nargs="+", metavar="C", help="only these corpora")
    add(
        "--window",
        default="short",
        help="short: as long as the clip, the silence behind it remembered (default); cut: without "
        "that silence, faster and less accurate; 30s: padded, the stock computation",
    )
    add("--margin", type=float, metavar="S", help="seconds of silence behind a clip, if cut")
    add("--layers", type=int, nargs="+", metavar="N", help="only these layers (default: all)")
    add("--dtype", help="fp32, bf16 or fp16 (default: the fastest that the device is good at)")
    add(
        "--degrade",
        default=NONE,
        metavar="KIND:N",
        help="as a worse recording: noise:10, reverb:0.5, telephone, mp3:32, opus:12, gain:-20, "
        "speed:1.1 (default: none)",
    )
    add("--streaming", action="store_true", help="read the dataset where it lies, keep no copy")
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes that decode ahead (default: 0 on a CPU, up to 4 for each GPU)",
    )
    return command


def main(argv: Sequence[str]) -> None:
    """Parse the command line and embed."""
    arguments = parser().parse_args(argv)
    started = time.monotonic()
    from ser_generalize.encoder import Settings

    tally = embed(
        arguments.dataset,
        arguments.encoder,
        arguments.out,
        arguments.corpora,
        Settings(
            arguments.window,
            arguments.margin,
            tuple(arguments.layers) if arguments.layers else None,
            arguments.dtype,
        ),
        arguments.workers,
        arguments.streaming,
        arguments.degrade,
    )
    if is_first_process():
        _print_summary(tally, time.monotonic() - started, arguments.out)


def _print_summary(tally: "Tally", seconds: float, out: Path) -> None:
    print(
        f"embed: {tally.clips} clips, {tally.audio_seconds / 60:.1f} min of audio in "
        f"{seconds:.0f} s ({tally.clips / seconds:.1f} clips/s, "
        f"{tally.audio_seconds / seconds:.0f} s of audio a second), "
        f"peak memory {tally.peak_memory:.2f} GiB, in {out}"
    )
    if tally.skipped:
        reasons = (f"{item['clip_id']} ({item['reason']})" for item in tally.skipped)
        print(f"embed: {len(tally.skipped)} clips skipped: {listing(reasons, 3)}")


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize embed", main, sys.argv[1:]))
