"""The dataset card: what it says of every corpus built, read back from beside the shards."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataset_scripts.corpus import Corpus
from ser_generalize import __version__
from ser_generalize.hub import render_card

SUMMARY_FILE = "summary.json"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def summarise(corpus: Corpus, rows: Sequence[dict[str, Any]], skipped: int) -> dict[str, Any]:
    """Return what the card says of one built corpus: its data sheet and what was found."""
    found = Counter(row["native_label"] for row in rows)
    sheet = asdict(corpus)
    labels = [
        {
            "native": native,
            "emotion": emotion,
            "clips": found[native],
            "expected": corpus.expected_clips.get(native, 0),
        }
        for native, emotion in corpus.labels.items()
    ]
    return sheet | {
        "labels": labels,
        "clips": len(rows),
        "speakers": len({row["speaker"] for row in rows if row["speaker"]}),
        "hours": sum(row["duration"] for row in rows) / 3600,
        "skipped": skipped,
        "contents": _digest(rows),
    }


def _digest(rows: Sequence[dict[str, Any]]) -> str:
    """Return the identity of what a corpus's rows say.

    It stands in the card's YAML, because `datasets` caches a folder under its last name and that
    YAML alone: it would hand out what another `data`, or this one before a rebuild, held.
    """
    said = [{name: value for name, value in row.items() if name != "audio"} for row in rows]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def summaries(out: Path) -> dict[str, dict[str, Any]]:
    """Return the summary of every corpus that was built in a dataset folder."""
    files = out.glob(f"[!.]*/{SUMMARY_FILE}")
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in files}


def render(corpora: Sequence[dict[str, Any]]) -> str:
    """Return the card of a dataset that holds the corpora of these summaries."""
    total = sum(corpus["clips"] for corpus in corpora)
    languages = {language for corpus in corpora for language in corpus["languages"]}
    return render_card(
        "dataset.md.jinja",
        corpora=corpora,
        languages=sorted({language.split("-")[0] for language in languages}),  # ISO 639, no region
        licences=sorted({hub_licence(corpus["licence"]) for corpus in corpora}),
        size_category=next((name for limit, name in SIZES if total < limit), "1M<n<10M"),
        total=total,
        version=__version__,
    )


def hub_licence(licence: str) -> str:
    """Return the Hub's own identifier of a licence, "other" where it has none."""
    if licence.startswith("LicenseRef-"):
        return "other"
    return {"ODbL-1.0": "odbl"}.get(licence, licence.lower())


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 file", "1,254 files"."""
    return f"{number:,} {noun}" + "s" * (number != 1)
