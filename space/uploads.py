"""Uploads: each in a folder of its own, so that it can be deleted as soon as it was decoded.

Gradio names the folder of an upload by its content alone: of two visitors with the same file, the
first to be answered would take it from the other.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import route_utils
from gradio.data_classes import FileData, ListFiles


class OwnUpload(route_utils.GradioUploadFile):
    """A file that is being uploaded; its digest, and so its folder, is nobody else's."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.sha.update(secrets.token_bytes(16))


def several_files(**how: Any) -> gr.File:
    """Return a gr.File for several; gr.File itself leaves an empty file behind for each of them."""
    files = gr.File(file_count="multiple", **how)
    files.preprocess = _paths  # type: ignore[method-assign]
    return files


def _paths(payload: ListFiles | FileData | None) -> list[str]:
    return [file.path for file in payload] if isinstance(payload, ListFiles) else []


def separate_uploads() -> None:
    """Let uploads of the same content lie in folders of their own from now on."""
    route_utils.GradioUploadFile = OwnUpload  # type: ignore[misc]


@contextmanager
def used_once(*paths: str) -> Iterator[list[Path]]:
    """Yield uploads, and delete all of them whatever happens."""
    uploads = [Path(path) for path in paths]
    try:
        yield uploads
    finally:
        for upload in uploads:
            delete(upload)


def delete(path: Path) -> None:
    """Delete an upload, if it is there, and the folder that it had for itself."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()
