"""Is a copy of a corpus complete and whole? Every file is read, hashed and decoded."""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path, PurePosixPath

from dataset_scripts.card import counted
from dataset_scripts.corpus import AUDIO_SUFFIXES, as_found, corpus_names, load_script
from dataset_scripts.findings import KINDS, Copy, Finding, Heard, find_all
from dataset_scripts.manifest import Manifest, locate, locate_by_content, read_manifest
from dataset_scripts.tree import parse_tree
from dataset_scripts.workers import add_workers, processes
from ser_generalize.audio import BadAudioError, pcm_sha256, read_pcm
from ser_generalize.command import CommandParser, progress_bar, run_command
from ser_generalize.errors import listing, one_of
from ser_generalize.files import file_digest, write_text, writing

CHUNK = 64  # files; what a worker is given at a time
EXAMPLES = 3


def verify(
    name: str, source: Path, manifest: Manifest | None = None, workers: int | None = 1
) -> tuple[Copy, list[Finding]]:
    """Compare a copy of a corpus with its manifest, its data sheet and itself.

    A finding in files that the manifest confirms is a fault of the corpus and not of the copy: it
    is `published`. A fabricated tree is not compared with the data sheet's counts. Raises
    InputError where `build` would before it reads audio.
    """
    copy = _read(name, source, manifest or {}, workers)
    return copy, find_all(copy)


def _read(name: str, source: Path, manifest: Manifest, workers: int | None) -> Copy:
    corpus, parse = load_script(name)
    corpus = as_found(corpus, source)
    usable, unusable = parse_tree(corpus, parse, source)
    clips = {clip.path.relative_to(source).as_posix(): clip for clip in usable}
    skipped = {item.path.relative_to(source).as_posix(): item.reason for item in unusable}
    files = [p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()]
    located = locate(manifest, files)
    listed = [found[0] for found in located.values() if found and found[0] not in clips]
    tasks = [(source / path, path in clips) for path in [*clips, *listed]]
    heard = _hear(tasks, workers, f"verify {name}")
    by_path = {path.relative_to(source).as_posix(): each for path, each in sorted(heard)}
    located = locate_by_content(manifest, located, {p: each.sha256 for p, each in by_path.items()})
    return Copy(corpus, frozenset(files), clips, skipped, by_path, manifest, located)


def _hear(
    tasks: Sequence[tuple[Path, bool]], workers: int | None, what: str
) -> list[tuple[Path, Heard]]:
    chunks = [tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)]
    heard: list[tuple[Path, Heard]] = []
    with (
        progress_bar(len(tasks), what, "file") as progress,
        processes(workers) as spread,
    ):
        for result in spread(_hear_chunk, chunks):
            heard += result
            progress.update(len(result))
    return heard


def _hear_chunk(tasks: Sequence[tuple[Path, bool]]) -> list[tuple[Path, Heard]]:
    return [(path, _hear_file(path, is_clip)) for path, is_clip in tasks]


def _hear_file(path: Path, is_clip: bool) -> Heard:
    """Hash a file and, if it is a clip, decode all of it."""
    sha256 = None
    try:
        sha256 = file_digest(path)
        return Heard(sha256, pcm_sha256(read_pcm(path)[0]) if is_clip else None)
    except BadAudioError as error:
        return Heard(sha256, fault=str(error))
    except OSError as error:
        return Heard(sha256, fault=f"cannot be read ({error.strerror or error})")


def table(findings: Sequence[Finding]) -> str:
    """Return the findings of every kind, counted, with the first few of each."""
    lines = [f"{'finding':<12}{'number':>8}{'as published':>14}"]
    for kind, meaning in KINDS.items():
        if same := [finding for finding in findings if finding.kind == kind]:
            published = sum(finding.published for finding in same)
            lines.append(f"{kind:<12}{len(same):>8,}{published:>14,}  {meaning}")
            lines += [f"    {each.what}: {each.reason}" for each in same[:EXAMPLES]]
            lines += ["    ..."] * (len(same) > EXAMPLES)
    return "\n".join(lines)


def write_list(findings: Sequence[Finding], file: Path) -> None:
    """Write all findings as a tab-separated table."""
    lines = io.StringIO()
    rows = csv.writer(lines, delimiter="\t", lineterminator="\n")
    rows.writerow([field.name for field in fields(Finding)])
    rows.writerows(astuple(finding) for finding in findings)
    with writing(f"cannot write {file}"):
        write_text(file, lines.getvalue())


def main(argv: Sequence[str]) -> None:
    """Parse the command line, verify, print a table, and exit with 1 if the copy has faults."""
    parser = CommandParser(
        "python -m dataset_scripts.verify",
        "Check a copy of a raw corpus: what is missing, extra, altered, corrupt, duplicated or "
        "conflicting. Exit code: 0 complete and whole, or its faults are those of the published "
        "files, which a manifest can confirm; 1 faults found; 2 a mistake in the command.",
        "python -m dataset_scripts.verify ravdess --source ~/corpora/ravdess",
    )
    parser.add_argument("corpus", help=f"one of: {', '.join(corpus_names())}")
    parser.add_argument("--source", type=Path, required=True, help="folder of the raw corpus")
    parser.add_argument("--manifest", type=Path, metavar="FILE.tsv",
                        help="the published files: columns path and sha256")  # fmt: skip
    parser.add_argument("--list", type=Path, metavar="FILE.tsv", dest="list_file",
                        help="write all findings to this table")  # fmt: skip
    add_workers(parser)
    arguments = parser.parse_args(argv)
    one_of("corpus", arguments.corpus, corpus_names())
    manifest = read_manifest(arguments.manifest) if arguments.manifest else None
    copy, findings = verify(arguments.corpus, arguments.source, manifest, arguments.workers)
    if arguments.list_file:
        write_list(findings, arguments.list_file)
    print("\n".join(_summary(copy, findings)))
    if any(not finding.published for finding in findings):
        sys.exit(1)


def _summary(copy: Copy, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines that say what was looked at, what was found and how it is to be taken."""
    name = copy.corpus.name
    speakers = {clip.speaker for clip in copy.clips.values()} - {None}
    clips, people = counted(len(copy.clips), "clip"), counted(len(speakers), "speaker")
    yield f"{name}: {clips} of {people}, every one read and decoded"
    others = [file for file in copy.files if _is_other_audio(copy, file)]
    if others:
        files = counted(len(others), "other audio file")
        yield f"{name}: {files} looked at by their names only: {listing(sorted(others), 3)}"
    if findings:
        yield table(findings)
    known = sum(finding.published for finding in findings)
    if len(findings) > known:
        yield f"{name}: {counted(len(findings) - known, 'fault')} found"
    else:
        as_published = f" ({counted(known, 'fault')} of the published files)" if known else ""
        yield f"{name}: complete and whole{as_published}"


def _is_other_audio(copy: Copy, file: str) -> bool:
    path = PurePosixPath(file)
    known = file in copy.clips or file in copy.skipped or path.name.startswith(".")
    return path.suffix.lower() in AUDIO_SUFFIXES and not known


if __name__ == "__main__":
    sys.exit(run_command("verify", main, sys.argv[1:]))
