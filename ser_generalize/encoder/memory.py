"""What to do where a device has less memory than a batch needs."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ser_generalize.encoder.interface import Encoder, Samples
from ser_generalize.errors import InputError


@dataclass
class WithinMemory:
    """Embeds batches whole, and after the device's memory ran out once in halves."""

    encoder: Encoder
    halves: bool = False

    def embed(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Embed as the encoder does; InputError where half a batch does not fit either."""
        try:
            return self._embed(waves)
        except torch.OutOfMemoryError as error:
            if self.halves or len(waves) < 2:
                raise InputError(
                    f"encoder {self.encoder.name}: out of memory, with half a batch as well; free "
                    "the device or use a smaller encoder"
                ) from error
        # Not above: there the error keeps what the failed batch has allocated.
        self.halves = True
        torch.cuda.empty_cache()
        print("embed: out of memory; going on with half the batch", file=sys.stderr)
        return self.embed(waves)

    def _embed(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        if not self.halves or len(waves) < 2:
            return self.encoder.embed(waves)
        middle = len(waves) // 2
        parts = [self.encoder.embed(waves[:middle]), self.encoder.embed(waves[middle:])]
        return np.concatenate(parts)
