"""`embed` from a dataset folder to a store: once, in spite of kills and bad clips, in one line."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_dataset import BAD, Row, add_corpus, change_dataset, few, flac, rows_of, with_bad_clips
from make_encoder import WEIGHTS, write_encoder
from safetensors.torch import load_file, save_file

from ser_generalize import engine
from ser_generalize.audio import decode_clip, encode_flac
from ser_generalize.embed import embed
from ser_generalize.embeddings import read_embeddings, read_manifest
from ser_generalize.encoder import Encoder, Settings, load_encoder
from ser_generalize.errors import InputError

FP32 = Settings(dtype="fp32")


@dataclass
class Counting:
    """An encoder that notes how many seconds each clip of each of its batches has."""

    loaded: Encoder
    batches: list[list[float]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loaded, name)

    def embed(self, waves: Sequence[Any]) -> Any:
        self.batches.append([len(wave) / 16_000 for wave in waves])
        return self.loaded.embed(waves)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The seconds of every clip of every batch that goes through the encoder from here on."""
    noted: list[list[float]] = []

    def load(*arguments: Any) -> Any:
        return Counting(load_encoder(*arguments), noted)

    monkeypatch.setattr(engine, "load_encoder", load)
    return noted


def count(batches: Sequence[Sequence[float]]) -> int:
    return sum(map(len, batches))


def stored(store: Path, rows: Sequence[Row]) -> Any:
    return read_embeddings(store, [r["clip_id"] for r in rows], [r["sha256"] for r in rows])[1]


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store, hidden ones too, but for the lock."""
    return {path.name: path.read_bytes() for path in store.iterdir() if path.name != ".lock"}


def test_every_clip_is_in_the_store_as_the_encoder_sees_it_alone(
    dataset: Path, tiny_encoder: Path, store: Path
) -> None:
    rows, loaded = rows_of(dataset), load_encoder(str(tiny_encoder), FP32)
    key, manifest = read_manifest(store)
    assert (key.encoder, key.revision) == ("tiny-random", loaded.revision)
    assert (key.window, manifest["clips"], manifest["skipped"]) == ("short", len(rows), [])
    found = stored(store, rows)
    assert found.shape == (120, 3, 2, 32) and found.dtype == np.float16
    for row, value in list(zip(rows, found, strict=True))[::17]:
        alone = loaded.embed([decode_clip(row["audio"]["bytes"])])[0]
        np.testing.assert_allclose(value, alone, atol=2e-3 * np.abs(alone).max())


def test_the_30_s_window_is_another_store(
    dataset: Path, tiny_encoder: Path, store: Path, tmp_path: Path
) -> None:
    folder = few(dataset, tmp_path / "data", 1)
    stock = Settings("30s", dtype="fp32")
    embed(str(folder), str(tiny_encoder), tmp_path / "store", settings=stock)
    rows, loaded = rows_of(folder), load_encoder(str(tiny_encoder), stock)
    for row, value in zip(rows, stored(tmp_path / "store", rows), strict=True):
        alone = loaded.embed([decode_clip(row["audio"]["bytes"])])[0]
        np.testing.assert_allclose(value, alone, atol=2e-3 * np.abs(alone).max())
    with pytest.raises(InputError, match=r"window 30s.*not of tiny-random.*window short"):
        embed(str(folder), str(tiny_encoder), tmp_path / "store", settings=FP32)


def test_a_second_run_does_nothing(
    dataset: Path, tiny_encoder: Path, tmp_path: Path, batches: list[list[float]]
) -> None:
    folder = few(dataset, tmp_path / "data", 5)
    first = embed(str(folder), str(tiny_encoder), tmp_path / "store")
    before = contents(tmp_path / "store")
    assert (first.clips, count(batches)) == (5, 5)
    again = embed(str(folder), str(tiny_encoder), tmp_path / "store")
    assert (again.clips, count(batches)) == (0, 5)
    assert contents(tmp_path / "store") == before


def test_more_clips_and_changed_clips_are_added_and_no_others(
    dataset: Path, tiny_encoder: Path, tmp_path: Path, batches: list[list[float]]
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
    batches.clear()
    embed(str(folder), str(tiny_encoder), store)
    assert count(batches) == 4  # three new ones and the one that changed
    after = contents(store)
    assert all(after[name] == data for name, data in shards.items() if name.endswith(".arrow"))
    values = stored(store, rows_of(folder))
    assert not np.array_equal(values[0], stored(store, rows[:1])[0])  # both are held
    assert np.array_equal(values[1:5], stored(store, rows[1:5]))


def test_a_batch_holds_no_more_than_the_encoder_says_unless_one_clip_is_longer(
    dataset: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    batches: list[list[float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(type(load_encoder(str(tiny_encoder))), "capacity", 30 * 16_000)

    def lengthen(rows: list[Row]) -> list[Row]:
        wave = np.tile(decode_clip(rows[0]["audio"]["bytes"]), 20)[: 31 * 16_000]
        flac = encode_flac((wave * 32768).astype(np.int16))
        return [rows[0] | {"audio": {"bytes": flac, "path": None}, "duration": 31.0}, *rows[1:40]]

    folder = change_dataset(dataset, tmp_path / "data", lengthen)
    embed(str(folder), str(tiny_encoder), tmp_path / "store")
    lengths = sorted(batches, key=max)
    assert lengths[-1] == [31.0] and count(batches) == 40
    assert all(sum(batch) <= 30 for batch in lengths[:-1])
    assert max(map(len, batches)) > 4


# Clips that cannot be used


def test_unusable_clips_are_counted_and_listed_and_the_others_kept(
    dataset: Path, tiny_encoder: Path, tmp_path: Path, store: Path
) -> None:
    folder = change_dataset(dataset, tmp_path / "data", with_bad_clips)
    tally = embed(str(folder), str(tiny_encoder), tmp_path / "store", settings=FP32)
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
    assert not contents(tmp_path / "store")
