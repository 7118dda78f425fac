"""`python -m dataset_scripts.verify`: every kind of fault is found, named and counted."""

import csv
import hashlib
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from make_trees import EMODB, RAVDESS, raw, record, snapshot

from dataset_scripts import ravdess
from dataset_scripts.corpus import Skipped
from dataset_scripts.findings import KINDS, Finding
from dataset_scripts.manifest import read_manifest
from dataset_scripts.verify import main, verify
from ser_generalize.command import run_command
from ser_generalize.schema import SourceClip

NEUTRAL, CALM, ANGRY, SURPRISED, HAPPY = RAVDESS
TWIN, TWIN_OF = (f"Actor_07/03-01-03-01-02-0{take}-07.wav" for take in (2, 1))


def write_manifest(source: Path, file: Path) -> Path:
    lines = [
        f"{path.relative_to(source).as_posix()}\t{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(source.rglob("*.wav"))
    ]
    file.write_text("\n".join(["path\tsha256", *lines]) + "\n")
    return file


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 1,440 names of RAVDESS, with the two that are one recording."""
    root = tmp_path_factory.mktemp("complete") / "ravdess"
    grid = product(range(1, 25), range(1, 9), (1, 2), (1, 2), (1, 2))
    for seed, (actor, emotion, intensity, statement, take) in enumerate(grid):
        if (emotion, intensity) != (1, 2):
            name = f"03-01-{emotion:02}-{intensity:02}-{statement:02}-{take:02}-{actor:02}.wav"
            record(root / f"Actor_{actor:02}" / name, seed, seconds=0.11)
    shutil.copy(root / TWIN_OF, root / TWIN)
    return root


@pytest.fixture(scope="module")
def manifest(complete: Path) -> Path:
    return write_manifest(complete, complete.parent / "ravdess.tsv")


@pytest.fixture
def few(tmp_path: Path) -> tuple[Path, Path]:
    """Five good clips and their manifest, under a name that says they are no complete copy."""
    source = raw(tmp_path / "raw", RAVDESS)
    return source, write_manifest(source, tmp_path / "few.tsv")


def run(
    capsys: pytest.CaptureFixture[str], source: Path, *options: str, corpus: str = "ravdess"
) -> tuple[int, str, str]:
    try:
        code = run_command("verify", main, [corpus, "--source", str(source), *options])
    except SystemExit as end:
        code = int(str(end.code))
    output = capsys.readouterr()
    return code, output.out, output.err


def found(source: Path, manifest: Path | None = None) -> dict[str, set[str]]:
    """What is found in a copy that is known not to be complete, by kind."""
    _, findings = verify("ravdess", source, read_manifest(manifest) if manifest else None)
    kinds: dict[str, set[str]] = {}
    for finding in findings:
        if finding.kind != "miscounted":
            kinds.setdefault(finding.kind, set()).add(finding.what)
    return kinds


def test_a_complete_copy_as_published_has_exit_code_0(
    complete: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, complete, "--manifest", str(manifest), "--workers", "2")
    assert code == 0
    assert out.splitlines()[0] == "ravdess: 1,440 clips of 24 speakers, every one read and decoded"
    assert f"    {TWIN}: the same recording as {TWIN_OF}" in out
    assert out.splitlines()[-1] == "ravdess: complete and whole (1 fault of the published files)"


def test_without_a_manifest_nobody_knows_whose_fault_a_duplicate_is(complete: Path) -> None:
    _, findings = verify("ravdess", complete, workers=2)
    assert findings == [Finding("duplicated", TWIN, f"the same recording as {TWIN_OF}")]


def test_counts_are_compared_with_the_data_sheet(
    complete: Path, tmp_path: Path, manifest: Path
) -> None:
    source = tmp_path / "ravdess"
    shutil.copytree(complete, source)
    shutil.rmtree(source / "Actor_03")
    (source / NEUTRAL).unlink()
    _, findings = verify("ravdess", source, read_manifest(manifest), workers=2)
    kinds = Counter(finding.kind for finding in findings)
    assert kinds == {"missing": 61, "duplicated": 1, "miscounted": 8 + 2 + 1}
    miscounted = {finding.what: finding.reason for finding in findings}
    assert miscounted["label neutral"] == "91 of 96"
    assert miscounted["label calm"] == "184 of 192"
    assert miscounted["speaker 01"] == "59 of 60"
    assert miscounted["speaker 03"] == "0 of 60"
    assert miscounted["speakers"] == "23 of 24"


def test_every_kind_of_fault_is_found(few: tuple[Path, Path]) -> None:
    source, manifest = few
    conflict = SURPRISED.replace("-08-", "-07-")
    (source / NEUTRAL).unlink()
    record(source / CALM, 99)  # other sound, by the same name
    (source / ANGRY).write_bytes((source / ANGRY).read_bytes()[:-100])
    shutil.copy(source / SURPRISED, source / conflict)
    (source / "copy" / "Actor_02").mkdir(parents=True)
    shutil.copy(source / HAPPY, source / "copy" / HAPPY)
    assert found(source, manifest) == {
        "missing": {NEUTRAL},
        "extra": {f"copy/{HAPPY}", conflict},
        "altered": {CALM, ANGRY},
        "corrupt": {ANGRY},
        "conflicting": {SURPRISED, conflict},
    }
    assert found(source) == {
        "extra": {f"copy/{HAPPY}"}, "corrupt": {ANGRY}, "conflicting": {SURPRISED, conflict},
    }  # fmt: skip


def test_faults_of_the_published_files_are_told_apart(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", RAVDESS)
    (source / CALM).write_bytes(b"silence of another kind")
    shutil.copy(source / ANGRY, source / ANGRY.replace("-05-", "-06-"))
    published = read_manifest(write_manifest(source, tmp_path / "m.tsv"))
    _, findings = verify("ravdess", source, published)
    faults = [finding for finding in findings if finding.kind != "miscounted"]
    assert [finding.kind for finding in faults] == ["corrupt", "conflicting", "conflicting"]
    assert all(finding.published for finding in faults)
    (source / ANGRY).write_bytes((source / HAPPY).read_bytes())
    _, findings = verify("ravdess", source, published)
    told = {finding.what: finding.published for finding in findings if finding.kind == "corrupt"}
    assert told == {CALM: True}
    assert not any(finding.published for finding in findings if finding.kind == "conflicting")


@pytest.mark.parametrize("layout", ["nested deeper", "flat"])
def test_a_copy_may_be_laid_out_in_another_way(
    few: tuple[Path, Path], tmp_path: Path, layout: str
) -> None:
    source, manifest = few
    for file in RAVDESS:
        target = tmp_path / "other" / ("a/b" if layout == "nested deeper" else ".")
        target = target / (file if layout == "nested deeper" else Path(file).name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / file, target)
    assert found(tmp_path / "other", manifest) == {}


def test_a_missing_file_is_missing_although_its_twin_holds_the_same(
    complete: Path, manifest: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ravdess" / "Actor_07"
    shutil.copytree(complete / "Actor_07", folder)
    (tmp_path / "ravdess" / TWIN).unlink()
    missing = found(tmp_path / "ravdess", manifest)["missing"]
    assert {path for path in missing if path.startswith("Actor_07")} == {TWIN}


def test_rows_of_the_corpus_s_own_tables(
    few: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loading script yields what its tables name and the folder lacks, and what it refuses."""
    source, manifest = few
    refused, absent = source / HAPPY, source / "Actor_09" / "gone.wav"

    def parse(root: Path) -> Iterator[SourceClip | Skipped]:
        yield Skipped(absent, "named in index.csv and not there")
        yield Skipped(refused, "the corpus's authors withdrew it")
        yield from (clip for clip in original(root) if clip.path != refused)

    original = ravdess.parse
    monkeypatch.setattr(ravdess, "parse", parse)
    for given in (None, manifest):
        assert found(source, given) == {"missing": {"Actor_09/gone.wav"}, "unusable": {HAPPY}}
    _, findings = verify("ravdess", source, read_manifest(manifest))
    reasons = {finding.what: (finding.reason, finding.published) for finding in findings}
    assert reasons[HAPPY] == ("the corpus's authors withdrew it", True)
    assert reasons["Actor_09/gone.wav"] == ("named in index.csv and not there", False)


