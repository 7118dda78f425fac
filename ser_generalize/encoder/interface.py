"""What an encoder is to the rest of the house: samples in, a few numbers a layer out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ser_generalize.errors import InputError, listing

SHORT, CUT, STOCK = "short", "cut", "30s"
WINDOWS = (SHORT, CUT, STOCK)
RATE = 16_000  # Hz, of all samples
DTYPES = ("fp32", "bf16", "fp16")

Samples = NDArray[np.float32]  # at RATE, mono, in [-1, 1]


@dataclass(frozen=True)
class Settings:
    """How an encoder computes; None leaves the choice to the encoder and its device.

    `window` is "short" (as long as the clip; the silence that Whisper would hear behind it is
    remembered), "cut" (without that silence) or "30s" (Whisper's stock computation), `margin` the
    seconds of silence that a cut window keeps behind the clip, `layers` those to return (0 is the
    input of the first block), `dtype` what matrices are multiplied in.
    """

    window: str = SHORT
    margin: float | None = None
    layers: tuple[int, ...] | None = None
    dtype: str | None = None


class Encoder(Protocol):
    """A frozen encoder on its device, and what identifies the numbers it gives."""

    @property
    def name(self) -> str:
        """What a store and a report call it."""

    @property
    def revision(self) -> str:
        """What it is: SHA-256 of its weights, or the version of a package and its feature set."""

    @property
    def settings(self) -> Settings:
        """How it computes, without a None: every choice that was left to it has been made."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers it returns, numbered as `transformers` numbers hidden states."""

    @property
    def statistics(self) -> tuple[str, ...]:
        """What it says of every layer: ("mean", "std") over the frames, or ("functional",)."""

    @property
    def width(self) -> int:
        """Size of a statistic's vector."""

    @property
    def capacity(self) -> int:
        """The samples that one batch may hold on this device, padding included."""

    @property
    def parameters(self) -> int:
        """How many weights it computes with, those of layers that it does not return left out."""

    def cost(self, samples: int) -> int:
        """Return how many samples a clip of this many takes in a batch, padding included."""

    def embed(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return the statistics of every layer, shape [clips, layers, statistics, width].

        `waves` are clips of any lengths, together within `capacity` unless it is one alone. A
        clip's result does not depend on the others beyond float noise, and the same waves give the
        same bits on the same device. What is not finite in a clip or overflows is so in its result.
        """

    def pool(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return the same of clips that fit a window each, all at once and in this thread alone."""


def batches(encoder: Encoder, lengths: Sequence[int]) -> Iterator[slice]:
    """Cut clips of these many samples, in their order, into batches that the encoder can hold."""
    start, held = 0, 0
    for index, samples in enumerate(lengths):
        cost = encoder.cost(samples)
        if held and held + cost > encoder.capacity:
            yield slice(start, index)
            start, held = index, 0
        held += cost
    if start < len(lengths):
        yield slice(start, len(lengths))


def find_layers(name: str, asked: Sequence[int] | None, last: int) -> tuple[int, ...]:
    """Return the layers asked for in rising order, all 0 to `last` by default, or an InputError."""
    layers = range(last + 1) if asked is None else sorted(set(asked))
    unknown = [layer for layer in layers if not 0 <= layer <= last]
    if unknown or not layers:
        raise InputError(f"encoder {name} has layers 0 to {last}, not {listing(unknown) or 'none'}")
    return tuple(layers)
