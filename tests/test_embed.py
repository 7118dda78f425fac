"""`embed` from a dataset folder to a store: once, in spite of kills and bad clips, in one line."""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_dataset import BAD, Row, add_corpus, change_dataset, few, flac, rows_of, with_bad_clips
from make_encoder import WEIGHTS, write_encoder
from safetensors.torch import load_file, save_file

import ser_generalize.embed as embed_module
from ser_generalize import encoder
from ser_generalize.audio import decode_clip, encode_flac
from ser_generalize.embed import embed
from ser_generalize.embeddings import read_embeddings, read_manifest
from ser_generalize.encoder import embed_clips, load_encoder
from ser_generalize.errors import InputError

SHARD = 12  # clips, where a test needs several shards


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of clips in every batch that went through the encoder from here on."""
    batches: list[int] = []

    def count(loaded: Any, waves: Sequence[Any], window: str) -> Any:
        batches.append(len(waves))
        return embed_clips(loaded, list(waves), window)

    monkeypatch.setattr(encoder, "embed_clips", count)
    return batches


def stored(store: Path, rows: Sequence[Row]) -> Any:
    return read_embeddings(store, [r["clip_id"] for r in rows], [r["sha256"] for r in rows])[1]


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store, hidden ones too."""
    return {path.name: path.read_bytes() for path in store.iterdir()}


def test_every_clip_is_in_the_store_as_the_encoder_sees_it_alone(
    dataset: Path, tiny_encoder: Path, store: Path
) -> None:
    rows, loaded = rows_of(dataset), load_encoder(str(tiny_encoder))
    key, manifest = read_manifest(store)
    assert (key.encoder, key.revision) == ("tiny-random", loaded.revision)
    assert (key.window, manifest["clips"], manifest["skipped"]) == ("short", len(rows), [])
    found = stored(store, rows)
    assert found.shape == (120, 3, 2, 32) and found.dtype == np.float16
    for row, value in list(zip(rows, found, strict=True))[::17]:
        alone = embed_clips(loaded, [decode_clip(row["audio"]["bytes"])], "short")[0]
        np.testing.assert_allclose(value, alone, atol=2e-3 * np.abs(alone).max())


def test_the_30_s_window_is_another_store(
    dataset: Path, tiny_encoder: Path, store: Path, tmp_path: Path
) -> None:
    folder = few(dataset, tmp_path / "data", 1)
    embed(str(folder), str(tiny_encoder), tmp_path / "store", window="30s")
    rows, loaded = rows_of(folder), load_encoder(str(tiny_encoder))
    for row, value in zip(rows, stored(tmp_path / "store", rows), strict=True):
        alone = embed_clips(loaded, [decode_clip(row["audio"]["bytes"])], "30s")[0]
        np.testing.assert_allclose(value, alone, atol=2e-3 * np.abs(alone).max())
    with pytest.raises(InputError, match=r"window 30s.*not of tiny-random.*window short"):
        embed(str(folder), str(tiny_encoder), tmp_path / "store")


def test_a_second_run_does_nothing(
    dataset: Path, tiny_encoder: Path, tmp_path: Path, counted: list[int]
) -> None:
    folder = few(dataset, tmp_path / "data", 5)
    first = embed(str(folder), str(tiny_encoder), tmp_path / "store")
    before = contents(tmp_path / "store")
    assert (first.clips, sum(counted)) == (5, 5)
    again = embed(str(folder), str(tiny_encoder), tmp_path / "store")
    assert (again.clips, sum(counted)) == (0, 5)
    assert contents(tmp_path / "store") == before


