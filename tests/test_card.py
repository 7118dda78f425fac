"""The dataset card: metadata the Hub takes, figures that are right, snippets that run."""

import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import load_dataset
from huggingface_hub import DatasetCard
from make_trees import CALM, EMODB, HAPPY, RAVDESS, TWO_ACTORS, raw, rows

from dataset_scripts.build import build
from dataset_scripts.card import render, summaries, summarise
from dataset_scripts.corpus import corpus_names, load_script
from ser_generalize.errors import InputError
from ser_generalize.labels import EMOTIONS, FIVE
from ser_generalize.schema import clip_features


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with two corpora, one of which had a bad file."""
    base = tmp_path_factory.mktemp("two")
    (base / "ravdess").mkdir()
    (base / "ravdess" / "03-01-06-01-01-01-03.wav").write_bytes(b"")
    build("ravdess", raw(base / "ravdess", TWO_ACTORS), base / "data")
    build("emodb", raw(base / "emodb", EMODB, seed=500), base / "data")
    return base / "data"


def sections(card: str) -> tuple[str, str]:
    """Return the YAML and the Markdown."""
    _, yaml, markdown = card.split("---\n", 2)
    return yaml, markdown


def tables(markdown: str) -> list[list[list[str]]]:
    """Return the cells of every table, without the header and the line below it."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", markdown, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]
        for block in blocks
    ]


def snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


@pytest.fixture(scope="module")
def card(built: Path) -> str:
    return (built / "README.md").read_text(encoding="utf-8")


def test_the_metadata_is_a_card_of_the_hub(built: Path) -> None:
    data = DatasetCard.load(built / "README.md").data.to_dict()
    assert data["task_categories"] == ["audio-classification"]
    assert data["language"] == ["de", "en"]
    assert data["license"] == ["cc-by-nc-sa-4.0", "other"]
    assert data["size_categories"] == ["n<1K"]
    for config in data["configs"]:
        patterns = config["data_files"]
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            assert list(built.glob(pattern))


def test_the_card_counts_what_is_there(built: Path, card: str) -> None:
    found = {corpus: rows(built, corpus) for corpus in ("emodb", "ravdess")}
    overview, *per_corpus = tables(card)
    assert [line[1:5] for line in overview] == [
        [f"`{corpus}`", str(len(clips)), str(len({clip["speaker"] for clip in clips})),
         f"{sum(clip['duration'] for clip in clips) / 3_600:.2f}"]
        for corpus, clips in found.items()
    ]  # fmt: skip
    for (corpus, clips), table in zip(found.items(), per_corpus[:2], strict=True):
        counts = Counter(clip["native_label"] for clip in clips)
        sheet = load_script(corpus)[0]
        assert [line[:4] for line in table] == [
            [native, emotion, str(counts[native]), str(sheet.expected_clips[native])]
            for native, emotion in sheet.labels.items()
        ]
    assert "\n67 clips of 2 corpora" in card


def test_the_card_counts_what_is_inside_the_label_sets(built: Path, card: str) -> None:
    _, emodb, ravdess, union, *_ = tables(card)
    inside = {line[0]: line[4:] for line in (*emodb, *ravdess)}
    assert inside["anger"] == ["angry, 1", "angry, 1"]
    assert inside["surprised"] == ["outside", "surprised, 8"]
    assert inside["calm"] == ["outside", "outside"]
    clips = [row for corpus in ("emodb", "ravdess") for row in rows(built, corpus)]
    found = Counter(row["label5"] for row in clips)
    four = sum(row["label4"] is not None for row in clips)
    counts = [*(found[label] for label in range(len(FIVE))), four, len(clips) - found[None]]
    assert union[-1] == ["all", *map(str, counts)]


@pytest.mark.parametrize("corpus", ["emodb", "ravdess"])
def test_the_card_has_licence_citation_and_faults_of_every_corpus(card: str, corpus: str) -> None:
    sheet = load_script(corpus)[0]
    assert f"[{sheet.licence}]({sheet.licence_url}) | {sheet.redistribution} |" in card
    assert f"({sheet.home})" in card
    assert sheet.citation in card
    assert all(f"- {fault}\n" in card for fault in sheet.known_faults)


