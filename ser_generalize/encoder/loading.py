"""Load whichever encoder a name stands for."""

from pathlib import Path

from ser_generalize.encoder.checkpoint import find_checkpoint
from ser_generalize.encoder.device import find_device
from ser_generalize.encoder.functionals import EGEMAPS, load_functionals
from ser_generalize.encoder.interface import WINDOWS, Encoder, Settings
from ser_generalize.encoder.spectrum import LOG_MEL, load_log_mel
from ser_generalize.encoder.waveform import FAMILIES, load_waveform
from ser_generalize.encoder.whisper import load_whisper
from ser_generalize.errors import InputError, one_of

LOADERS = {"whisper": load_whisper} | dict.fromkeys(FAMILIES, load_waveform)


def load_encoder(name: str, settings: Settings | None = None, device: str | None = None) -> Encoder:
    """Load a frozen encoder by folder or Hub id; never a pickle, never code from the checkpoint.

    A folder is in the `transformers` layout or of faster-whisper; "offline" is the packaged
    whisper-tiny.en, "eGeMAPSv02" is openSMILE, "logmel" needs no weights. `device` is torch's name
    of it, by default a GPU where there is one. Raises InputError where the name leads to no
    encoder, or the settings are not possible with it here.
    """
    settings, place = settings or Settings(), find_device(device)
    one_of("window", settings.window, WINDOWS)
    if name == EGEMAPS and not Path(name).is_dir():
        return load_functionals(settings)
    if name == LOG_MEL and not Path(name).is_dir():
        return load_log_mel(settings, place)
    checkpoint = find_checkpoint(name)
    kind = checkpoint.config().get("model_type")
    if kind not in LOADERS:
        raise InputError(
            f"encoder {name} has model_type {kind!r} in config.json; known are {', '.join(LOADERS)}"
        )
    return LOADERS[kind](checkpoint, settings, place)