def test_more_clips_and_changed_clips_are_added_and_no_others(
    dataset: Path, tiny_encoder: Path, tmp_path: Path, counted: list[int]
) -> None:
    store, rows = tmp_path / "store", rows_of(dataset)
    embed(str(few(dataset, tmp_path / "5", 5)), str(tiny_encoder), store)
    shards = contents(store)
    quieter = decode_clip(rows[0]["audio"]["bytes"]) / 2
    changed = {
        "audio": {"bytes": encode_flac((quieter * 32768).astype(np.int16)), "path": None},
        "sha256": "of the quieter one",
    }

    def change(rows: list[Row]) -> list[Row]:
        return [rows[0] | changed, *rows[1:8]]

    folder = change_dataset(dataset, tmp_path / "8", change)
    with pytest.raises(InputError, match="lacks 4 of 8"):
        stored(store, rows_of(folder))
    counted.clear()
    embed(str(folder), str(tiny_encoder), store)
    assert sum(counted) == 4  # three new ones and the one that changed
    after = contents(store)
    assert all(after[name] == data for name, data in shards.items() if name != "manifest.json")
    values = stored(store, rows_of(folder))
    assert not np.array_equal(values[0], stored(store, rows[:1])[0])  # both are held
    assert np.array_equal(values[1:5], stored(store, rows[1:5]))


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The seconds of every clip of every batch, from here on, of an encoder that does nothing."""
    seconds: list[list[float]] = []

    def note(_: Any, waves: Sequence[Any], window: str) -> Any:
        seconds.append([len(wave) / 16_000 for wave in waves])
        return np.zeros((len(waves), 3, 2, 32), dtype=np.float32)

    monkeypatch.setattr(encoder, "embed_clips", note)
    return seconds


def test_batches_hold_30_s_of_audio_at_most_unless_one_clip_is_longer(
    dataset: Path, tiny_encoder: Path, tmp_path: Path, batches: list[list[float]]
) -> None:
    def lengthen(rows: list[Row]) -> list[Row]:
        wave = np.tile(decode_clip(rows[0]["audio"]["bytes"]), 20)[: 31 * 16_000]
        flac = encode_flac((wave * 32768).astype(np.int16))
        return [rows[0] | {"audio": {"bytes": flac, "path": None}, "duration": 31.0}, *rows[1:40]]

    folder = change_dataset(dataset, tmp_path / "data", lengthen)
    embed(str(folder), str(tiny_encoder), tmp_path / "store")
    assert batches[0] == [31.0] and sum(map(len, batches)) == 40
    assert all(max(batch) * len(batch) <= 30 for batch in batches[1:])  # padding included
    assert max(map(len, batches)) > 4


def test_windows_of_30_s_are_computed_one_at_a_time(
    dataset: Path, tiny_encoder: Path, tmp_path: Path, batches: list[list[float]]
) -> None:
    folder = few(dataset, tmp_path / "data", 5)
    embed(str(folder), str(tiny_encoder), tmp_path / "store", window="30s")
    assert [len(batch) for batch in batches] == [1] * 5


# Killed runs

KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
import ser_generalize.embed as module

module.SHARD_CLIPS = int(sys.argv[4])
whole, written = pq.write_table, []

def dying(table, path, **options):
    whole(table, path, **options)
    written.append(path)
    if len(written) == 3:  # in the middle of a write: kill -9 leaves half a file
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

pq.write_table = dying
module.embed(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
"""


