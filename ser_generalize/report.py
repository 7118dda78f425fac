"""`ser-generalize report RUN... --out DIR`: what the runs show, as a table, a page and pictures."""

import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ser_generalize import __version__
from ser_generalize.benchmark.publish import push_report
from ser_generalize.command import CommandParser, progress_bar, run_command
from ser_generalize.errors import InputError, listing
from ser_generalize.files import staged
from ser_generalize.hub import Visibility, add_visibility, chosen_visibility
from ser_generalize.page import page
from ser_generalize.statistics import METHOD, Result
from ser_generalize.summary import (
    Comparison,
    Group,
    Run,
    class_notes,
    corpora,
    group_runs,
    macro_notes,
    missing_intervals,
    percent,
    points,
    read_runs,
)

PAGE, NUMBERS, PICTURES = "report.html", "results.json", "figures"
FILES = (PAGE, NUMBERS, PICTURES, f"{PICTURES}/*.png")
WIDTH = 100  # of the terminal's table, in columns
NAME_WIDTH = 39  # of a run's name, what the other columns leave
COLUMNS = ("UAR", "95 % interval", "macro-F1", "accuracy", "clips", "speakers")
HEAD = "{:<{width}}{:>7}{:>16}{:>10}{:>10}{:>8}{:>10}"

Show = Callable[[float], str]


def parser() -> CommandParser:
    """Return the command's parser."""
    command = CommandParser(
        prog="ser-generalize report",
        description="Score runs, compare them with the first, print a table and write a page; or "
        "publish the report of a study.",
        example="ser-generalize report runs/base runs/base-smote --out report\n"
        "  ser-generalize report study/report --push ORG/NAME",
    )
    add = command.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="--out of a `train`; or a study's report")
    wanted = command.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--out", type=Path, help="folder to write, or to replace")
    wanted.add_argument("--push", metavar="ORG/NAME", help="send the report of a study to the Hub")
    add_visibility(command)
    return command


def main(argv: Sequence[str]) -> None:
    """Read the runs, print their table and write the report; InputError for a mistake."""
    arguments = parser().parse_args(argv)
    if arguments.push:
        _push(arguments.runs, arguments.push, chosen_visibility(arguments))
        return
    check_out(arguments.out, NUMBERS, FILES)
    groups = group_runs(read_runs(arguments.runs))
    print(text(groups))
    write_report(arguments.out, groups)
    print(f"\nwrote {arguments.out / PAGE}, {NUMBERS} and {PICTURES}/")


def _push(folders: Sequence[Path], repo: str, visibility: Visibility) -> None:
    if len(folders) > 1:
        raise InputError(f"--push sends the report of one study, not {len(folders)} folders")
    sent = push_report(folders[0], repo, visibility)
    print(f"report: {folders[0]} is the dataset {repo} ({visibility}), {len(sent)} files changed")


