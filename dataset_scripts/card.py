"""The dataset card: what it says of every corpus built, read back from beside the shards."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from dataset_scripts.corpus import Corpus, corpus_names, load_script
from ser_generalize import __version__
from ser_generalize.errors import InputError, listing
from ser_generalize.hub import hub_licence, render_card
from ser_generalize.labels import BURSTS_COUNT, CHOICES, FIVE, FOUR, in_label_set

SUMMARY_FILE = "summary.json"
SKIPPED_FILE = "skipped.tsv"
FOLDS = "folds"  # the config, and its folder with a file for every corpus
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
PLACEHOLDER = "PATH_OR_ID"  # what the card of a folder says, for its reader to replace

Summary = dict[str, Any]


def summarise(corpus: Corpus, rows: Sequence[Mapping[str, Any]], skipped: int) -> Summary:
    """Return what the card says of one built corpus: its data sheet and what was found."""
    return asdict(corpus) | {
        "labels": _label_counts(corpus, rows),
        "clips": len(rows),
        "speakers": len({row["speaker"] for row in rows if row["speaker"]}),
        "hours": sum(row["duration"] for row in rows) / 3600,
        "bursts": sum(row["vocalisation"] == "burst" for row in rows),
        "voted": sum(bool(row["votes"]) for row in rows),
        "skipped": skipped,
        "contents": _digest(rows),
    }


def _label_counts(corpus: Corpus, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return, for every native label, its clips, and what of them counts as which of the five."""
    found = Counter(row["native_label"] for row in rows)
    counted = Counter(row["native_label"] for row in rows if row["label5"] is not None)
    return [
        {
            "native": native,
            "emotion": emotion,
            "clips": found[native],
            "expected": corpus.expected_clips.get(native, 0),
            "counts_as": in_label_set(corpus.name, emotion, "speech", FIVE),
            "counted": counted[native],
        }
        for native, emotion in corpus.labels.items()
    ]


def _digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the identity of what a corpus's rows say.

    It stands in the card's YAML, because `datasets` caches a folder under its last name and that
    YAML alone: it would hand out what another `data`, or this one before a rebuild, held.
    """
    said = [{name: value for name, value in row.items() if name != "audio"} for row in rows]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def summaries(out: Path, but: str | None = None) -> dict[str, Summary]:
    """Return the summaries of all corpora but one that were built in a dataset folder."""
    files = {path.parent.name: path for path in out.glob(f"[!.]*/{SUMMARY_FILE}")}
    return {
        name: read_summary(path.read_bytes(), str(path), f"remove {path.parent} and build it again")
        for name, path in files.items()
        if name != but
    }


def read_summary(content: bytes, where: str, advice: str) -> Summary:
    """Return a summary from the content of its file; raise InputError if it is of no use here."""
    try:
        summary = json.loads(content)
        missing = sorted(_summary_keys() - summary.keys())
    except (ValueError, AttributeError):
        missing = ["everything"]
    if missing:
        lacking = listing(missing, 3)
        raise InputError(f"{where} is not of this version (it lacks {lacking}); {advice}")
    return summary


def _summary_keys() -> set[str]:
    found = {"clips", "speakers", "hours", "bursts", "voted", "skipped", "contents", "folds"}
    return found | {field.name for field in fields(Corpus)}


def render(corpora: Sequence[Summary], repo: str = PLACEHOLDER, gated: bool = False) -> str:
    """Return the card of a dataset that holds the corpora of these summaries.

    `repo` is what its users load it by. A gated one asks them to accept the terms of its corpora.
    """
    total = sum(corpus["clips"] for corpus in corpora)
    # ISO 639 without the region; "und" is no language but clips whose language nobody noted.
    languages = {lang.split("-")[0] for corpus in corpora for lang in corpus["languages"]} - {"und"}
    return render_card(
        "dataset.md.jinja",
        corpora=corpora,
        elsewhere=_elsewhere({corpus["name"] for corpus in corpora}),
        repo=repo,
        placeholder=PLACEHOLDER,
        gated=gated,
        languages=sorted(languages),
        licences=sorted({hub_licence(corpus["licence"]) for corpus in corpora}),
        size_category=next((name for limit, name in SIZES if total < limit), "1M<n<10M"),
        total=total,
        four=FOUR,
        five=FIVE,
        in_label_sets=_in_label_sets(corpora),
        choices=CHOICES,
        bursts_count=BURSTS_COUNT,
        version=__version__,
    )


def _elsewhere(held: set[str]) -> list[Corpus]:
    return [load_script(name)[0] for name in corpus_names() if name not in held]


def _in_label_sets(corpora: Sequence[Summary]) -> dict[str, list[int]]:
    """Return, by title and for all, the clips of each of the five emotions, then of both sets."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for corpus in corpora:
        for label in corpus["labels"]:
            counts[corpus["title"]][label["counts_as"]] += label["counted"]
    if len(corpora) > 1:
        counts["all"] = sum(counts.values(), Counter())
    return {
        title: [found[emotion] for emotion in FIVE]
        + [sum(found[emotion] for emotion in classes) for classes in (FOUR, FIVE)]
        for title, found in counts.items()
    }


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 file", "1,254 files"."""
    return f"{number:,} {noun}" + "s" * (number != 1)