def test_a_killed_run_loses_a_shard_at_most_and_ends_with_the_same_bytes(
    dataset: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embed_module, "SHARD_CLIPS", SHARD)
    folder = few(dataset, tmp_path / "data", 4 * SHARD - 3)
    whole, store = tmp_path / "whole", tmp_path / "killed"
    embed(str(folder), str(tiny_encoder), whole)
    command = [sys.executable, "-c", KILLED, folder, tiny_encoder, store, str(SHARD)]
    killed = subprocess.run([str(part) for part in command], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    left = contents(store)
    assert sorted(name.startswith(".") for name in left) == [False, False, True]
    with pytest.raises(InputError, match="has not finished"):
        read_manifest(store)

    counted.clear()
    embed(str(folder), str(tiny_encoder), store)
    assert sum(counted) == 2 * SHARD - 3
    assert contents(store) == contents(whole)
    rows = rows_of(folder)
    assert np.array_equal(stored(store, rows), stored(whole, rows))


# Clips that cannot be used


def test_unusable_clips_are_counted_and_listed_and_the_others_kept(
    dataset: Path, tiny_encoder: Path, tmp_path: Path, store: Path
) -> None:
    folder = change_dataset(dataset, tmp_path / "data", with_bad_clips)
    tally = embed(str(folder), str(tiny_encoder), tmp_path / "store")
    assert (tally.clips, len(tally.skipped)) == (10, len(BAD))
    _, manifest = read_manifest(tmp_path / "store")
    assert (manifest["clips"], manifest["skipped"]) == (10, tally.skipped)
    reasons = {item["clip_id"].removeprefix("ravdess/"): item["reason"] for item in tally.skipped}
    assert all(expected in reasons[name] for name, (_, expected) in BAD.items())
    good = rows_of(folder)[:10]
    np.testing.assert_allclose(
        stored(tmp_path / "store", good), stored(store, good), rtol=2e-2, atol=2e-3
    )


def test_what_was_skipped_stays_listed_until_it_is_judged_anew(
    dataset: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    folder, store = tmp_path / "data", tmp_path / "store"
    change_dataset(dataset, folder, with_bad_clips)
    other = [row | {"audio": flac([0] * 2_000)} for row in rows_of(dataset)[:1]]
    add_corpus(folder, "other", other + rows_of(dataset)[1:3])

    def skipped() -> Counter[str]:
        items = read_manifest(store)[1]["skipped"]
        return Counter(item["clip_id"].partition("/")[0] for item in items)

    embed(str(folder), str(tiny_encoder), store, ["ravdess"])
    assert skipped() == {"ravdess": len(BAD)}
    embed(str(folder), str(tiny_encoder), store, ["other"])
    assert skipped() == {"ravdess": len(BAD), "other": 1}
    embed(str(folder), str(tiny_encoder), store)
    assert skipped() == {"ravdess": len(BAD), "other": 1}
    embed(str(dataset), str(tiny_encoder), store)  # where the same clip ids are whole again
    assert skipped() == {"ravdess": len(BAD), "other": 1}  # but "ravdess/noise" is none of them


def test_a_clip_that_was_mended_is_no_longer_listed(
    dataset: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    def break_one(rows: list[Row]) -> list[Row]:
        return [rows[0] | {"audio": None, "sha256": "of nothing"}, *rows[1:3]]

    store = tmp_path / "store"
    embed(str(change_dataset(dataset, tmp_path / "broken", break_one)), str(tiny_encoder), store)
    assert len(read_manifest(store)[1]["skipped"]) == 1
    embed(str(few(dataset, tmp_path / "mended", 3)), str(tiny_encoder), store)
    assert read_manifest(store)[1]["skipped"] == []
    assert stored(store, rows_of(dataset)[:3]).shape == (3, 3, 2, 32)


def test_a_corpus_cannot_name_a_path_outside_the_store(
    dataset: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    def rename(rows: list[Row]) -> list[Row]:
        return [row | {"corpus": "../../out/.hidden"} for row in rows[:2]]

    folder = change_dataset(dataset, tmp_path / "data", rename)
    store = tmp_path / "a" / "store"
    embed(str(folder), str(tiny_encoder), store)
    assert stored(store, rows_of(folder)).shape == (2, 3, 2, 32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "data"]


def test_numbers_that_are_none_are_never_stored(dataset: Path, tmp_path: Path) -> None:
    broken = write_encoder(tmp_path / "broken")
    weights = load_file(broken / WEIGHTS)
    weights["model.encoder.layer_norm.weight"] *= 1e6  # beyond float16
    save_file(weights, broken / WEIGHTS)
    folder = few(dataset, tmp_path / "data", 2)
    with pytest.raises(InputError, match="encoder broken gives numbers that are not finite"):
        embed(str(folder), str(broken), tmp_path / "store")
    assert not any((tmp_path / "store").iterdir())
