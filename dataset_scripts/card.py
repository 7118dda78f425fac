"""The dataset card: what it says of every corpus built, read back from beside the shards."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataset_scripts.corpus import Corpus
from ser_generalize import __version__
from ser_generalize.files import write_text
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
    }


def write_card(out: Path) -> None:
    """Write the card of a dataset folder over every corpus built in it, atomically."""
    summaries = sorted(out.glob(f"[!.]*/{SUMMARY_FILE}"))
    corpora = [json.loads(path.read_text()) for path in summaries]
    total = sum(corpus["clips"] for corpus in corpora)
    card = render_card(
        "dataset.md.jinja",
        corpora=corpora,
        languages=sorted({language for corpus in corpora for language in corpus["languages"]}),
        size_category=next((name for limit, name in SIZES if total < limit), "1M<n<10M"),
        total=total,
        version=__version__,
    )
    write_text(out / "README.md", card)
