"""How near a short window of Whisper comes to 30 s when something stands in for the silence.

    python tests/benchmarks/silence_study.py --data data --encoder whisper-base [--clips 12]

In 30 s a clip of 3 s attends to 1350 frames of silence. They are no clip's own: they depend on
their place and the clip's level most, on what is said little. Frames of some places are kept and go
through the blocks behind the clip's own: a few right behind it, those whose activations are the
largest where all is silent (every clip uses them as attention sinks), and some spread evenly.
Compared are

    cut      none of them, as `embed --window short` does;
    weighed  each counts as often in attention as it stands for a frame that is left out (the log
             of that number is added to its scores);
    moved    keys and values of all 1350 are there, from one run over silence alone, each moved by
             what the nearest frame that is kept differs from itself in that run.

Printed are, for every layer, the distance of the mean over the clip's frames from that of 30 s, in
percent of its norm, and what a clip costs in processor time, all in one plain program in float32.

Found, whisper-base and clips of 2 to 4 s, layers 1 to 6: cut 6, 12, 12, 33, 25, 28; weighed (64
sinks, 32 spread, 8 behind) 0.4, 1.8, 3.2, 15, 11, 8; moved (16, 16, 8) 0.0, 0.2, 0.6, 1.3, 2.2,
4.1. Keys cannot be thinned out: of every fifth, moved, layer 2 is off by 2 again. whisper-tiny.en,
three clips: 30 s takes 548 ms a clip, cut 36, weighed 56, moved 126, so that what comes near is not
a tenth of the work of 30 s. UAR of weighed against 30 s on EmoDB and RAVDESS actors 01 to 06, four
classes: -0.8 (-2.7 to +1.2) points for tiny.en (32, 32, 8), -0.6 (-2.5 to +1.3) for base in bf16;
cut has -1.9 and -3.8.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_generalize.audio import decode_clip
from ser_generalize.dataset import load_clips
from ser_generalize.encoder import Settings, load_encoder
from ser_generalize.encoder.interface import Samples
from ser_generalize.encoder.network import Block
from ser_generalize.encoder.ragged import Ragged
from ser_generalize.encoder.whisper import Whisper, real_frames

KEPT = {"weighed": (64, 32, 8), "moved": (16, 16, 8)}  # sinks, spread evenly, right behind
SILENCE = -0.9  # what silence is in the log-mel of a usual clip

Attend = Callable[[int, Tensor], Tensor]  # block, queries, keys and values [3, heads, n, size]


def main() -> None:
    """Parse the command line and print a line a way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--encoder", required=True, help="a Whisper")
    parser.add_argument("--clips", type=int, default=12)
    arguments = parser.parse_args()
    encoder = load_encoder(arguments.encoder, Settings("30s", None, None, "fp32"))
    assert isinstance(encoder, Whisper)
    audio = load_clips(arguments.data)["audio"]
    rows = np.random.default_rng(0).choice(len(audio), arguments.clips, replace=False)
    waves = [decode_clip(audio[row]["bytes"]) for row in rows.tolist()]
    with torch.inference_mode():
        compare(Study(encoder), waves)


def compare(study: "Study", waves: list[Samples]) -> None:
    """Print every way's distance from 30 s, layer by layer, and its cost."""
    exact: list[Tensor] = []
    for way in ("30 s", "cut", *KEPT):
        started = time.process_time()
        found = [study.embed(wave, way) for wave in waves]
        spent = 1000 * (time.process_time() - started) / len(waves)
        exact = exact or found
        pairs = zip(found, exact, strict=True)
        distances = torch.stack([(a - b).norm(dim=1) / b.norm(dim=1) for a, b in pairs]).mean(dim=0)
        shown = " ".join(f"{100 * distance:5.1f}" for distance in distances.tolist())
        print(f"{way:<8} distance in % from layer 0: {shown}   {spent:6.0f} ms a clip", flush=True)


@dataclass(frozen=True)
class Kept:
    """Silent places that go through the blocks, and the one of them that is nearest to each."""

    places: Tensor
    nearest: Tensor  # of all silent places: an index into `places`


