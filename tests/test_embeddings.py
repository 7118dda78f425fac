"""The embedding store: whatever is written comes back by clip id, or an error says why not."""

import json
import os
import re
import resource
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_generalize.embeddings import (
    INDEX,
    MANIFEST,
    ClipRow,
    Embeddings,
    StoreKey,
    add_shard,
    held_clips,
    read_embeddings,
    read_manifest,
    skipped_clips,
    writable,
    write_manifest,
)
from ser_generalize.errors import InputError

KEY = StoreKey(
    "tiny", "0" * 64, "short", 0.5, layers=(0, 1, 3), statistics=("mean", "std"), width=4,
    dtype="fp32",
)  # fmt: skip
IDS = ["corpus/a", "corpus/b", "corpus/c"]
HASHES = ["1", "2", "3"]


def numbers(clips: int, key: StoreKey = KEY, seed: int = 0) -> Embeddings:
    """Draw any finite float16, the smallest and the largest among them."""
    bits = np.random.default_rng(seed).integers(0, 2**16, (clips, *key.shape), dtype=np.uint16)
    values = bits.view(np.float16)
    return np.where(np.isfinite(values), values, np.float16(0))


def same(one: Embeddings, other: Embeddings) -> bool:
    return np.array_equal(one.view(np.uint16), other.view(np.uint16))


def clips(ids: Sequence[str], hashes: Sequence[str]) -> list[ClipRow]:
    pairs = zip(ids, hashes, strict=True)
    return [ClipRow(clip_id, audio, "corpus", "CC-BY-4.0", 1.5) for clip_id, audio in pairs]


def filled(store: Path, key: StoreKey = KEY) -> Path:
    add_shard(store, "corpus-1", key, clips(IDS, HASHES), numbers(3, key))
    write_manifest(store, key, [])
    return store


class Shard(NamedTuple):
    ids: list[str]
    hashes: list[str]
    values: Embeddings


@st.composite
def stores(draw: st.DrawFn) -> tuple[StoreKey, list[Shard]]:
    """Draw shards that share clips with one another, some of them of other audio."""
    layers = draw(st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True))
    key = replace(KEY, layers=tuple(sorted(layers)), width=draw(st.integers(1, 9)))
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
            add_shard(store, f"shard-{number}", key, clips(shard.ids, shard.hashes), shard.values)
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
    before = (store / "corpus-1.arrow").read_bytes()
    add_shard(store, "corpus-2", KEY, clips(["corpus/d"], ["4"]), numbers(1, seed=9))
    write_manifest(store, KEY, [])
    assert (store / "corpus-1.arrow").read_bytes() == before
    _, values = read_embeddings(store, ["corpus/d", *IDS], ["4", *HASHES])
    assert same(values, np.concatenate([numbers(1, seed=9), numbers(3)]))
    assert read_manifest(store)[1]["clips"] == 4


def test_the_manifest_keeps_the_key_and_what_was_skipped(tmp_path: Path) -> None:
    skipped = [{"clip_id": "corpus/ü", "reason": "silent"}]
    add_shard(tmp_path, "corpus-1", KEY, clips(IDS, HASHES), numbers(3))
    write_manifest(tmp_path, KEY, skipped)
    key, manifest = read_manifest(tmp_path)
    assert (key, key.encoder) == (KEY, "tiny")
    assert (manifest["clips"], manifest["skipped"]) == (3, skipped)
    assert skipped_clips(tmp_path) == skipped
    assert manifest["corpora"] == {
        "corpus": {"clips": 3, "seconds": 4.5, "licences": ["CC-BY-4.0"]}
    }  # fmt: skip


def test_a_store_whose_embedding_has_not_finished_says_so(tmp_path: Path) -> None:
    add_shard(tmp_path / "store", "corpus-1", KEY, clips(IDS, HASHES), numbers(3))
    with pytest.raises(InputError, match=r"holds no manifest\.json.*has not finished.*run it agai"):
        read_embeddings(tmp_path / "store", IDS, HASHES)
    with pytest.raises(InputError, match="does not exist; make it with `ser-generalize embed`"):
        read_embeddings(tmp_path / "nothing", IDS, HASHES)


@pytest.mark.parametrize(
    "change", [{"revision": "1" * 64}, {"window": "30s"}, {"margin": 1.0}, {"layers": (0, 1, 2)},
               {"statistics": ("functional",)}, {"width": 8}, {"dtype": "bf16"},
               {"degradation": "noise:10"}, {"format": 1}],
)  # fmt: skip
def test_embeddings_of_two_kinds_never_share_a_store(
    change: dict[str, Any], tmp_path: Path
) -> None:
    other = replace(KEY, **change)
    store = filled(tmp_path / "store")
    before = sorted(store.iterdir())
    ((name, value),) = change.items()
    said = (
        rf"of tiny \({name} .*\), not of tiny \({name} {re.escape(str(value)[:40])}.*another folder"
    )
    with pytest.raises(InputError, match=said):
        held_clips(store, other)
    assert sorted(store.iterdir()) == before
    add_shard(store, "corpus-2", other, clips(["corpus/d"], ["4"]), numbers(1, other))
    with pytest.raises(InputError, match="holds embeddings of"):
        held_clips(store, KEY)
    with pytest.raises(InputError, match="holds embeddings of"):
        write_manifest(store, KEY, [])


def test_an_empty_store_of_another_kind_is_no_exception(tmp_path: Path) -> None:
    write_manifest(tmp_path, KEY, [{"clip_id": "corpus/a", "reason": "silent"}])
    with pytest.raises(InputError, match="window 30s"):
        held_clips(tmp_path, replace(KEY, window="30s"))


