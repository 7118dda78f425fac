"""What embedding a clip costs: the stock path of `transformers` against ours, in one run.

    python tests/benchmarks/embed_cost.py --dataset data --encoder whisper-base [--clips 48]

The stock path is WhisperFeatureExtractor and WhisperEncoder on 30 s, float32, eight clips a batch,
the mean of the last layer. Ours are windows as long as the clips, the mean and the deviation of
every layer. Both start from the FLAC bytes of the dataset and get the same clips in the same
batches. Each side is a process of its own, so that its memory is; they take turns, a batch each, so
that a busy machine is busy for both. The encoder must be a folder in the `transformers` layout.

Predicted, from 53 and 746 ms a clip that were once measured for whisper-base on 3.7-s clips of
RAVDESS (24 and 339 for tiny.en): a ratio of 10 to 16, and a peak below 1 GiB on our side.
Found on two quiet cores, whisper-base, 32 clips: 11.8 (550 against 46 ms a clip). On two cores that
others kept busy, 48 clips: 6.7 (1694 against 252 ms a clip),
and 11.6 with OMP_NUM_THREADS=1 (1123 against 97): where cores are short, threads wait for one
another at the end of every small step, and short windows are small steps. Peak 0.68 GiB.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BATCH = 8
SIDES = ("stock", "ours")

Embed = Callable[[list[bytes]], Any]


def main() -> None:
    """Compare both sides, or be one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="folder made by dataset_scripts.build")
    parser.add_argument("--encoder", required=True, help="Whisper folder of `transformers`")
    parser.add_argument("--clips", type=int, default=48, help="spread over the dataset (48)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # of the child processes
    arguments = parser.parse_args()
    if arguments.side:
        serve(arguments.side, arguments.dataset, arguments.encoder, arguments.clips)
    else:
        compare(sys.argv[1:])


def compare(arguments: Sequence[str]) -> None:
    """Let both sides take turns and print what they cost."""
    command = [sys.executable, __file__, *arguments, "--side"]
    sides = {
        side: subprocess.Popen(
            [*command, side], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for side in SIDES
    }
    ready = {side: ask(process) for side, process in sides.items()}
    batches, seconds_of_audio = ready["ours"]["batches"], ready["ours"]["seconds"]
    for process in sides.values():  # what is computed first pays for what is set up then
        ask(process, 0)
    spent: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(batches):
        for side in SIDES if number % 2 else reversed(SIDES):
            spent[side].append(ask(sides[side], number)["spent"])
    peaks = {side: ask(process, -1)["peak"] for side, process in sides.items()}
    show(ready["ours"]["clips"], seconds_of_audio, spent, peaks)


def ask(process: "subprocess.Popen[str]", question: int | None = None) -> dict[str, Any]:
    """Send a batch's number (-1: the end) to a side and return its answer."""
    assert process.stdin and process.stdout
    if question is not None:
        print(question, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        sys.exit(process.wait() or 1)  # it has said on stderr what went wrong
    return json.loads(answer)


def show(clips: int, audio: float, spent: dict[str, list[float]], peaks: dict[str, float]) -> None:
    """Print clips per second of both sides, their ratio and their memory."""
    print(f"{clips} clips of {audio / clips:.1f} s on average, batches of {BATCH}")
    for side in SIDES:
        total = sum(spent[side])
        print(
            f"{side:<6}{clips / total:7.2f} clips/s {1000 * total / clips:7.0f} ms a clip   "
            f"peak memory {peaks[side]:.2f} GiB"
        )
    ratios = [stock / ours for stock, ours in zip(*spent.values(), strict=True)]
    print(
        f"ratio {sum(spent['stock']) / sum(spent['ours']):.1f} (batch by batch "
        f"{min(ratios):.1f} to {max(ratios):.1f}, median {statistics.median(ratios):.1f})"
    )


def serve(side: str, dataset: str, encoder: str, count: int) -> None:
    """Be one side: load everything, then embed the batches asked for on stdin, timed."""
    embed, clips = make(side, encoder), load(dataset, count)
    batches = [clips[start : start + BATCH] for start in range(0, len(clips), BATCH)]
    seconds = sum(duration for duration, _ in clips)
    answer({"batches": len(batches), "clips": len(clips), "seconds": seconds})
    for line in sys.stdin:
        if int(line) < 0:
            break
        data = [audio for _, audio in batches[int(line)]]
        started = time.perf_counter()
        embed(data)
        answer({"spent": time.perf_counter() - started})
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer({"peak": kibibytes / 2 ** (30 if sys.platform == "darwin" else 20)})


def answer(values: dict[str, float]) -> None:
    """Write one line for the parent process."""
    print(json.dumps(values), flush=True)


def load(dataset: str, count: int) -> list[tuple[float, bytes]]:
    """Return duration and FLAC bytes of clips spread over the dataset, longest first."""
    from ser_generalize.dataset import load_clips

    clips = load_clips(dataset)
    step = max(1, len(clips) // count)
    chosen = clips.select(range(0, len(clips), step)[:count])
    rows = [(row["duration"], row["audio"]["bytes"]) for row in chosen]
    return sorted(rows, key=lambda row: -row[0])


def make(side: str, folder: str) -> Embed:
    """Return what a side does with a batch of FLAC bytes."""
    from ser_generalize.audio import decode_clip
    from ser_generalize.encoder import embed_clips, load_encoder

    if side == "stock":
        return make_stock(Path(folder))
    encoder = load_encoder(folder)
    return lambda data: embed_clips(encoder, [decode_clip(audio) for audio in data], "short")


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
    def embed(data: list[bytes]) -> torch.Tensor:
        waves = [decode_clip(audio) for audio in data]
        inputs = extractor(waves, sampling_rate=16_000, return_tensors="pt")
        return encoder(inputs.input_features).last_hidden_state.mean(dim=1)

    return embed


if __name__ == "__main__":
    main()
