"""Simulated predictions with speakers who differ, as real ones do; for tests and for looking."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ser_generalize.labels import FOUR
from ser_generalize.predictions import (
    FILE_NAME,
    About,
    Predictions,
    prediction_schema,
    write_predictions,
)

RAVDESS_LIKE = {"ravdess": (24, 8)}  # corpus: (speakers, clips per speaker and class)


def about(run: str = "base", **changes: object) -> About:
    fields: dict[str, object] = {
        "run": run, "protocol": "loso", "label_set": "four", "classes": FOUR,
        "encoder": "openai/whisper-base", "window": "short", "head": "128", "sampler": "none",
        "train_on": "each", "seeds": 1,
    }  # fmt: skip
    return About(**{**fields, **changes})  # type: ignore[arg-type]


def speaker_recalls(
    generator: np.random.Generator, speakers: int, classes: int, mean: float, spread: float
) -> NDArray[np.float64]:
    """Draw every speaker's recall of every class: logit-normal, partly common to the classes."""
    common, own = generator.normal(size=(speakers, 1)), generator.normal(size=(speakers, classes))
    return 1 / (1 + np.exp(-(mean + spread * (0.6 * common + 0.8 * own))))


def predictions(
    run: str = "base",
    corpora: Mapping[str, tuple[int, int]] = RAVDESS_LIKE,
    mean: float = 1.0,
    spread: float = 0.7,
    seed: int = 0,
    missing: Sequence[tuple[str, str]] = (),
    **changes: object,
) -> Predictions:
    """Simulate a run; `missing` names (speaker, class) pairs without clips.

    The same `seed` gives the same speakers, so that runs that differ in `mean` alone are paired.
    """
    description, rows = about(run, **changes), []
    for corpus, (speakers, clips) in corpora.items():
        generator = np.random.default_rng([seed, *corpus.encode()])
        recalls = speaker_recalls(generator, speakers, len(description.classes), mean, spread)
        rows += _rows(generator, description, corpus, recalls, clips)
    rows = [row for row in rows if (row["speaker"], row["label"]) not in missing]
    table = pa.Table.from_pylist(rows, schema=prediction_schema(description))
    return Predictions(description, table.sort_by("clip_id"))


def _rows(
    generator: np.random.Generator,
    description: About,
    corpus: str,
    recalls: NDArray[np.float64],
    clips: int,
) -> list[dict[str, object]]:
    rows = []
    for speaker, label, clip in np.ndindex(len(recalls), len(description.classes), clips):
        share = generator.dirichlet(np.ones(len(description.classes)))
        right = generator.random() < recalls[speaker, label]
        best = label if right else generator.choice(np.delete(np.arange(len(share)), label))
        share[[best, share.argmax()]] = share[[share.argmax(), best]]
        name = description.classes[label]
        row: dict[str, object] = {
            "run": description.run, "protocol": description.protocol, "fold": f"{speaker:02d}",
            "seed": 0,
            "clip_id": f"{corpus}/{speaker:02d}-{name}-{clip:03d}", "corpus": corpus,
            "speaker": f"{corpus}:{speaker:02d}", "sex": ("male", "female")[speaker % 2],
            "age": None, "language": "en", "elicitation": "acted", "label_source": "acted",
            "label": name,
        }  # fmt: skip
        scores = {f"p_{each}": float(p) for each, p in zip(description.classes, share, strict=True)}
        rows.append({**row, **scores})
    return rows


def write_run(folder: Path, run: Predictions) -> Path:
    """Write predictions as a run folder and return it."""
    folder.mkdir(parents=True)
    write_predictions(folder / FILE_NAME, run)
    return folder