class Study:
    """An encoder, and what it makes of silence alone."""

    def __init__(self, encoder: Whisper) -> None:
        self.encoder, self.network = encoder, encoder.network
        self.frames = len(self.network.positions)
        self.heads = self.network.blocks[0].heads
        self.table: list[Tensor] = []  # keys and values of every block, [2, heads, frames, size]
        mel = torch.full((2 * self.frames + 2, encoder.filters.shape[1]), SILENCE)
        mel[[0, -1]] = 0.0
        largest = torch.zeros(self.frames)
        for hidden in self._states(self._convolved(mel), self._remember):
            norms = hidden.norm(dim=1)
            largest = torch.maximum(largest, norms / norms.median())
        self.sinks = largest.argsort(descending=True)

    def embed(self, wave: Samples, way: str) -> Tensor:
        """Return the mean over the real frames of every layer, [layers, width]."""
        sound = real_frames(len(wave))
        hidden = self._convolved(self.encoder._mel([wave], [self.frames]))
        attend: Attend = _plain
        if way == "cut":
            hidden = hidden[:sound]
        elif way in KEPT:
            kept = self._keep(sound, *KEPT[way])
            hidden = torch.cat([hidden[:sound], hidden[kept.places]])
            attend = _weighed(sound, kept) if way == "weighed" else self._moved(sound, kept)
        return torch.stack([layer[:sound].mean(dim=0) for layer in self._states(hidden, attend)])

    def _convolved(self, mel: Tensor) -> Tensor:
        ragged = Ragged([self.frames], [self.frames], mel.device, padded=False)
        return self.network._convolved(mel, ragged) + self.network.positions

    def _states(self, hidden: Tensor, attend: Attend) -> list[Tensor]:
        states = [hidden]
        for number, block in enumerate(self.network.blocks):
            hidden = self._through(block, hidden, lambda split, n=number: attend(n, split))
            states.append(hidden)
        assert self.network.norm
        return [*states[:-1], self.network.norm(states[-1])]

    def _through(self, block: Block, hidden: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        split = block.qkv(block.norm1(hidden)).unflatten(-1, (3, self.heads, -1))
        hidden = hidden + block.out(attend(split.permute(1, 2, 0, 3)).transpose(0, 1).flatten(1))
        return hidden + block.fc2(block.fc1(block.norm2(hidden)))

    def _remember(self, block: int, split: Tensor) -> Tensor:
        self.table.append(split[1:].clone())
        return _plain(block, split)

    def _keep(self, sound: int, sinks: int, spread: int, behind: int) -> Kept:
        """Choose silent places."""
        chosen = {*range(sound, sound + behind)}
        chosen |= set(self.sinks[self.sinks >= sound][:sinks].tolist())
        rest = np.array([place for place in range(sound, self.frames) if place not in chosen])
        chosen |= {int(part[len(part) // 2]) for part in np.array_split(rest, spread)}
        places = np.array(sorted(chosen))
        return Kept(
            torch.from_numpy(places), torch.from_numpy(_nearest(sound, self.frames, places))
        )

    def _moved(self, sound: int, kept: Kept) -> Attend:
        def attend(block: int, split: Tensor) -> Tensor:
            table, own = self.table[block], split[1:]
            moved = own[:, :, sound:] - table[:, :, kept.places]
            silence = table[:, :, sound:] + moved[:, :, kept.nearest]
            keys, values = torch.cat([own[:, :, :sound], silence], dim=2)
            return (split[0] @ keys.mT).softmax(dim=-1) @ values

        return attend


def _plain(_: int, split: Tensor) -> Tensor:
    queries, keys, values = split
    return (queries @ keys.mT).softmax(dim=-1) @ values


def _weighed(sound: int, kept: Kept) -> Attend:
    counts = torch.bincount(kept.nearest, minlength=len(kept.places)).float()
    bias = torch.cat([torch.zeros(sound), counts.log()])
    return lambda _, split: (split[0] @ split[1].mT + bias).softmax(dim=-1) @ split[2]


def _nearest(sound: int, frames: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
    silent = np.arange(sound, frames)
    return np.abs(silent[:, None] - places).argmin(axis=1)


if __name__ == "__main__":
    main()
