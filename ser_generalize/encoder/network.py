"""Whisper's network over ragged frames: the convolutions as products, the blocks, early ends."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_generalize.encoder.device import TORCH_DTYPES, Linear, make_linear
from ser_generalize.encoder.ragged import Ragged
from ser_generalize.encoder.silence import EDGES, Silence, remember

TAPS = 3  # frames that a convolution sees

Norm = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Network:
    """A Whisper encoder's weights, laid out for one device and precision."""

    conv1: Linear  # with its GELU, as conv2 and the first of a block's two last products
    conv2: Linear
    positions: Tensor  # [positions, width]
    blocks: Sequence["Block"]
    norm: Norm | None  # None where it ends before the last block
    silence: Silence | None  # None where windows end with their clip, or are computed whole

    def states(self, mel: Tensor, ragged: Ragged) -> Iterator[Tensor]:
        """Yield the input of the first block and the output of every block, of the sound alone.

        They are [frames, width], as `transformers` numbers them: the last one comes after the final
        layer norm. `mel` holds for every clip a frame before, two a frame of `ragged`, and a frame
        after. Where silence is remembered, that of every clip follows, between two zeros.
        """
        lengths = ragged.lengths
        edges = [EDGES] * len(lengths) if self.silence else []
        hidden = self._convolved(mel, [*lengths, *edges])
        own = hidden[: sum(lengths)] + self._positions(lengths)
        if self.silence:
            silent = hidden[sum(lengths) :].unflatten(0, (-1, EDGES))[:, -2:]
            own = ragged.surrounded(own, self.silence.frames(silent, self.positions))
        yield from self._through(own, ragged)

    def _through(self, hidden: Tensor, ragged: Ragged) -> Iterator[Tensor]:
        yield ragged.sound(hidden)
        for number, block in enumerate(self.blocks[:-1]):
            hidden = block(hidden, ragged, number)
            yield ragged.sound(hidden)
        if self.blocks:
            hidden = self.blocks[-1](hidden, ragged, len(self.blocks) - 1, sound=True)
            yield self.norm(hidden) if self.norm else hidden

    def _convolved(self, mel: Tensor, lengths: Sequence[int]) -> Tensor:
        """Convolve all clips at once; what was computed across two clips is dropped."""
        once = self.conv1(_neighbours(mel, 1))
        once = nn.functional.pad(once, (0, 0, 1, 1))  # back in step with `mel`
        ends = torch.tensor([0, *(2 * length + 2 for length in lengths)]).cumsum(0)[:-1]
        once[ends.to(once.device)] = 0.0  # the second convolution pads the start of a clip
        rows = torch.cat([torch.arange(n) + e // 2 for n, e in zip(lengths, ends, strict=True)])
        return self.conv2(_neighbours(once, 2)[rows.to(once.device)])

    def _positions(self, lengths: Sequence[int]) -> Tensor:
        return torch.cat([self.positions[:length] for length in lengths])


@dataclass(frozen=True)
class Block:
    """One block of the encoder."""

    heads: int
    norm1: Norm
    qkv: Linear
    out: Linear
    norm2: Norm
    fc1: Linear
    fc2: Linear

    def __call__(self, hidden: Tensor, ragged: Ragged, number: int, sound: bool = False) -> Tensor:
        """Attend within every clip and transform every row, or those of the sound alone.

        `number` is this block's among all.
        """
        attended = ragged.attend(self.qkv(self.norm1(hidden)), self.heads, number, sound)
        hidden = (ragged.sound(hidden) if sound else hidden) + self.out(attended)
        return hidden + self.fc2(self.fc1(self.norm2(hidden)))


def make_network(
    model: WhisperEncoder, last: int, device: torch.device, dtype: str, remembering: bool
) -> Network:
    """Lay a loaded encoder out, up to the output of block number `last` (0: the blocks' input)."""
    layout = _Layout(device, dtype)
    silence = remember(model, last).to(device, TORCH_DTYPES[dtype]) if remembering else None
    return Network(
        conv1=layout.convolution(model.conv1),
        conv2=layout.convolution(model.conv2),
        positions=model.embed_positions.weight.to(device, TORCH_DTYPES[dtype]),
        blocks=[layout.block(layer) for layer in model.layers[:last]],
        norm=layout.norm(model.layer_norm) if last == len(model.layers) else None,
        silence=silence,
    )


@dataclass(frozen=True)
class _Layout:
    """Turns the modules of `transformers` into functions for one device and precision."""

    device: torch.device
    dtype: str

    def linear(self, module: Any, activated: bool = False) -> Linear:
        return make_linear(module.weight, module.bias, self.device, self.dtype, activated)

    def convolution(self, module: Any) -> Linear:
        """A product with the neighbours side by side."""
        weight = module.weight.transpose(1, 2).flatten(1)
        return make_linear(weight, module.bias, self.device, self.dtype, activated=True)

    def norm(self, module: Any) -> Norm:
        kind, shape, epsilon = TORCH_DTYPES[self.dtype], module.normalized_shape, module.eps
        weight, bias = (p.to(self.device, kind) for p in (module.weight, module.bias))
        return lambda hidden: layer_norm(hidden, shape, weight, bias, epsilon)

    def block(self, module: Any) -> Block:
        return Block(
            heads=module.self_attn.num_heads,
            norm1=self.norm(module.self_attn_layer_norm),
            qkv=self.stacked(module.self_attn),
            out=self.linear(module.self_attn.out_proj),
            norm2=self.norm(module.final_layer_norm),
            fc1=self.linear(module.fc1, activated=True),
            fc2=self.linear(module.fc2),
        )

    def stacked(self, attention: Any) -> Linear:
        """Queries, keys and values by one product; the keys have no bias."""
        scale = attention.head_dim**-0.5  # of the queries: 1/8 in Whisper, which rounds nothing
        q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
        weight = torch.cat([scale * q.weight, k.weight, v.weight])
        bias = torch.cat([scale * q.bias, torch.zeros_like(q.bias), v.bias])
        return make_linear(weight, bias, self.device, self.dtype)


def _neighbours(rows: Tensor, stride: int) -> Tensor:
    """View three neighbouring rows [rows, width] as one, of every `stride`th row that has them."""
    width = rows.shape[1]
    count = (len(rows) - TAPS) // stride + 1
    return rows.as_strided((count, TAPS * width), (stride * width, 1))
