"""The embedding store: whatever is written comes back by clip id, or an error says why not."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_generalize.embeddings import (
    MANIFEST,
    Embeddings,
    StoreKey,
    held_clips,
    open_store,
    read_embeddings,
    read_manifest,
    write_manifest,
    write_shard,
)
from ser_generalize.errors import InputError

KEY = StoreKey("tiny", "0" * 64, "short", layers=3, width=4)
IDS = ["corpus/a", "corpus/b", "corpus/c"]
HASHES = ["1", "2", "3"]


def numbers(clips: int, key: StoreKey = KEY, seed: int = 0) -> Embeddings:
    """Draw any finite float16, the smallest and the largest among them."""
    bits = np.random.default_rng(seed).integers(0, 2**16, (clips, *key.shape), dtype=np.uint16)
    values = bits.view(np.float16)
    return np.where(np.isfinite(values), values, np.float16(0))


def same(one: Embeddings, other: Embeddings) -> bool:
    return np.array_equal(one.view(np.uint16), other.view(np.uint16))


def filled(store: Path, key: StoreKey = KEY) -> Path:
    write_shard(store, "corpus-1", key, IDS, HASHES, numbers(3, key))
    write_manifest(store, key, [])
    return store


class Shard(NamedTuple):
    ids: list[str]
    hashes: list[str]
    values: Embeddings


@st.composite
def stores(draw: st.DrawFn) -> tuple[StoreKey, list[Shard]]:
    """Draw shards that share clips with one another, some of them of other audio."""
    layers, width = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    key = replace(KEY, layers=layers, width=width)
    ids = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True))
    audio = st.sampled_from(["new", "old"])
    shards = []
    for members in draw(st.lists(st.lists(st.sampled_from(ids), unique=True), max_size=4)):
        hashes = [draw(audio) for _ in members]
        # What a clip's audio gives is always the same, in whatever shard.
        values = [numbers(1, key, ids.index(i) + 100 * (h == "old"))
                  for i, h in zip(members, hashes, strict=True)]  # fmt: skip
        if members:
            shards.append(Shard(members, hashes, np.concatenate(values)))
    return key, shards


@settings(max_examples=80, deadline=None)
@given(drawn=stores(), data=st.data())
def test_rows_come_back_by_clip_id_whatever_shard_and_order_they_are_in(
    drawn: tuple[StoreKey, list[Shard]], data: st.DataObject
) -> None:
    key, shards = drawn
    rows = {
        pair: value
        for shard in shards
        for *pair_, value in zip(*shard, strict=True)
        for pair in [tuple(pair_)]
    }
    with TemporaryDirectory() as folder:
        store = Path(folder)
        for number, shard in enumerate(shards):
            write_shard(store, f"shard-{number}", key, *shard)
        write_manifest(store, key, [])
        assert held_clips(store, key) == set(rows)
        new = [clip_id for clip_id, audio in rows if audio == "new"]
        wanted = data.draw(st.permutations(new))[: data.draw(st.integers(0, len(new)))]
        found_key, found = read_embeddings(store, wanted, ["new"] * len(wanted))
        assert found_key == key and found.shape == (len(wanted), *key.shape)
        for clip_id, value in zip(wanted, found, strict=True):
            assert same(value, rows[clip_id, "new"])
        lacking = [clip_id for clip_id, _ in rows if clip_id not in new]
        if lacking:  # held for other audio only
            with pytest.raises(InputError, match=f"lacks {len(lacking)} of"):
                read_embeddings(store, [*new, *lacking], ["new"] * (len(new) + len(lacking)))


def test_a_clip_whose_audio_changed_is_refused_by_name(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    with pytest.raises(InputError, match=r"lacks 1 of 3 .*corpus/b.*`ser-generalize embed`"):
        read_embeddings(store, IDS, ["1", "changed", "3"])


def test_a_clip_that_was_never_embedded_is_refused_by_name(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    with pytest.raises(InputError, match=r"lacks 1 of 4 .*corpus/z"):
        read_embeddings(store, [*IDS, "corpus/z"], [*HASHES, "1"])


def test_more_clips_leave_the_old_shards_alone(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    before = (store / "corpus-1.parquet").read_bytes()
    write_shard(store, "corpus-2", KEY, ["corpus/d"], ["4"], numbers(1, seed=9))
    write_manifest(store, KEY, [])
    assert (store / "corpus-1.parquet").read_bytes() == before
    _, values = read_embeddings(store, ["corpus/d", *IDS], ["4", *HASHES])
    assert same(values, np.concatenate([numbers(1, seed=9), numbers(3)]))
    assert read_manifest(store)[1]["clips"] == 4


def test_the_manifest_keeps_the_key_and_what_was_skipped(tmp_path: Path) -> None:
    skipped = [{"clip_id": "corpus/ü", "reason": "silent"}]
    write_shard(tmp_path, "corpus-1", KEY, IDS, HASHES, numbers(3))
    write_manifest(tmp_path, KEY, skipped)
    key, manifest = read_manifest(tmp_path)
    assert (key, key.encoder) == (KEY, "tiny")
    assert (manifest["clips"], manifest["skipped"]) == (3, skipped)
    assert open_store(tmp_path, KEY) == (set(zip(IDS, HASHES, strict=True)), skipped)


def test_a_store_whose_embedding_has_not_finished_says_so(tmp_path: Path) -> None:
    write_shard(tmp_path / "store", "corpus-1", KEY, IDS, HASHES, numbers(3))
    with pytest.raises(InputError, match=r"holds no manifest\.json.*has not finished.*run it agai"):
        read_embeddings(tmp_path / "store", IDS, HASHES)
    with pytest.raises(InputError, match="does not exist; make it with `ser-generalize embed`"):
        read_embeddings(tmp_path / "nothing", IDS, HASHES)


@pytest.mark.parametrize(
    "change", [{"revision": "1" * 64}, {"window": "30s"}, {"layers": 4}, {"width": 8},
               {"format": 2}],
)  # fmt: skip
def test_embeddings_of_two_kinds_never_share_a_store(
    change: dict[str, Any], tmp_path: Path
) -> None:
    other = replace(KEY, **change)
    store = filled(tmp_path / "store")
    before = sorted(store.iterdir())
    with pytest.raises(InputError, match=r"holds embeddings of tiny .*give another folder"):
        open_store(store, other)
    assert sorted(store.iterdir()) == before
    write_shard(store, "corpus-2", other, ["corpus/d"], ["4"], numbers(1, other))
    with pytest.raises(InputError, match="holds embeddings of"):  # even for clips not in it
        read_embeddings(store, IDS, HASHES)


def test_an_empty_store_of_another_kind_is_no_exception(tmp_path: Path) -> None:
    write_manifest(tmp_path, KEY, [{"clip_id": "corpus/a", "reason": "silent"}])
    with pytest.raises(InputError, match="window 30s"):
        open_store(tmp_path, replace(KEY, window="30s"))


def test_the_same_weights_under_another_name_are_the_same_encoder(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    named = replace(KEY, encoder="openai/whisper-tiny")  # the folder's twin on the Hub
    assert len(open_store(store, named)[0]) == 3


@pytest.mark.parametrize("name", ["notes.txt", "data", "model.safetensors"])
def test_a_folder_that_holds_other_things_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir() if name == "data" else (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=rf"holds other files \({name}\); give a folder"):
        open_store(tmp_path, KEY)


def foreign_table(path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), path)


def not_parquet(path: Path) -> None:
    path.write_bytes(b"PAR1 but not really PAR1")


def cut_short(path: Path) -> None:
    whole = (path.parent / "corpus-1.parquet").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("write", [foreign_table, not_parquet, cut_short])
def test_a_shard_that_is_none_is_named(write: Callable[[Path], None], tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    write(store / "odd.parquet")
    for use in (lambda: open_store(store, KEY), lambda: read_embeddings(store, IDS, HASHES)):
        with pytest.raises(InputError, match=r"odd\.parquet is damaged or no shard"):
            use()


def test_a_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    shard = store / "corpus-1.parquet"
    whole = shard.read_bytes()
    noticed = 0
    for position in range(0, len(whole), 2):  # header, pages, footer
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position // 2 % 8
        shard.write_bytes(damaged)
        try:
            _, values = read_embeddings(store, IDS, HASHES)
            assert same(values, numbers(3)), position
        except InputError as error:
            noticed += str(store) in str(error)
    assert noticed > len(whole) / 6


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"x"', "{}", json.dumps({"encoder": "tiny"}), "\ud800"],
)
def test_a_manifest_of_another_version_is_refused(text: str, tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    (store / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"manifest\.json is not a manifest of this version"):
        read_embeddings(store, IDS, HASHES)


def test_what_a_killed_run_was_writing_is_not_part_of_the_store(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    (store / ".corpus-2.parquet.part").write_bytes(b"PAR1 half a shar")
    assert open_store(store, KEY)[0] == set(zip(IDS, HASHES, strict=True))
    assert same(read_embeddings(store, IDS, HASHES)[1], numbers(3))


@pytest.mark.parametrize("inside", ["", "below"])
def test_a_file_in_the_place_of_the_store_is_said_before_any_work(
    inside: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"is a file; give a folder|cannot be written"):
        open_store(tmp_path / "file" / inside, KEY)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_one_may_not_write_to_is_said_before_any_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        open_store(tmp_path, KEY)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", no_space)
    with pytest.raises(InputError, match=r"store cannot be written \(No space left on device\)"):
        write_shard(tmp_path / "store", "corpus-1", KEY, IDS, HASHES, numbers(3))
    assert not any((tmp_path / "store").iterdir())


def test_a_store_has_no_room_for_two_answers(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="twice"):
        read_embeddings(filled(tmp_path / "store"), ["corpus/a", "corpus/a"], ["1", "1"])
