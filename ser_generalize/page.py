"""The report as one self-contained HTML page: rendered from `templates/report.html.jinja`."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined

from ser_generalize import __version__
from ser_generalize.benchmark.columns import aside, matrix, notes, shade
from ser_generalize.benchmark.sections import Table
from ser_generalize.benchmark.wording import FIELDS, interval, metric, number
from ser_generalize.labels import LABELS_FROM
from ser_generalize.predictions import About
from ser_generalize.protocols import PROTOCOLS
from ser_generalize.statistics import MACRO_AVERAGE, METHOD, MINIMUM_SPEAKERS
from ser_generalize.summary import (
    Group,
    Run,
    class_notes,
    corpora,
    macro_notes,
    missing_intervals,
    percent,
    points,
    swarm,
)

TITLE = "Speech emotion recognition results"
DOT_GAP = 0.03  # of the axis: leaves room for a dot of 10 px on a phone
LISTED = 4  # names in a sentence before they are only counted
NOT_FACTS = ("run", "classes", "alternatives", "leaks", "notes")  # shown elsewhere on the page
FROM_CLIPS = {"label source": "label_source", "elicitation": "elicitation", "language": "language"}


def page(groups: Sequence[Group]) -> str:
    """Return the report as HTML; every value of the user's is escaped."""
    runs = [run for group in groups for run in group.runs]
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            title=TITLE if len(runs) > 1 else f"{TITLE}: {runs[0].name}",
            heading=TITLE,
            lead=lead(runs),
            groups=groups,
            runs=runs,
            version=__version__,
            method=METHOD,
            protocols=sorted({sentence(protocol(run.about)) for run in runs}),
            several_corpora=any(run.result(MACRO_AVERAGE) for run in runs),
            minimum_speakers=MINIMUM_SPEAKERS,
        )
    )


def environment() -> Environment:
    """Return what renders the templates, with the helpers of `parts.html.jinja`."""
    made = Environment(
        loader=PackageLoader("ser_generalize"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update({helper.__name__: helper for helper in HELPERS})
    made.globals["headings"] = FIELDS
    made.globals["swarm"] = partial(swarm, gap=DOT_GAP)
    return made


def lead(runs: Sequence[Run]) -> str:
    """Return what was tested in one sentence, clips and speakers counted once over all runs."""
    corpora = sorted({corpus for run in runs for corpus in run.clusters})
    where = ", ".join(corpora) if len(corpora) <= LISTED else f"{len(corpora)} corpora"
    held = [chunk for run in runs for chunk in run.predictions.table["clip_id"].chunks]
    clips = pc.count_distinct(pa.chunked_array(held)).as_py()
    speakers = {speaker for run in runs for speaker in run.values("speaker")}
    return (
        f"{_count(len(runs), 'run')} on {where}: "
        f"{_count(clips, 'test clip')} of {_count(len(speakers), 'known speaker')}."
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """Return what was run, as pairs of name and value in reading order."""
    about = {name: value for name, value in asdict(run.about).items() if name not in NOT_FACTS}
    about["labels_from"] = LABELS_FROM.get(run.about.labels_from, run.about.labels_from)
    pairs = [(name.replace("_", " "), _text(value)) for name, value in about.items()]
    return pairs + [
        (name, ", ".join(run.values(column)) or "not known") for name, column in FROM_CLIPS.items()
    ]


def protocol(about: About) -> str:
    """Return the protocol in words; one that is not known keeps its name."""
    known = PROTOCOLS.get(about.protocol)
    return known.title if known else about.protocol


def sentence(text: str) -> str:
    """Start a text with a capital and leave the rest as it is."""
    return text[:1].upper() + text[1:]


def difference_limit(group: Group) -> float:
    """Return the end of the differences' axis: a multiple of .1 that holds every interval."""
    estimates = [result.estimates["uar"] for one in group.comparisons for result in one.results]
    ends = [abs(one.value) for one in estimates]
    ends += [
        abs(end)
        for one in estimates
        if one.interval
        for end in (one.interval.low, one.interval.high)
    ]
    return max(math.ceil(10 * max(ends, default=0)), 1) / 10


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def crossed_table(run: Run) -> Table:
    """Return UAR by the corpus trained on and the one tested, as a matrix."""
    title = f"UAR of {run.name} from one corpus to another"
    return Table("crossed", title, "", run.crossed, (), "trained_on", "corpus")


HELPERS = (  # what the template calls
    aside,
    class_notes,
    corpora,
    crossed_table,
    difference_limit,
    facts,
    interval,
    macro_notes,
    matrix,
    metric,
    missing_intervals,
    notes,
    number,
    percent,
    points,
    protocol,
    sentence,
    shade,
)
