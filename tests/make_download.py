"""A small corpus to download from a server of the tests, and what a download leaves or says."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_server import Files

from dataset_scripts.corpus import Archive, Corpus, load_script
from dataset_scripts.download import download
from ser_generalize.errors import InputError

NOISE = np.random.default_rng(0).bytes(50_000)  # does not shrink
TREE = {"Actor_01/a.wav": NOISE, "Actor_01/b.wav": b"RIFF" * 9, "read me.txt": "ä".encode()}


def zipped(tree: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ZIP = zipped(TREE)


def corpus_of(files: Files, *paths: str, published: bool = True) -> Corpus:
    archives = []
    for path in paths or ("/corpus.zip",):
        content = files.content.get(path.partition("?")[0], b"")
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        known = (checksum, len(content)) if published else (None, None)
        archives.append(Archive(files.url + path, *known))
    return replace(load_script("ravdess")[0], archives=tuple(archives))


def tree_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def refusal(corpus: Corpus, source: Path) -> str:
    with pytest.raises(InputError) as caught:
        download(corpus, source)
    assert "\n" not in str(caught.value)
    return str(caught.value)
