"""A study's report to the Hub: a dataset whose rows are its numbers, with the page beside them."""

from pathlib import Path

from ser_generalize.benchmark.folder import CARD, FIGURES, FILES, PLACEHOLDER, RESULTS, TABLES
from ser_generalize.benchmark.results import read_rows
from ser_generalize.errors import InputError
from ser_generalize.hub import Visibility, is_hub_id
from ser_generalize.repository import Content, Repository


def push_report(folder: Path, repo: str, visibility: Visibility = "public") -> list[str]:
    """Publish a study's report as the dataset ORG/NAME; return the paths sent or deleted.

    It holds numbers and pictures and nothing of a recording, so no corpus's terms bind it. What is
    there already is not sent again; it is there whole or as it was before. Raises InputError where
    `folder` is no report of a study, and for what the Hub refuses.
    """
    if not is_hub_id(repo):
        raise InputError(f"{repo} is no id of the Hub; give ORG/NAME")
    rows = read_rows(folder / RESULTS)
    files: dict[str, Content] = {
        path.relative_to(folder).as_posix(): path
        for pattern in FILES
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }
    files[CARD] = (folder / CARD).read_text("utf-8").replace(PLACEHOLDER, repo).encode()
    repository = Repository(repo, "dataset", visibility)
    repository.check()
    repository.open()
    message = f"{len(rows)} numbers of a study"
    gone = (f"{TABLES}/", f"{FIGURES}/")
    return repository.replace(repository.contents(), gone, files, message)
