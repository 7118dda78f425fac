"""openSMILE's eGeMAPSv02: 88 functionals of a clip, the classical features to compare with."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_generalize.encoder.interface import RATE, Samples, Settings
from ser_generalize.errors import InputError

EGEMAPS = "eGeMAPSv02"  # the encoder's name (Eyben et al. 2016, IEEE TAffC 7(2))
WIDTH = 88
SETTINGS = Settings(window="short", margin=0.0, layers=(0,), dtype="fp32")
CAPACITY = 240 * RATE  # nothing is computed together; this much is decoded ahead


@dataclass(frozen=True)
class Functionals:
    """openSMILE behind the interface of an encoder: one layer, one statistic."""

    revision: str
    smile: Any = field(repr=False)
    name: str = EGEMAPS
    settings: Settings = SETTINGS
    layers: tuple[int, ...] = (0,)
    statistics: tuple[str, ...] = ("functional",)
    width: int = WIDTH
    capacity: int = CAPACITY
    parameters: int = 0

    def cost(self, samples: int) -> int:
        """Return the samples themselves: there is no padding."""
        return samples

    def embed(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return the functionals of every clip, float32 [clips, 1, 1, 88]."""
        return self.pool(waves)

    def pool(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return the same, one clip at a time."""
        rows = [self.smile(wave, RATE).reshape(1, 1, WIDTH) for wave in waves]
        return np.stack(rows).astype(np.float32)


def load_functionals(settings: Settings) -> Functionals:
    """Start openSMILE; raises InputError without its package, or for settings of other encoders."""
    try:
        import opensmile
    except ImportError as error:
        raise InputError(
            f"encoder {EGEMAPS} needs the package opensmile: install the extra with "
            "`pip install 'ser-generalize[opensmile]'`"
        ) from error
    check_settings(EGEMAPS, settings)
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    identity = f"opensmile {opensmile.__version__} {EGEMAPS}"
    return Functionals(hashlib.sha256(identity.encode()).hexdigest(), smile)


def check_settings(name: str, settings: Settings) -> None:
    """Raise InputError for settings that functionals of a clip do not have."""
    asked = (settings.window, settings.margin or 0.0, settings.layers or (0,))
    if asked != (SETTINGS.window, SETTINGS.margin, SETTINGS.layers):
        raise InputError(f"encoder {name} has no 30s window, no margin and no layer but 0")
    if settings.dtype not in (None, "fp32"):
        raise InputError(f"encoder {name} computes in fp32 only, not in {settings.dtype}")
