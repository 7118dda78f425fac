"""What can be wrong with a copy of a corpus: one function per kind of finding."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dataset_scripts.corpus import Corpus
from dataset_scripts.manifest import Manifest
from dataset_scripts.recordings import contradict, copies
from ser_generalize.schema import SourceClip

KINDS = {
    "missing": "named by the manifest or by a table of the corpus, and not there",
    "extra": "a second file of a clip, or a clip that the manifest does not list",
    "altered": "other bytes than published",
    "corrupt": "cannot be decoded, or holds no usable sound",
    "unusable": "known to be no clip; the loading script leaves it out",
    "duplicated": "the same recording as another clip",
    "conflicting": "the same recording as a clip of another label or speaker",
    "miscounted": "more or fewer clips of a label or speaker than in a complete copy",
}


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be; `published`: it is so in the published corpus."""

    kind: str  # a key of KINDS
    what: str  # a path below the source, a label or a speaker
    reason: str
    published: bool = False


@dataclass(frozen=True)
class Heard:
    """What reading a file gave: the hash of its bytes, and of its sound or why it has none."""

    sha256: str | None
    recording: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Copy:
    """A copy of a corpus that was read through; paths are below its source."""

    corpus: Corpus
    files: Collection[str]
    clips: Mapping[str, SourceClip]
    skipped: Mapping[str, str]  # path: why the loading script makes no clip of it
    heard: Mapping[str, Heard]
    manifest: Manifest  # empty: none was given
    located: Mapping[str, Sequence[str]]  # where the manifest's paths lie in this copy

    @cached_property
    def confirmed(self) -> set[str]:
        """The files that are as published."""
        return {
            file
            for path, files in self.located.items()
            for file in files
            if file in self.heard and self.heard[file].sha256 == self.manifest[path]
        }

    @cached_property
    def firsts(self) -> dict[str, str]:
        """The first file of every clip, by the clip's name."""
        return {clip.name: path for path, clip in sorted(self.clips.items(), reverse=True)}


def find_all(copy: Copy) -> list[Finding]:
    """Return every finding, in the order of KINDS."""
    checks = (_missing, _extra, _altered, _corrupt, _unusable, _repeated, _miscounted)
    return [finding for check in checks for finding in check(copy)]


def _missing(copy: Copy) -> Iterator[Finding]:
    listed = {path: "in the manifest" for path, files in copy.located.items() if not files}
    named = {path: why for path, why in copy.skipped.items() if path not in copy.files}
    for path, reason in (listed | named).items():
        yield Finding("missing", path, reason)


def _extra(copy: Copy) -> Iterator[Finding]:
    listed = {file for files in copy.located.values() for file in files}
    for path, clip in copy.clips.items():
        if path != copy.firsts[clip.name]:
            yield Finding("extra", path, f"{copy.firsts[clip.name]} is the same clip")
        elif copy.manifest and path not in listed:
            yield Finding("extra", path, "not in the manifest")


def _altered(copy: Copy) -> Iterator[Finding]:
    for path, files in copy.located.items():
        for file in files[:1]:
            if file not in copy.confirmed:
                yield Finding("altered", file, f"its SHA-256 is not {copy.manifest[path][:12]}...")


def _corrupt(copy: Copy) -> Iterator[Finding]:
    for path, heard in copy.heard.items():
        if heard.fault:
            yield Finding("corrupt", path, heard.fault, path in copy.confirmed)


def _unusable(copy: Copy) -> Iterator[Finding]:
    for path, reason in copy.skipped.items():
        if path in copy.files:
            yield Finding("unusable", path, reason, published=True)  # known from other copies


def _repeated(copy: Copy) -> Iterator[Finding]:
    paths = [path for path in sorted(copy.firsts.values()) if copy.heard[path].recording]
    rows = [
        {
            "clip_id": f"{copy.corpus.name}/{copy.clips[path].name}",
            "sha256": copy.heard[path].recording,
            "native_label": copy.clips[path].native_label,
            "speaker": copy.clips[path].speaker,
        }
        for path in paths
    ]
    for first, *others in copies(rows):
        same = [first, *others]
        published = all(paths[position] in copy.confirmed for position in same)
        if conflict := contradict([rows[position] for position in same]):
            for position in same:
                yield Finding("conflicting", paths[position], conflict, published)
        else:
            for position in others:
                reason = f"the same recording as {paths[first]}"
                yield Finding("duplicated", paths[position], reason, published)


def _miscounted(copy: Copy) -> Iterator[Finding]:
    """Compare with the counts of a complete copy; a fabricated one is not meant to be."""
    if copy.corpus.elicitation == "synthetic":
        return
    clips = [copy.clips[path] for path in copy.firsts.values()]
    for what, found, expected in (
        ("label", Counter(clip.native_label for clip in clips), copy.corpus.expected_clips),
        ("speaker", Counter(clip.speaker for clip in clips), copy.corpus.expected_speaker_clips),
    ):
        for name, count in expected.items():
            if found[name] != count:
                yield Finding("miscounted", f"{what} {name}", f"{found[name]:,} of {count:,}")
    speakers = len({clip.speaker for clip in clips} - {None})
    if speakers != copy.corpus.expected_speakers:
        reason = f"{speakers} of {copy.corpus.expected_speakers}"
        yield Finding("miscounted", "speakers", reason)
