"""From a folder that `build` made to the Hub: a commit per corpus, where its terms let it go."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataset_scripts.card import (
    FOLDS,
    SUMMARY_FILE,
    Summary,
    counted,
    read_summary,
    render,
    summaries,
)
from dataset_scripts.corpus import corpus_names, load_script
from ser_generalize.command import CommandParser, run_command
from ser_generalize.errors import InputError, one_of
from ser_generalize.hub import STRICTNESS, Visibility, check_redistribution, is_hub_id
from ser_generalize.repository import Contents, Repository

CARD = "README.md"


@dataclass(frozen=True)
class Step:
    """One commit to be: a corpus, the files it consists of, and the repository they go to."""

    repository: Repository
    corpus: str
    summary: Summary
    files: Mapping[str, Path]  # by path in the repository

    @property
    def size(self) -> int:
        """The bytes of its files."""
        return sum(path.stat().st_size for path in self.files.values())


def plan(
    folder: Path, repo: str, private: bool = False, corpora: Sequence[str] | None = None
) -> list[Step]:
    """Return the commits that publish some corpora (all by default) of a folder; ask nobody.

    Public corpora go to `repo`, a public repository, gated ones to `repo`-gated; with `private` all
    go to `repo`, which has to be private. Raises InputError for a corpus that may go to neither,
    and for a folder that `build` did not make or that is not whole.
    """
    if not is_hub_id(repo):
        raise InputError(f"--repo {repo} is no id of the Hub; give ORG/NAME")
    built = summaries(folder)
    if not built:
        raise InputError(f"{folder} holds no corpus that `python -m dataset_scripts.build` built")
    names = list(dict.fromkeys(corpora or sorted(built)))
    for name in names:
        one_of(f"corpus in {folder}", name, sorted(built))
    targets = {name: _target(repo, private, built[name]) for name in names}
    for target in dict.fromkeys(targets.values()):
        holdings = {name: built[name] for name in names if targets[name] == target}
        _check_terms(target.name, target.visibility, holdings)
    return [Step(targets[n], n, built[n], _files(folder, n, built[n]["clips"])) for n in names]


def publish(steps: Sequence[Step]) -> Iterator[tuple[Step, list[str]]]:
    """Make the commits; yield each with the paths that were sent or deleted, none if it was there.

    Before anything is sent, every repository is there, hides what it has to, and may hold both what
    it holds and what is to come. What fails is an InputError; the commits made until then stay, and
    the same call goes on behind them.
    """
    repositories = list(dict.fromkeys(step.repository for step in steps))
    for repository in repositories:
        repository.check()
    for repository in repositories:
        repository.open()
        held = _held(repository, repository.contents(), steps)
        _check_terms(
            repository.name, repository.actual_visibility(), held | _coming(steps, repository)
        )
    for step in steps:
        yield step, _commit(step, steps)


def _target(repo: str, private: bool, summary: Summary) -> Repository:
    if private:
        return Repository(repo, "dataset", "private")
    if _redistribution(summary) == "gated":
        return Repository(f"{repo}-gated", "dataset", "gated")
    return Repository(repo, "dataset", "public")


def _check_terms(repo: str, visibility: Visibility, corpora: Mapping[str, Summary]) -> None:
    terms = [(name, _redistribution(summary)) for name, summary in corpora.items()]
    check_redistribution(repo, visibility, terms)


def _redistribution(summary: Summary) -> str:
    """Return the stricter of the terms a corpus was built under and those known by now."""
    terms = [one_of("redistribution", summary["redistribution"], STRICTNESS)]
    if summary["name"] in corpus_names():
        terms.append(load_script(summary["name"])[0].redistribution)
    return max(terms, key=STRICTNESS.__getitem__)


def _files(folder: Path, name: str, clips: int) -> dict[str, Path]:
    shards = sorted((folder / name).glob("*.parquet"))
    try:
        found = sum(pq.read_metadata(shard).num_rows for shard in shards)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{folder / name} cannot be read ({error!s:.100}); build it again"
        ) from error
    if found != clips:
        raise InputError(f"{folder / name} holds {found:,} of its {clips:,} clips; build it again")
    others = [folder / name / SUMMARY_FILE, folder / name / "skipped.tsv"]
    others += [folder / _folds(name)]
    there = [*shards, *(path for path in others if path.is_file())]
    return {path.relative_to(folder).as_posix(): path for path in there}


def _folds(name: str) -> str:
    return f"{FOLDS}/{name}.parquet"


def _coming(steps: Sequence[Step], repository: Repository) -> dict[str, Summary]:
    return {step.corpus: step.summary for step in steps if step.repository == repository}


def _held(repository: Repository, contents: Contents, steps: Sequence[Step]) -> dict[str, Summary]:
    """Return the summaries of the corpora that a repository holds.

    One that another version wrote says too little for a card. Such a corpus has to be published
    again; if that is to come it has no place on the card until then.
    """
    held = {}
    for path in contents.files:
        name, _, file = path.partition("/")
        if file == SUMMARY_FILE:
            where, advice = f"{path} of {repository.name}", f"build {name} again and publish it too"
            try:
                held[name] = read_summary(repository.read(path, contents), where, advice)
            except InputError:
                if name not in _coming(steps, repository):
                    raise
    return held


def _commit(step: Step, steps: Sequence[Step]) -> list[str]:
    repository = step.repository
    contents = repository.contents()
    held = _held(repository, contents, steps) | {step.corpus: step.summary}
    # Asked anew: hours of uploading may lie behind, and somebody may have opened it.
    _check_terms(repository.name, repository.actual_visibility(), held)
    card = render(
        [held[name] for name in sorted(held)],
        repo=repository.name,
        gated=repository.visibility == "gated",
    )
    return repository.replace(
        contents,
        below=(f"{step.corpus}/", _folds(step.corpus)),
        files={**step.files, CARD: card.encode()},
        message=f"{step.summary['title']}: {counted(step.summary['clips'], 'clip')}",
    )


def main(argv: Sequence[str]) -> None:
    """Parse the command line and publish."""
    parser = CommandParser(
        "python -m dataset_scripts.publish",
        "Publish a dataset folder to the Hub, a commit per corpus. What is there already is not "
        "sent again, so the same command goes on with what was interrupted.",
        "python -m dataset_scripts.publish data --repo my-org/ser-11 --corpora ravdess --dry-run",
    )
    parser.add_argument("folder", type=Path, help="dataset folder that dataset_scripts.build wrote")
    parser.add_argument(
        "--repo",
        required=True,
        metavar="ORG/NAME",
        help="repository of public corpora; gated ones go to ORG/NAME-gated",
    )
    parser.add_argument(
        "--private", action="store_true", help="put everything into ORG/NAME, a private repository"
    )
    parser.add_argument("--corpora", nargs="+", metavar="C", help="these only (default: all)")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be sent where; ask nobody, need no token",
    )
    arguments = parser.parse_args(argv)
    steps = plan(arguments.folder, arguments.repo, arguments.private, arguments.corpora)
    if arguments.dry_run:
        _print_plan(steps)
        return
    for step, sent in publish(steps):
        done = f"published, {counted(len(sent), 'file')} changed" if sent else "there already"
        print(f"{step.corpus}: {done}, in {step.repository.name}")


def _print_plan(steps: Sequence[Step]) -> None:
    for number, step in enumerate(steps, 1):
        where = f"{step.repository.name} ({step.repository.visibility})"
        print(f"commit {number} of {len(steps)}: {step.corpus} to {where}, {_megabytes(step.size)}")
        for path, local in step.files.items():
            print(f"  {path}  {_megabytes(local.stat().st_size)}")
        print(f"  {CARD}  with {step.corpus} beside what is there")
    print("nothing was sent; what a repository holds already will not be sent again")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.3f} MB"


if __name__ == "__main__":
    sys.exit(run_command("publish", main, sys.argv[1:]))
