"""The checkpoints that visitors may choose from: those the host gave, and its organisation's."""

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's or httpx2's

from ser_generalize.checkpoint import load_checkpoint
from ser_generalize.encoder.device import find_device
from ser_generalize.errors import InputError, listing, silenced
from ser_generalize.hub import is_hub_id
from ser_generalize.modeling import SerForAudioClassification

TAG = "ser-generalize"
LISTED_FOR = 300.0  # seconds until the Hub is asked again
MOST_LISTED = 50
KEPT = 3  # checkpoints in memory


class Shelf:
    """An allow-list: what is not on it is never opened, whatever a visitor calls it.

    `given` are local folders and Hub ids; of `organisation` all models with the tag are on it.
    """

    def __init__(self, given: Sequence[str], organisation: str | None = None) -> None:
        """Raise InputError for what is neither a folder nor a Hub id."""
        self._sources: dict[str, str] = {}
        for source in given:
            if not Path(source).is_dir() and not is_hub_id(source):
                raise InputError(
                    f"checkpoint {source!r} is neither a folder nor a Hub id, ORG/NAME"
                )
            self._sources[self._new_name(source)] = source
        self._organisation = organisation
        self._listed: tuple[str, ...] = ()
        self._asked = -LISTED_FOR
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)
        self._open = lru_cache(KEPT)(_open)

    def given(self) -> list[str]:
        """Return what the host gave, which may be chosen without asking the Hub."""
        return list(self._sources)

    def names(self) -> list[str]:
        """Return what may be chosen; the first is the default."""
        return self.given() + [name for name in self._on_hub() if name not in self._sources]

    def chosen(self, name: str | None) -> str:
        """Return what was chosen, the default where nothing was."""
        return name or next(iter(self.names()), "")

    def check(self) -> None:
        """Open what the host gave first; raise an InputError for the host, with all its reasons."""
        for source in list(self._sources.values())[:1]:
            self._open(source)

    def load(self, name: str) -> SerForAudioClassification:
        """Return a checkpoint by its name on the shelf, from memory where it was loaded lately.

        Raises InputError with a sentence for the visitor, in which no path of the server is.
        """
        names = self.names()
        if name not in names:
            if not names:
                raise InputError("No checkpoint is offered here yet.")
            raise InputError(
                f"{name!r:.80} is not among the checkpoints offered here; choose one of: "
                f"{listing(names)}."
            )
        try:
            with self._locks[name]:  # whoever asks for what is being loaded waits for it
                return self._open(self._sources.get(name, name))
        except InputError as error:
            print(f"space: {error}", file=sys.stderr)  # for the host: it may name a folder
            raise InputError(f"{name} cannot be loaded now; choose another checkpoint.") from error

    def _new_name(self, source: str) -> str:
        """Return how visitors know a checkpoint: by its run's name, not by where it lies."""
        if not Path(source).is_dir():
            return source
        folder = Path(source).resolve()
        name = folder.parent.name if folder.name == "checkpoint" else folder.name
        same = sum(known.partition(" (")[0] == name for known in self._sources)
        return f"{name} ({same + 1})" if same else name

    def _on_hub(self) -> tuple[str, ...]:
        if self._organisation and time.monotonic() - self._asked >= LISTED_FOR:
            self._asked = time.monotonic()
            self._listed = _list_models(self._organisation, self._listed)
        return self._listed


def _open(source: str) -> SerForAudioClassification:
    model = load_checkpoint(source)
    model.to(find_device(None))  # type: ignore[arg-type] # a decorator of transformers hides self
    return model


def _list_models(organisation: str, before: tuple[str, ...]) -> tuple[str, ...]:
    """Return the organisation's tagged models; those known before where the Hub does not answer."""
    try:
        with silenced("huggingface_hub"):
            api = HfApi(token=False)  # what everybody may see, whoever the host is
            found = api.list_models(author=organisation, filter=TAG, limit=MOST_LISTED)
            names = [model.id for model in found]
    except (HTTPError, OSError) as error:
        print(
            f"space: the Hub did not list {organisation} ({type(error).__name__})", file=sys.stderr
        )
        return before
    return tuple(name for name in names if name.partition("/")[0] == organisation)