def test_the_card_explains_every_column(card: str) -> None:
    described = [line[0].strip("`") for table in tables(card) for line in table if len(line) == 2]
    assert described == list(clip_features())


def test_the_card_names_the_corpora_that_are_not_there(built: Path) -> None:
    sheet = load_script("emodb")[0]
    line = f"| [{sheet.title}]({sheet.home}) | `emodb` | [{sheet.licence}]({sheet.licence_url}) | "
    line += f"{sheet.redistribution} | {sheet.access} |\n"
    held = summaries(built)
    assert line in render([held["ravdess"]])
    assert line not in render([held["ravdess"], held["emodb"]])


def test_a_disputed_label_says_what_it_counts_as_and_what_else_it_could(built: Path) -> None:
    held = summaries(built)
    assert (
        "- Disputed: calm counts as calm, outside the label sets. In the alternative "
        "`ravdess-calm-is-neutral` it counts as neutral."
    ) in render([held["ravdess"]])
    assert (
        "- Disputed: excited counts as happy. In the alternative `iemocap-excited-apart` it counts "
        "as excited, outside the label sets."
    ) in render([held["ravdess"] | {"name": "iemocap"}])


def test_bursts_votes_and_clips_without_an_agreed_emotion_are_said(tmp_path: Path) -> None:
    ravdess, _ = load_script("ravdess")
    corpus = replace(ravdess, labels={"happy": "happy", "xxx": None}, expected_clips={"happy": 9})
    row = {
        "native_label": "happy",
        "label5": 1,
        "speaker": "a",
        "duration": 1.0,
        "votes": [],
        "vocalisation": "speech",
    }
    laugh = row | {"label5": None, "vocalisation": "burst"}
    unclear = row | {"native_label": "xxx", "label5": None, "votes": [{"label": "sad", "count": 1}]}
    card = render([summarise(corpus, [row, laugh, unclear], 0) | {"folds": None}])
    assert "| happy | happy | 2 | 9 | happy, 1 | happy, 1 |\n" in card
    assert "| xxx | none agreed on | 1 | 0 | outside | outside |\n" in card
    assert "- 1 clip is a burst (" in card and "- 1 clip has `votes` of listeners." in card


def test_a_gated_card_asks_for_the_terms_of_every_corpus(built: Path) -> None:
    held = list(summaries(built).values())
    yaml_of = {gated: yaml.safe_load(sections(render(held, "org/data", gated))[0])
               for gated in (True, False)}  # fmt: skip
    for corpus in held:
        assert (
            f"[{corpus['title']}]({corpus['licence_url']})" in yaml_of[True]["extra_gated_prompt"]
        )
        field = f"I have read and accept the terms of {corpus['title']}"
        assert yaml_of[True]["extra_gated_fields"][field] == "checkbox"
    assert not any(name.startswith("extra_gated") for name in yaml_of[False])


def test_a_published_card_loads_itself_by_its_id(built: Path) -> None:
    card = render(list(summaries(built).values()), "org/data")
    assert "PATH_OR_ID" not in card
    assert all('load_dataset("org/data", "' in code or "clips.filter" in code
               for code in snippets(card))  # fmt: skip


CARDS: dict[str, Callable[[dict[str, dict[str, Any]]], str]] = {
    "two corpora": lambda held: render(list(held.values())),
    "one, with folds": lambda held: render([held["ravdess"]], "org/data"),
    "one, without": lambda held: render([held["emodb"]], "org/data-gated", gated=True),
    "bursts and votes": lambda held: render([held["ravdess"] | {"bursts": 3, "voted": 2}]),
    "the whole registry": lambda _: render(
        [summarise(load_script(name)[0], [], 0) | {"folds": None} for name in corpus_names()]
    ),
    "nothing to say": lambda held: render(
        [held["emodb"] | {"known_faults": [], "skipped": 0}], "org/data"
    ),
}


