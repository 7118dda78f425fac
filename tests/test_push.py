"""A store's way over the Hub: pushed where terms allow it, and trained on by its id."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hub_server import READER, Hub
from make_dataset import few, rows_of
from make_store import clip_keys, embeddings, write_store

from ser_generalize import cli, train
from ser_generalize.embeddings import find_store, read_embeddings, store_files
from ser_generalize.errors import InputError
from ser_generalize.push import push_store

NAME = "org/embeddings"


@pytest.fixture
def real(dataset: Path, store: Path, tmp_path: Path) -> Path:
    """A store as if of the real RAVDESS; fabricated speech may go into private repositories."""
    rows = rows_of(dataset)
    licensed = [row | {"licence": "CC-BY-NC-SA-4.0"} for row in rows]
    return write_store(tmp_path / "real", licensed, embeddings(rows, store), like=store)


def run(arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["ser-generalize", "push", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert isinstance(left.value.code, int)
    return left.value.code


def test_what_was_pushed_comes_back_by_its_id(hub: Hub, real: Path, dataset: Path) -> None:
    push_store(real, NAME)
    rows = rows_of(dataset)
    found = read_embeddings(find_store(NAME), *clip_keys(rows))
    expected = read_embeddings(real, *clip_keys(rows))
    assert found[0] == expected[0] and np.array_equal(found[1], expected[1])


PLAIN = """
import json, sys
import numpy as np
from datasets import load_dataset

found = {}
for streaming in (False, True):
    rows = list(load_dataset(sys.argv[1], split="train", streaming=streaming))
    values = np.array([row["layer_01"] for row in rows], dtype=np.float16)
    found[str(streaming)] = [[row["clip_id"] for row in rows], values.tobytes().hex()]