def test_the_same_weights_under_another_name_are_the_same_encoder(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    named = replace(KEY, encoder="openai/whisper-tiny")  # the folder's twin on the Hub
    assert len(held_clips(store, named)) == 3


@pytest.mark.parametrize("name", ["notes.txt", "data", "model.safetensors"])
def test_a_folder_that_holds_other_things_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir() if name == "data" else (tmp_path / name).write_text("mine")
    with (
        pytest.raises(InputError, match=rf"holds other files \({name}\); give a folder"),
        writable(tmp_path),
    ):
        pass


def foreign_table(path: Path) -> None:
    with pa.ipc.new_file(path, pa.schema({"x": pa.int64()})) as writer:
        writer.write_table(pa.table({"x": [1]}))


def not_arrow(path: Path) -> None:
    path.write_bytes(b"ARROW1 but not really ARROW1")


def cut_short(path: Path) -> None:
    whole = (path.parent / "corpus-1.arrow").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("write", [foreign_table, not_arrow, cut_short])
def test_a_shard_that_is_none_is_named(write: Callable[[Path], None], tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    write(store / "odd.arrow")
    for use in (held_clips, lambda store, key: write_manifest(store, key, [])):
        with pytest.raises(InputError, match=r"odd\.arrow is damaged or no shard"):
            use(store, KEY)


@pytest.mark.parametrize("name", ["corpus-1.arrow", INDEX])
def test_a_flipped_bit_is_noticed_or_harmless(name: str, tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    held, whole = set(zip(IDS, HASHES, strict=True)), (store / name).read_bytes()
    noticed = 0
    for position in range(0, len(whole), 2):  # header, clips, layers, footer
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position // 2 % 8
        (store / name).write_bytes(damaged)
        try:
            _, values = read_embeddings(store, IDS, HASHES)
            assert same(values, numbers(3)), position
            assert held_clips(store, KEY) == held, position
        except InputError as error:
            noticed += str(store) in str(error)
    assert noticed > len(whole) / 6


@pytest.mark.parametrize("name", ["corpus-1.arrow", INDEX])
def test_a_file_that_is_gone_is_named(name: str, tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    (store / name).unlink()
    with pytest.raises(InputError, match=rf"{name} .*No such file.*`ser-generalize embed`"):
        read_embeddings(store, IDS, HASHES)


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
    (store / ".corpus-2.arrow.part").write_bytes(b"PAR1 half a shar")
    assert held_clips(store, KEY) == set(zip(IDS, HASHES, strict=True))
    assert same(read_embeddings(store, IDS, HASHES)[1], numbers(3))
    with writable(store):
        assert not (store / ".corpus-2.arrow.part").exists()


def test_shards_that_a_manifest_does_not_know_yet_change_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    add_shard(store, "corpus-2", KEY, clips(["corpus/d"], ["4"]), numbers(1, seed=9))
    assert same(read_embeddings(store, IDS, HASHES)[1], numbers(3))
    with pytest.raises(InputError, match="lacks 1 of 1"):
        read_embeddings(store, ["corpus/d"], ["4"])


def test_a_kill_between_index_and_manifest_is_told(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    manifest = (store / MANIFEST).read_bytes()
    add_shard(store, "corpus-2", KEY, clips(["corpus/d"], ["4"]), numbers(1, seed=9))
    write_manifest(store, KEY, [])
    (store / MANIFEST).write_bytes(manifest)
    with pytest.raises(
        InputError, match=r"later run was interrupted.*`ser-generalize embed` again"
    ):
        read_embeddings(store, IDS, HASHES)
    write_manifest(store, KEY, [])
    assert len(read_embeddings(store, [*IDS, "corpus/d"], [*HASHES, "4"])[1]) == 4


@pytest.mark.parametrize("layers", [[3], [1, 0], [0, 1, 3], []])
def test_some_layers_are_read_without_the_others(layers: list[int], tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    key, values = read_embeddings(store, IDS[::-1], HASHES[::-1], layers)
    assert key == replace(KEY, layers=tuple(layers))
    assert same(values, numbers(3)[::-1][:, [KEY.layers.index(layer) for layer in layers]])


def test_a_layer_that_was_not_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no layer 2, 9; it holds: 0, 1, 3"):
        read_embeddings(filled(tmp_path / "store"), IDS, HASHES, [0, 2, 9])


def test_plain_load_dataset_reads_a_shard(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    rows = load_dataset("arrow", data_files=str(store / "corpus-1.arrow"), split="train")
    assert (rows["clip_id"][:], rows["licence"][0]) == (IDS, "CC-BY-4.0")
    found = np.array(rows["layer_03"], dtype=np.float16).reshape(3, *KEY.shape[1:])
    assert same(found, numbers(3)[:, 2])


@pytest.mark.parametrize("inside", ["", "below"])
def test_a_file_in_the_place_of_the_store_is_said_before_any_work(
    inside: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(InputError, match=r"is a file; give a folder|cannot be written"),
        writable(tmp_path / "file" / inside),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_one_may_not_write_to_is_said_before_any_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"), writable(tmp_path):
        pass


def test_a_store_is_written_by_one_at_a_time(tmp_path: Path) -> None:
    another = pytest.raises(InputError, match="another `ser-generalize embed` is writing to")
    with writable(tmp_path / "store"), another, writable(tmp_path / "store"):
        pass
    with writable(tmp_path / "store"):
        pass


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the system then refuses to write more
    try:
        with pytest.raises(InputError, match=r"store cannot be written \(.*[Ff]ile too large.*\)"):
            add_shard(tmp_path / "store", "corpus-1", KEY, clips(IDS, HASHES), numbers(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert not any((tmp_path / "store").iterdir())


def test_a_store_has_no_room_for_two_answers(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="twice"):
        read_embeddings(filled(tmp_path / "store"), ["corpus/a", "corpus/a"], ["1", "1"])