@pytest.mark.parametrize("kind", CARDS)
def test_the_card_is_clean_markdown(kind: str, built: Path) -> None:
    card = CARDS[kind](summaries(built))
    yaml, markdown = sections(card)
    assert "\n\n" not in yaml
    assert not re.search(r"\n\n\n|[ \t]\n", card)
    assert card.endswith("```\n")
    assert card.count("```") % 2 == 0
    assert not re.search(r"^- .*\n\n- ", card, re.MULTILINE), "a list torn by a blank line"
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1
        assert len(block.splitlines()) > 2, "a table without a row, or torn by a blank line"
    for above, line in pairwise(
        re.sub("```\\w+\n.*?```", "```", markdown, flags=re.DOTALL).splitlines()
    ):
        start = next((mark for mark in ("#", "```", "|", "- ") if line.startswith(mark)), None)
        assert not start or not above or above.startswith(start), f"{line!r} follows {above!r}"


def test_a_summary_of_another_version_is_said_and_can_be_built_anew(
    built: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(built, tmp_path / "data")
    (data / "ravdess" / "summary.json").write_text('{"name": "ravdess"}')
    tree = raw(tmp_path / "emodb", EMODB, seed=500)
    with pytest.raises(InputError, match=r"ravdess/summary.json is not of this version.*remove"):
        build("emodb", tree, data)
    build("ravdess", raw(tmp_path / "ravdess", RAVDESS), data)
    build("emodb", tree, data)


def test_skipped_files_are_on_the_card(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", RAVDESS)
    lines = []
    for file in (CALM, HAPPY):
        (source / file).write_bytes(b"")
        build("ravdess", source, tmp_path / "data")
        card = (tmp_path / "data" / "README.md").read_text()
        lines += [line for line in card.splitlines() if "skipped.tsv" in line]
    assert [line[:26] for line in lines] == [
        "- 1 file was left out: `ra",
        "- 2 files were left out: `",
    ]


def test_what_the_card_tells_users_to_run_runs(built: Path, card: str) -> None:
    with_soundfile, with_ffmpeg, streaming, by_speaker, on_folds = snippets(card)
    scope: dict[str, Any] = {}
    exec(with_soundfile.replace("PATH_OR_ID", str(built)), scope)
    first = rows(built, "emodb")[0]
    assert scope["rate"] == 16_000
    assert len(scope["samples"]) / 16_000 == first["duration"]
    assert scope["emotion"] == EMOTIONS[first["emotion"]]
    exec(by_speaker, scope)
    assert set(scope["test"]["speaker"]) == {first["speaker"]}
    assert set(scope["training"]["speaker"]) == {"emodb:08", "emodb:16"}
    plain: dict[str, Any] = {}
    exec(with_ffmpeg.replace("PATH_OR_ID", str(built)), plain)
    assert plain["clips"].features == clip_features()
    exec(streaming.replace("PATH_OR_ID", str(built)), plain)
    assert plain["first"]["audio"]["bytes"] == first["audio"]["bytes"]
    exec(on_folds.replace("PATH_OR_ID", str(built)), plain)
    tested = set(plain["test"]["speaker"])  # of the last fold
    assert tested == {plain["fold"]} and tested < {clip["speaker"] for clip in rows(built, "emodb")}
    assert len(plain["training"]) and tested.isdisjoint(plain["training"]["speaker"])
    assert not {None} & {*plain["test"]["label4"], *plain["training"]["label4"]}


def test_plain_datasets_never_serves_another_folder_or_an_older_build(tmp_path: Path) -> None:
    """`datasets` caches a folder under its last name and its card's YAML."""

    def loaded(folder: Path) -> set[str]:
        return {
            recording
            for config in ("ravdess", "default")
            for recording in load_dataset(str(folder), config, split="train")["sha256"]
        }

    raws = [raw(tmp_path / f"raw{seed}", RAVDESS, seed=seed) for seed in (100, 200, 300)]
    first, second = tmp_path / "a" / "data", tmp_path / "b" / "data"
    build("ravdess", raws[0], first)
    build("ravdess", raws[1], second)
    assert loaded(first).isdisjoint(loaded(second))
    before = loaded(first)
    build("ravdess", raws[2], first)
    assert loaded(first).isdisjoint(before)