def test_a_fabricated_tree_is_verified_for_what_applies(
    raw_ravdess: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, raw_ravdess)
    assert code == 0
    assert out.splitlines() == [
        "ravdess: 120 clips of 4 speakers, every one read and decoded",
        "ravdess: complete and whole",
    ]


def test_the_list_holds_what_the_table_counts(
    few: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, manifest = few
    for file in RAVDESS[:4]:
        (source / file).unlink()
    (source / "Actor_03").mkdir()
    (source / "Actor_03" / "song.mp3").write_bytes(b"")
    code, out, _ = run(capsys, source, "--manifest", str(manifest), "--list", str(tmp_path / "l"))
    assert code == 1
    with (tmp_path / "l").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file, delimiter="\t"))
    counts = Counter(row["kind"] for row in listed)
    counted = {
        line.split()[0]: int(line.split()[1])
        for line in out.splitlines()
        if line.split()[0] in KINDS
    }
    assert counted == counts
    assert counts["missing"] == 4
    assert "ravdess: 1 other audio file looked at by their names only: Actor_03/song.mp3" in out
    assert out.splitlines()[-1] == f"ravdess: {len(listed)} faults found"


MANIFESTS = {
    "not there": (None, "cannot be read ("),
    "no columns": ("file\tmd5\n", "has no column path and sha256"),
    "empty": ("path\tsha256\n", "lists no file"),
    "bad hash": ("path\tsha256\na.wav\tabc\n", "line 2: needs a path and a SHA-256 of 64"),
    "short line": ("path\tsha256\na.wav\n", "line 2: needs a path and a SHA-256 of 64"),
    "not text": (b"path\tsha256\n\xff\xfe\n", "cannot be read ("),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_that_is_none(
    few: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    content, says = MANIFESTS[kind]
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "m.tsv").write_bytes(data)
    code, out, err = run(capsys, few[0], "--manifest", str(tmp_path / "m.tsv"))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"verify: --manifest {tmp_path / 'm.tsv'}") and says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ravdes", "--source", "raw"], "unknown corpus 'ravdes'; choose one of: "),
        (["ravdess", "--source", "nowhere"], "--source nowhere is not a folder"),
        (["ravdess", "--source", "emodb"], "no RAVDESS"),
    ],
)
def test_a_mistake_has_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    raw(tmp_path / "emodb", EMODB)
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    assert run_command("verify", main, arguments) == 2
    assert f"verify: {says}" in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def test_the_real_command_exits_with_1_and_its_help_says_so(few: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "dataset_scripts.verify"]
    done = subprocess.run([*command, "ravdess", "--source", few[0]], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        1, "ravdess: 5 clips of 2 speakers, every one read and decoded",
    )  # fmt: skip
    help_text = subprocess.run([*command, "--help"], capture_output=True, text=True).stdout
    assert "1 faults found" in " ".join(help_text.split())
    assert help_text.splitlines()[-1].startswith("  python -m dataset_scripts.verify ravdess")


def test_real_ravdess_actor_01_is_as_published_and_the_others_are_resampled(shared: Path) -> None:
    published = read_manifest(shared / "manifests" / "ravdess.tsv")
    _, findings = verify("ravdess", shared / "corpora" / "ravdess", published, workers=2)
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding.what)
    assert {kind: len(what) for kind, what in kinds.items()} == {
        "missing": 720, "altered": 660, "duplicated": 1, "miscounted": 8 + 12 + 1,
    }  # fmt: skip
    assert {path.partition("/")[0] for path in kinds["altered"]} == {
        f"Actor_{actor:02}" for actor in range(2, 13)
    }
    assert kinds["duplicated"] == [TWIN]


def test_real_crema_d_clips_are_as_published(shared: Path) -> None:
    published = read_manifest(shared / "manifests" / "crema_d.tsv")
    copy, findings = verify("crema_d", shared / "corpora" / "crema_d", published)
    assert len(copy.confirmed) == len(copy.clips) == 7
    assert {finding.kind for finding in findings} == {"missing", "miscounted"}
    assert sum(finding.kind == "missing" for finding in findings) == len(published) - 7