print(json.dumps(found))
"""


def test_plain_load_dataset_reads_it(hub: Hub, real: Path, dataset: Path, tmp_path: Path) -> None:
    push_store(real, NAME)
    environment = hub.environment(READER, tmp_path)
    command = [sys.executable, "-c", PLAIN, NAME]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    rows = rows_of(dataset)
    expected = [clip_keys(rows)[0], embeddings(rows, real)[:, 1].tobytes().hex()]
    assert json.loads(done.stdout) == {"False": expected, "True": expected}


def test_the_card_names_encoder_corpora_and_terms(hub: Hub, real: Path) -> None:
    push_store(real, NAME)
    card = hub.repository("dataset", NAME).head.files["README.md"].data.decode()
    for said in ("tiny-random", "fp32", "cc-by-nc-sa-4.0", "[CC-BY-NC-SA-4.0](http", "@article",
                 "| 120 |", "0, 1, 2"):  # fmt: skip
        assert said in card, said


def test_a_second_push_sends_what_is_new_and_deletes_what_is_gone(
    hub: Hub, real: Path, store: Path, dataset: Path, tmp_path: Path
) -> None:
    push_store(real, NAME)
    assert push_store(real, NAME) == []
    rows = [row | {"licence": "CC-BY-NC-SA-4.0"} for row in rows_of(dataset)[:40]]
    other = write_store(tmp_path / "other", rows, embeddings(rows, store), like=store)
    changed = push_store(other, NAME)
    held = {path.name for path in store_files(other)}
    there = set(hub.repository("dataset", NAME).head.files) - {".gitattributes", "README.md"}
    assert there == held and "shard-080.arrow" in changed
    assert len(read_embeddings(find_store(NAME), *clip_keys(rows))[1]) == 40


# What may go where


def test_embeddings_stay_under_the_terms_of_their_recordings(hub: Hub, store: Path) -> None:
    with pytest.raises(InputError, match="ravdess may only go into a private repository"):
        push_store(store, NAME)  # of fabricated speech, which is not what the data sheet describes
    assert not hub.requests
    push_store(store, NAME, "private")
    assert hub.repository("dataset", NAME).private


GATED = ("emodb", "LicenseRef-EmoDB-free-with-attribution")


@pytest.mark.parametrize(
    ("corpus", "licence", "terms"),
    [(*GATED, "gated"), ("emodb", "MIT", "private"), ("unheard_of", "MIT", "private")],
)
def test_one_clip_of_stricter_terms_is_enough(
    corpus: str, licence: str, terms: str, hub: Hub, dataset: Path, store: Path, tmp_path: Path
) -> None:
    rows = [row | {"licence": "CC-BY-NC-SA-4.0"} for row in rows_of(dataset)]
    rows[7] |= {"corpus": corpus, "licence": licence}
    mixed = write_store(tmp_path / "mixed", rows, embeddings(rows_of(dataset), store), like=store)
    with pytest.raises(InputError, match=f"{corpus} may only go into a {terms} repository"):
        push_store(mixed, NAME)
    assert not hub.requests
    push_store(mixed, NAME, terms)  # type: ignore[arg-type]
    assert bool(hub.repository("dataset", NAME).gated) == (terms == "gated")


# The command


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no store": (["{tmp}", NAME], "is no finished embedding store (no manifest.json)"),
    "no id": (["{store}", "embeddings"], "embeddings is no id of the Hub; give ORG/NAME"),
    "terms": (["{store}", NAME], "ravdess may only go into a private repository"),
    "both": (["{store}", NAME, "--gated", "--private"], "not allowed with argument --gated"),
    "nothing": ([], "the following arguments are required: path, ORG/NAME"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    name: str,
    hub: Hub,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given, reason = MISTAKES[name]
    argv = [part.format(store=store, tmp=tmp_path) for part in given]
    assert run(argv, monkeypatch) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("ser-generalize push: ")
    assert reason in err and not hub.writes


def test_the_command_says_what_it_did(
    hub: Hub, real: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([real, NAME, "--gated"], monkeypatch) == 0
    done = "6 files sent or deleted"
    assert capsys.readouterr().out == f"push: {real} is the dataset {NAME} (gated), {done}\n"
    assert run([real, NAME, "--gated"], monkeypatch) == 0
    assert capsys.readouterr().out.endswith("nothing was new\n")


# From the Hub


def test_train_takes_the_id_of_a_store(
    hub: Hub, real: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_store(real, NAME)
    monkeypatch.setenv("HF_TOKEN", READER)
    argv = ["--dataset", dataset, "--protocol", "loso", "--labels", "four", "--head", "logistic"]
    made = [tmp_path / "pulled", tmp_path / "local"]
    for out, name in zip(made, (NAME, real), strict=True):
        train.main([*map(str, argv), "--embeddings", str(name), "--out", str(out)])
    assert len({(out / "predictions.parquet").read_bytes() for out in made}) == 1


def test_a_store_with_its_clips_is_all_that_train_needs(
    hub: Hub, real: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--protocol", "loso", "--labels", "four", "--head", "logistic"]
    assert run([real, NAME, "--dataset", dataset], monkeypatch) == 0
    assert run([real, NAME, "--dataset", dataset], monkeypatch) == 0  # again, nothing is new
    pulled, local = tmp_path / "pulled", tmp_path / "local"
    train.main([*argv, *map(str, ("--dataset", dataset, "--embeddings", real, "--out", local))])
    again = [*argv, "--dataset", NAME, "--embeddings", NAME, "--out", str(pulled)]
    done = subprocess.run(
        [sys.executable, "-m", "ser_generalize.train", *again],
        capture_output=True,
        text=True,
        env=hub.environment(READER, tmp_path),
    )
    assert done.returncode == 0, done.stderr
    predicted = [(out / "predictions.parquet").read_bytes() for out in (pulled, local)]
    assert predicted[0] == predicted[1]
    held = hub.repository("dataset", NAME).head.files
    assert [path for path in held if path.startswith("clips/")] == ["clips/ravdess.arrow"]
    published = pa.ipc.open_file(held["clips/ravdess.arrow"].data).read_all()
    assert published["audio"].null_count == len(published) == len(rows_of(dataset))
    push_store(real, NAME)  # without them they go
    assert "clips/ravdess.arrow" not in hub.repository("dataset", NAME).head.files


def test_clips_of_another_dataset_are_refused(
    hub: Hub, real: Path, dataset: Path, tmp_path: Path
) -> None:
    other = few(dataset, tmp_path / "few", 100)
    with pytest.raises(InputError, match="it lacks, or has other audio for, 20 of its clips"):
        push_store(real, NAME, dataset=str(other))
    assert not hub.requests


def test_a_store_that_the_hub_does_not_give_is_one_line(hub: Hub, real: Path) -> None:
    with pytest.raises(InputError, match=r"org/nothing is neither a folder nor a dataset that the"):
        find_store("org/nothing")
    hub.add("dataset", "org/other").put({"README.md": b"text"})
    with pytest.raises(InputError, match="org/other on the Hub is no embedding store"):
        find_store("org/other")
