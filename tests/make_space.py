"""The page, opened for tests on a port of its own."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app import build, launch
from checkpoints import Shelf
from examples import write_examples


@dataclass(frozen=True)
class OpenSpace:
    """An open page, and the folder that its uploads lie in."""

    url: str
    uploads: Path

    def left(self) -> list[str]:
        """Return the files that were uploaded and are still there."""
        return [path.name for path in self.uploads.rglob("*") if path.is_file()]


@contextmanager
def open_space(
    folder: Path, checkpoints: Sequence[Path], organisation: str | None = None
) -> Iterator[OpenSpace]:
    """Open the page with some checkpoints; what it writes lies in a folder."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    (folder / "examples").mkdir(parents=True)
    shelf = Shelf([str(one) for one in checkpoints], organisation)
    page = build(shelf, write_examples(folder / "examples"))
    try:
        yield OpenSpace(launch(page, "127.0.0.1", None, wait=False), folder / "uploads")
    finally:
        page.close()
        os.environ.pop("GRADIO_TEMP_DIR")
        if before is not None:
            os.environ["GRADIO_TEMP_DIR"] = before