def check_out(out: Path, written: str, files: Sequence[str]) -> None:
    """Raise InputError unless `out` is new, empty or holds a report and nothing else.

    A report has the file `written`; `files` are the patterns of all that it may hold.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder")
    ours = {path for pattern in files for path in out.glob(pattern)}
    if not (out / written).is_file():
        ours = set()  # whatever lies here, no report wrote it
    strangers = {str(path.relative_to(out)) for path in set(out.rglob("*")) - ours}
    if strangers:
        names = listing(sorted(strangers), limit=3)
        raise InputError(f"--out {out} holds other things ({names}); give a new or empty folder")


def write_report(out: Path, groups: Sequence[Group]) -> None:
    """Write the page, the numbers and the pictures beside `out`, then put them in its place."""
    with staged(out) as folder:
        folder.mkdir()
        (folder / PAGE).write_text(page(groups), encoding="utf-8")
        numbers = json.dumps(results(groups), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / NUMBERS).write_text(numbers + "\n", encoding="utf-8")
        draw_figures(folder / PICTURES, groups)


def draw_figures(folder: Path, groups: Sequence[Group]) -> None:
    """Write every picture of the report as PNG, with a progress bar on a terminal."""
    from ser_generalize.figures import figures, save  # matplotlib takes a second to import

    folder.mkdir()
    pictures = list(figures(groups))
    with progress_bar(len(pictures), "figures", "figure") as progress:
        for name, draw in pictures:
            save(draw, folder / f"{name}.png")
            progress.update()


def results(groups: Sequence[Group]) -> dict[str, Any]:
    """Return every number of the report: shares in [0, 1], null for a missing interval."""
    runs = [run for group in groups for run in group.runs]
    comparisons = [(group.runs[0], one) for group in groups for one in group.comparisons]
    return {
        "version": __version__,
        "interval": METHOD,
        "runs": [{"name": run.name, **asdict(run.about)} for run in runs],
        "scores": [row for run in runs for row in _rows(run, run.results)],
        "differences": [
            {"minus": first.name, **row}
            for first, one in comparisons
            for row in _rows(one.run, one.results)
        ],
        "not_compared": [
            {"run": one.run.name, "minus": first.name, "why": one.note}
            for first, one in comparisons
            if one.note
        ],
        "crossed": [row for run in runs for row in _crossed_rows(run)],
        "speakers": [row for run in runs for row in _speaker_rows(run)],
        "confusion": [row for run in runs for row in _confusion_rows(run)],
    }


def _rows(run: Run, found: Sequence[Result]) -> Iterator[dict[str, Any]]:
    for result in found:
        for metric, estimate in result.estimates.items():
            yield {
                "run": run.name,
                "protocol": run.about.protocol,
                "leaks": list(run.about.leaks),
                "label_set": run.about.label_set,
                "adapt": run.about.adapt,
                "corpus": result.corpus,
                "metric": metric,
                "value": estimate.value,
                "low": estimate.interval.low if estimate.interval else None,
                "high": estimate.interval.high if estimate.interval else None,
                "note": estimate.note,
                "classes": run.classes(result.corpus) if result.corpus in run.clusters else None,
                "chance_uar": result.chance,
                "clips": result.clips,
                "speakers": result.speakers,
            }


def _speaker_rows(run: Run) -> Iterator[dict[str, Any]]:
    for corpus in run.clusters:
        for speaker in run.speakers(corpus):
            yield {"run": run.name, "corpus": corpus, **asdict(speaker)}


def _crossed_rows(run: Run) -> Iterator[dict[str, Any]]:
    shown = ("trained_on", "corpus", "metric", "value", "low", "high", "note", "clips", "speakers")
    for row in run.crossed:
        yield {"run": run.name, **{name: getattr(row, name) for name in shown}}


def _confusion_rows(run: Run) -> Iterator[dict[str, Any]]:
    for corpus in run.clusters:
        counts = run.confusion(corpus).tolist()
        classes = list(run.about.classes)
        yield {"run": run.name, "corpus": corpus, "classes": classes, "true_by_predicted": counts}


def text(groups: Sequence[Group]) -> str:
    """Return the report's tables as plain text."""
    return "\n\n".join(part for group in groups for part in _group_text(group))


def _group_text(group: Group) -> Iterator[str]:
    classes = ", ".join(group.classes)
    yield _table(f"Label set {group.label_set}: {classes} (percent)", group.runs, percent)
    if lines := class_notes(group.runs):
        yield _wrapped(lines)
    if any(one.results for one in group.comparisons):
        title = f"Minus {group.runs[0].name}, on the clips that both predict (points)"
        yield _table(title, group.comparisons, points)
    notes = [f"{run.name}: {line}" for run in group.runs for line in (*run.leaks, *run.about.notes)]
    notes += [f"{one.name}: {one.note}" for one in group.comparisons if one.note]
    if notes:
        yield _wrapped(notes)


def _table(title: str, members: Sequence[Run | Comparison], show: Show) -> str:
    width = min(NAME_WIDTH, max(len(one.name) + 2 for one in members))
    lines = [title, HEAD.format("", *COLUMNS, width=width)]
    for corpus in corpora(members):
        found = {one.name: result for one in members if (result := one.result(corpus))}
        chance = percent(next(iter(found.values())).chance)
        lines.append(f"{corpus} (chance {chance})" if show is percent else corpus)
        lines += [_line(f"  {name}", width, result, show) for name, result in found.items()]
    notes = [*missing_intervals(members), *macro_notes(members)]
    return "\n".join([*lines, _wrapped(notes)] if notes else lines)


def _wrapped(lines: Sequence[str]) -> str:
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)


def _line(name: str, width: int, result: Result, show: Show) -> str:
    short = name if len(name) <= width else f"{name[: width - 1]}…"
    estimates = result.estimates
    interval = estimates["uar"].interval
    ends = f"{show(interval.low)} to {show(interval.high)}" if interval else "none*"
    values = [show(estimates[metric].value) for metric in ("uar", "macro_f1", "accuracy")]
    cells = (values[0], ends, *values[1:], f"{result.clips:,}", f"{result.speakers:,}")
    return HEAD.format(short, *cells, width=width)


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize report", main, sys.argv[1:]))
