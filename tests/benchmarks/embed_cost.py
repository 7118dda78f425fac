"""What embedding a clip costs: the stock path of `transformers` against ours, in one run.

    python tests/benchmarks/embed_cost.py --dataset data --encoder whisper-base --last 3

The stock path is WhisperFeatureExtractor and WhisperEncoder on 30 s, float32, eight clips a batch,
the mean of the last layer. Ours are windows as long as the clips, the mean and the deviation of
every layer, in float32, in bf16 where this CPU has it, and in bf16 up to the layer `--last`. All
start from the FLAC bytes of the dataset and get the same clips. Each side is a process of its own,
so that its memory is; they take turns, 32 clips each, so that a busy machine is busy for all. Where
cores are short, threads of one product wait for one another, which the stock path suffers from
most: the time on the clock then flatters ours. Processor time with OMP_NUM_THREADS=1 does not.
The encoder must be a folder in the `transformers` layout.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TURN = 32  # clips
STOCK_BATCH = 8
STOCK = "stock"

Embed = Callable[[list[bytes]], Any]


def main() -> None:
    """Compare all sides, or be one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="folder made by dataset_scripts.build")
    parser.add_argument("--corpus", default="ravdess")
    parser.add_argument("--encoder", required=True, help="Whisper folder of `transformers`")
    parser.add_argument("--clips", type=int, default=128, help="spread over the corpus (128)")
    parser.add_argument("--last", type=int, required=True, help="last layer of the quickest side")
    parser.add_argument("--side", help=argparse.SUPPRESS)  # of the child processes
    arguments = parser.parse_args()
    if arguments.side:
        embed = make(arguments.side, arguments.encoder)
        serve(embed, load(arguments.dataset, arguments.corpus, arguments.clips))
    else:
        compare(sys.argv[1:], [STOCK, *ours(arguments.last)])


def ours(last: int) -> list[str]:
    """Name our sides: a precision, and the last layer where there is one."""
    import torch

    from ser_generalize.encoder.device import has_bf16

    half = ["bf16", f"bf16 0-{last}"] if has_bf16(torch.device("cpu")) else [f"fp32 0-{last}"]
    return ["fp32", *half]


def compare(arguments: Sequence[str], names: Sequence[str]) -> None:
    """Let all sides take turns and print what they cost."""
    command = [sys.executable, __file__, *arguments, "--side"]
    sides = {
        name: subprocess.Popen(
            [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in names
    }
    ready = {name: ask(process) for name, process in sides.items()}
    for process in sides.values():  # what is computed first pays for what is set up then
        ask(process, 0)
    spent: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(1, ready[STOCK]["turns"]):
        for name in names if number % 2 else reversed(names):
            spent[name].append(ask(sides[name], number))
    peaks = {name: ask(process, -1)["peak"] for name, process in sides.items()}
    clips, seconds = ready[STOCK]["clips"], ready[STOCK]["seconds"]
    print(f"{clips} clips of {seconds / clips:.1f} s on average; load {os.getloadavg()[0]:.1f}")
    for clock in ("clock", "processor"):
        show(clock, clips, {name: [turn[clock] for turn in spent[name]] for name in names})
    print("peak memory, GiB:", ", ".join(f"{name} {peak:.2f}" for name, peak in peaks.items()))


def ask(process: "subprocess.Popen[str]", question: int | None = None) -> dict[str, Any]:
    """Send a batch's number (-1: the end) to a side and return its answer."""
    assert process.stdin and process.stdout
    if question is not None:
        print(question, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        sys.exit(process.wait() or 1)  # it has said on stderr what went wrong
    return json.loads(answer)


def show(clock: str, clips: int, spent: dict[str, list[float]]) -> None:
    """Print what every side took by one clock, and how much less than the stock path."""
    for name, seconds in spent.items():
        total = sum(seconds)
        ratios = [stock / own for stock, own in zip(spent[STOCK], seconds, strict=True)]
        print(
            f"{clock:<10}{name:<10}{1000 * total / clips:8.1f} ms a clip "
            f"{clips / total:8.2f} clips/s {sum(spent[STOCK]) / total:7.1f} x "
            f"({min(ratios):.1f} to {max(ratios):.1f} by turn)"
        )


def serve(embed: Embed, clips: list[tuple[float, bytes]]) -> None:
    """Be one side: embed the turns asked for on stdin, timed; turn 0 is a short one to warm up."""
    timed = [clips[start : start + TURN] for start in range(0, len(clips), TURN)]
    turns = [clips[:: len(clips) // STOCK_BATCH], *timed]
    seconds = sum(duration for duration, _ in clips)
    answer({"turns": len(turns), "clips": len(clips), "seconds": seconds})
    for line in sys.stdin:
        if int(line) < 0:
            break
        data = [audio for _, audio in turns[int(line)]]
        started = time.perf_counter(), time.process_time()
        embed(data)
        ended = time.perf_counter(), time.process_time()
        answer({"clock": ended[0] - started[0], "processor": ended[1] - started[1]})
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer({"peak": kibibytes / 2 ** (30 if sys.platform == "darwin" else 20)})


def answer(values: dict[str, float]) -> None:
    """Write one line for the parent process."""
    print(json.dumps(values), flush=True)


def load(dataset: str, corpus: str, count: int) -> list[tuple[float, bytes]]:
    """Return duration and FLAC bytes of clips spread over a corpus, longest first."""
    from ser_generalize.dataset import load_clips

    clips = load_clips(dataset, [corpus])
    step = max(1, len(clips) // count)
    chosen = clips.select(range(0, len(clips), step)[:count])
    rows = [(row["duration"], row["audio"]["bytes"]) for row in chosen]
    return sorted(rows, key=lambda row: -row[0])


def make(side: str, folder: str) -> Embed:
    """Return what a side does with the FLAC bytes of some clips."""
    from ser_generalize.audio import decode_clip
    from ser_generalize.encoder import Settings, load_encoder

    if side == STOCK:
        return make_stock(Path(folder))
    dtype, _, layers = side.partition(" 0-")
    kept = tuple(range(int(layers) + 1)) if layers else None
    encoder = load_encoder(folder, Settings(layers=kept, dtype=dtype), "cpu")
    return lambda data: encoder.embed([decode_clip(audio) for audio in data])


def make_stock(folder: Path) -> Embed:
    """Return the path that a user of `transformers` writes down."""
    import torch
    from transformers import WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from ser_generalize.audio import decode_clip

    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    encoder = WhisperEncoder.from_pretrained(
        folder, dtype=torch.float32, key_mapping={r"^model\.encoder\.": ""}
    ).eval()

    @torch.inference_mode()
    def embed(data: list[bytes]) -> None:
        for start in range(0, len(data), STOCK_BATCH):
            waves = [decode_clip(audio) for audio in data[start : start + STOCK_BATCH]]
            inputs = extractor(waves, sampling_rate=16_000, return_tensors="pt")
            encoder(inputs.input_features).last_hidden_state.mean(dim=1)

    return embed


if __name__ == "__main__":
    main()
