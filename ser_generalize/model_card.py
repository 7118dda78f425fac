"""The card of a checkpoint: what it was judged on, how well it did, and who may use it for what."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

from ser_generalize.calibration import Calibration
from ser_generalize.heads import LINEAR
from ser_generalize.hub import render_card, strictest_licence
from ser_generalize.protocols import PROTOCOLS
from ser_generalize.statistics import METHOD, Estimate, Result
from ser_generalize.summary import Run, class_notes, missing_intervals, percent

SYNTHETIC = "synthetic"  # the elicitation of fabricated speech
PLACEHOLDER = "PATH_OR_ID"  # where the card does not know its repository yet
EVAL_RESULTS = ".eval_results/ser-generalize.yaml"
TASK, TASK_NAME = "audio-classification", "Speech emotion recognition"

Training = Mapping[str, Any]  # `SerConfig.training`


def render_model_card(run: Run, calibration: Calibration, training: Training) -> str:
    """Return the README.md of a checkpoint trained as its cross-validated run was."""
    corpora = training["corpora"]
    licence = strictest_licence(one for held in corpora.values() for one in held["licences"])
    return render_card(
        "model.md.jinja",
        metadata=_metadata(run, training, licence).strip(),
        placeholder=PLACEHOLDER,
        classes=run.about.classes,
        fabricated=fabricated(training),
        acted=all(held["elicitation"] == ["acted"] for held in corpora.values()),
        training=training,
        all_layers=training["all_layers"],
        linear=run.about.head in LINEAR,
        about=run.about,
        protocol=PROTOCOLS[run.about.protocol].title,
        method=METHOD,
        results=run.results,
        notes=[*run.about.notes, *class_notes([run]), *missing_intervals([run])],
        confusions=list(_confusions(run)),
        calibration=calibration,
        corpora=corpora,
        licence=licence,
    )


def eval_results(run: Run, training: Training) -> str | None:
    """Return `.eval_results/*.yaml` as the Hub reads it; None where the dataset is not there.

    One entry a corpus: its UAR in percent, the interval and the protocol in the notes.
    """
    if not training["dataset_id"]:
        return None
    entries = [
        EvalResultEntry(
            dataset_id=training["dataset_id"],
            task_id=f"{result.corpus}_{run.about.label_set}_{run.about.protocol}",
            value=round(100 * result.estimates["uar"].value, 2),
            notes=f"{_metric(result.estimates['uar'])}; {_judged(run)}",
        )
        for result in run.results
    ]
    return yaml_dump(eval_result_entries_to_yaml(entries))


def fabricated(training: Training) -> list[str]:
    """Return the corpora whose speech was synthesised."""
    return [
        name
        for name, held in training["corpora"].items()
        if SYNTHETIC in held.get("elicitation", ())
    ]


def _metadata(run: Run, training: Training, licence: str) -> str:
    languages = {name for held in training["corpora"].values() for name in held["languages"]}
    other = licence == "other"
    base = training["encoder"] if "/" in training["encoder"] else None
    return ModelCardData(
        language=sorted({name.split("-")[0] for name in languages} - {"und"}),
        license=licence,
        license_name="the-terms-of-the-training-corpora" if other else None,
        license_link="README.md" if other else None,
        library_name="transformers",
        pipeline_tag=TASK,
        tags=[
            "speech-emotion-recognition",
            "whisper",
            "ser-generalize",
            *(["fabricated-training-data"] if fabricated(training) else []),
        ],
        base_model=base,
        model_name=f"ser-generalize {run.about.label_set} {run.about.encoder}",
        eval_results=[one for result in run.results for one in _entries(run, result)],
    ).to_yaml()


def _entries(run: Run, result: Result) -> Iterator[EvalResult]:
    uar = result.estimates["uar"]
    common: dict[str, Any] = {
        "task_type": TASK,
        "task_name": TASK_NAME,
        "dataset_type": result.corpus,
        "dataset_name": f"{result.corpus}, {_judged(run)}",
        "dataset_split": run.about.protocol,
    }
    yield EvalResult(
        **common,
        metric_type="uar",
        metric_name=_metric(uar),
        metric_value=round(100 * uar.value, 2),
    )


def _metric(estimate: Estimate) -> str:
    """Name UAR with its interval, in percent."""
    interval = estimate.interval
    if interval is None:
        return f"UAR, % ({estimate.note})"
    return f"UAR, % (95 % interval {percent(interval.low)} to {percent(interval.high)})"


def _judged(run: Run) -> str:
    return f"{len(run.about.classes)} classes, protocol {run.about.protocol}{run.adapted}"


def _confusions(run: Run) -> Iterator[dict[str, Any]]:
    for corpus in run.clusters:
        counts = run.confusion(corpus)
        rows = [
            {"name": name, "clips": int(row.sum()) // run.about.seeds, "shares": _shares(row)}
            for name, row in zip(run.about.classes, counts, strict=True)
        ]
        yield {"corpus": corpus, "rows": rows}


def _shares(counts: Sequence[Any]) -> list[str]:
    total = sum(counts)
    return [f"{100 * count / total:.0f}" if total else "–" for count in counts]
