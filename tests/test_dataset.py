"""Reading datasets: what comes back is what the folder holds now, or one line says why not."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Audio, Value
from make_dataset import Row, add_corpus, change_dataset, rows_of, shard_of, write_rows

from ser_generalize.audio import decode_clip, pcm_sha256
from ser_generalize.dataset import fingerprint, load_clips
from ser_generalize.errors import InputError
from ser_generalize.schema import clip_features


def first(count: int) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: rows[:count]


def test_clips_come_back_as_they_were_built(dataset: Path) -> None:
    clips = load_clips(str(dataset))
    assert clips.features == clip_features() | {"audio": Audio(decode=False)}
    rows = rows_of(dataset)
    assert len(rows) == len(clips) == 120
    assert clips.to_list() == rows  # nulls, class integers, votes and bytes
    samples = decode_clip(clips[7]["audio"]["bytes"])
    assert pcm_sha256((samples * 32768).astype("int16")) == clips[7]["sha256"]


def test_a_dataset_rebuilt_in_place_is_read_anew(dataset: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(dataset, tmp_path / "data")
    before = load_clips(str(folder))
    write_rows(shard_of(folder), [row | {"emotion": 0} for row in rows_of(folder)[:9]])
    after = load_clips(str(folder))
    assert after["clip_id"][:] == before["clip_id"][:9]
    assert set(after["emotion"]) == {0} != set(before["emotion"])


def test_two_folders_of_one_name_are_two_datasets(dataset: Path, tmp_path: Path) -> None:
    folders = [
        change_dataset(dataset, tmp_path / str(count) / "data", first(count)) for count in (3, 5)
    ]
    assert [len(load_clips(str(folder))) for folder in folders] == [3, 5]
    assert [len(load_clips(str(folder))) for folder in folders] == [3, 5]  # from the cache


def test_corpora_are_chosen_by_name_each_once(dataset: Path, tmp_path: Path) -> None:
    folder = change_dataset(dataset, tmp_path / "data", first(4))
    add_corpus(folder, "other", rows_of(dataset)[:3])
    assert len(load_clips(str(folder))) == 7
    chosen = load_clips(str(folder), ["other", "other"])
    assert chosen["corpus"][:] == ["other"] * 3
    assert set(load_clips(str(folder), ["other", "ravdess"])["corpus"]) == {"other", "ravdess"}
    with pytest.raises(InputError, match=r"has no corpus emodb, esd; it holds: other, ravdess"):
        load_clips(str(folder), ["emodb", "ravdess", "esd"])


@pytest.mark.parametrize("name", ["default", "folds"])
def test_what_groups_corpora_is_none(name: str, dataset: Path) -> None:
    with pytest.raises(InputError, match=f"has no corpus {name}; it holds: ravdess"):
        load_clips(str(dataset), [name])


def spoil_nothing_there(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def spoil_only_text(folder: Path) -> None:
    spoil_nothing_there(folder)
    (folder / "notes.txt").write_text("groceries")


def spoil_card_gone(folder: Path) -> None:
    (folder / "README.md").unlink()


def spoil_card_broken(folder: Path) -> None:
    (folder / "README.md").write_text("---\nconfigs: [\n---\n")


def spoil_script(folder: Path) -> None:
    (folder / f"{folder.name}.py").write_text("raise SystemExit('a loading script ran')")


def spoil_parquet(folder: Path, keep: float) -> None:
    file = shard_of(folder)
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (spoil_nothing_there, "no dataset that `datasets` can load.*make one with `python -m"),
    "text": (spoil_only_text, "no config for a corpus; give a folder made by"),
    "card gone": (spoil_card_gone, "no config for a corpus; give a folder made by"),
    "card broken": (spoil_card_broken, "no dataset that `datasets` can load"),
    "script": (spoil_script, "scripts are no longer supported"),
    "parquet cut": (partial(spoil_parquet, keep=0.5), "no dataset that `datasets` can load"),
    "parquet empty": (partial(spoil_parquet, keep=0), "no dataset that `datasets` can load"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_folder_that_is_no_dataset_is_refused_without_further_noise(
    name: str, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, reason = SPOILED[name]
    folder = shutil.copytree(dataset, tmp_path / "spoiled")
    spoil(folder)
    with pytest.raises(InputError, match=f"(?s)spoiled .*{reason}"):
        load_clips(str(folder))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["org/unknown", "unknown", "/nowhere/data", "a/b/c", ""])
def test_a_dataset_that_is_nowhere_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=r"`python -m dataset_scripts\.build") as refused:
        load_clips(name)
    assert name in str(refused.value)


def test_a_file_is_no_dataset(dataset: Path) -> None:
    with pytest.raises(InputError, match="is neither a folder nor a Hub id"):
        load_clips(str(shard_of(dataset)))


def with_schema(folder: Path, edit: Callable[[pa.Table], pa.Table]) -> Path:
    pq.write_table(edit(pq.read_table(shard_of(folder))), shard_of(folder))
    return folder


def without_licence(table: pa.Table) -> pa.Table:
    return table.drop_columns("licence").replace_schema_metadata(None)


def with_other_classes(table: pa.Table) -> pa.Table:
    """Swap two names of the list: every integer is valid, and means something else."""
    (meta,) = table.schema.metadata.values()
    swapped = meta.replace(b'"neutral", "calm"', b'"calm", "neutral"', 1)
    assert swapped != meta
    return table.replace_schema_metadata({b"huggingface": swapped})


def with_ages_in_words(table: pa.Table) -> pa.Table:
    index = table.column_names.index("age")
    words = pa.array(["old"] * len(table))
    return table.set_column(index, "age", words).replace_schema_metadata(None)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (without_licence, "config ravdess: the columns licence are missing"),
        (with_other_classes, "config ravdess: emotion have another type or other classes"),
        (with_ages_in_words, "config ravdess: .*age.* have another type"),
    ],
)
def test_columns_of_another_kind_are_refused_by_name(
    edit: Callable[[pa.Table], pa.Table], reason: str, dataset: Path, tmp_path: Path
) -> None:
    folder = with_schema(shutil.copytree(dataset, tmp_path / "data"), edit)
    with pytest.raises(InputError, match=reason):
        load_clips(str(folder))


@pytest.mark.parametrize("column", ["clip_id", "sha256", "duration"])
def test_what_clips_are_found_by_may_not_be_null(
    column: str, dataset: Path, tmp_path: Path
) -> None:
    def forget(rows: list[Row]) -> list[Row]:
        return [rows[0] | {column: None}, *rows[1:4]]

    folder = change_dataset(dataset, tmp_path / "data", forget)
    with pytest.raises(InputError, match=f"config ravdess: {column} may not be null"):
        load_clips(str(folder))


def test_a_clip_may_be_there_once(dataset: Path, tmp_path: Path) -> None:
    folder = change_dataset(dataset, tmp_path / "data", lambda rows: [*rows[:4], rows[2]])
    with pytest.raises(InputError, match="holds clips more than once: ravdess/"):
        load_clips(str(folder))


def test_columns_of_ones_own_are_left_out(dataset: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(dataset, tmp_path / "data")
    rated = [row | {"my_rating": 5} for row in rows_of(folder)]
    write_rows(shard_of(folder), rated, clip_features() | {"my_rating": Value("int64")})
    assert load_clips(str(folder)).column_names == list(clip_features())


def test_the_fingerprint_is_of_what_a_run_hears_and_is_scored_on(dataset: Path) -> None:
    clips = load_clips(str(dataset))
    identity = fingerprint(clips)
    assert fingerprint(clips.shuffle(seed=1)) == identity
    assert fingerprint(clips.select(range(len(clips) - 1))) != identity
    for column, other in {"emotion": 3, "speaker": None, "sha256": "0", "clip_id": "x"}.items():
        changed = clips.remove_columns("audio").map(
            lambda row, index, column=column, other=other: {
                column: other if index == 5 else row[column]
            },
            with_indices=True,
        )
        assert fingerprint(changed) != identity, column
