"""A raw tree as its loading script sees it: names and tables, before any audio is read."""

from pathlib import Path

from dataset_scripts.card import counted
from dataset_scripts.corpus import Corpus, Parse, Skipped, audio_files, corpus_names, load_script
from ser_generalize.errors import InputError
from ser_generalize.schema import SourceClip


def parse_tree(
    corpus: Corpus, parse: Parse, source: Path
) -> tuple[list[SourceClip], list[Skipped]]:
    """Return the clips below a folder, and what becomes none; no audio is read.

    Raises InputError for a folder that is not there, is empty, or holds another corpus.
    """
    if not source.is_dir():
        raise InputError(f"--source {source} is not a folder")
    found = list(parse(source))
    if not found:
        raise InputError(_nothing_found(corpus, source))
    clips = [item for item in found if isinstance(item, SourceClip)]
    return clips, [item for item in found if isinstance(item, Skipped)]


def _nothing_found(corpus: Corpus, source: Path) -> str:
    files = audio_files(source)
    if not files:
        return f"no audio file below {source}; give the folder that holds {corpus.title}"
    others = (other for other in corpus_names() if other != corpus.name)
    guesses = [other for other in others if next(iter(load_script(other)[1](source)), None)]
    hint = f"; it looks like {' or '.join(guesses)}" if guesses else ""
    return (
        f"no {corpus.title} file (such as {corpus.file_example}) among "
        f"{counted(len(files), 'audio file')} below {source}, the first is {files[0].name}{hint}"
    )
