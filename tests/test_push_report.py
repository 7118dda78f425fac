"""A study's report on the Hub: sent whole, read by plain clients, and refused with a reason."""

import json
import subprocess
import sys
from pathlib import Path

import make_sections
import pytest
from hub_server import READER, Hub
from huggingface_hub import hf_hub_download
from test_push import run

from ser_generalize import report
from ser_generalize.benchmark.folder import RESULTS
from ser_generalize.benchmark.publish import push_report
from ser_generalize.benchmark.report import write_report
from ser_generalize.benchmark.results import read_rows
from ser_generalize.errors import InputError

NAME = "org/study"
PLAIN = """
import json, sys
from datasets import load_dataset

print(json.dumps([row["value"] for row in load_dataset(sys.argv[1], split="train")]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "report"
    write_report(out, make_sections.study(), make_sections.sections())
    return out


def test_what_was_pushed_is_read_by_plain_clients(hub: Hub, folder: Path, tmp_path: Path) -> None:
    report.main([str(folder), "--push", NAME])
    rows = read_rows(folder / RESULTS)
    assert read_rows(Path(hf_hub_download(NAME, RESULTS, repo_type="dataset"))) == rows
    environment = hub.environment(READER, tmp_path)
    command = [sys.executable, "-c", PLAIN, NAME]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [row.value for row in rows]


def test_a_second_push_sends_what_is_new_and_deletes_what_is_gone(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".cache").write_text("not of the report")
    assert run([folder, NAME], monkeypatch) == 0
    there = hub.repository("dataset", NAME).head.files
    assert "figures/cross.svg" in there and ".cache" not in there
    assert f'load_dataset("{NAME}"' in there["README.md"].data.decode()
    assert push_report(folder, NAME) == []
    write_report(tmp_path / "less", make_sections.study(), make_sections.sections()[-1:])
    assert {"figures/cross.svg", "tables/cross.tex", RESULTS} <= {
        *push_report(tmp_path / "less", NAME)
    }
    assert "figures/cross.svg" not in hub.repository("dataset", NAME).head.files


def test_what_is_no_report_is_refused_before_anything_is_sent(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="is no results file of a report"):
        report.main([str(tmp_path), "--push", NAME])
    with pytest.raises(InputError, match="no id of the Hub"):
        report.main([str(folder), "--push", "study"])
    with pytest.raises(InputError, match="one study, not 2 folders"):
        report.main([str(folder), str(tmp_path), "--push", NAME])
    with pytest.raises(InputError, match="not allowed with"):
        report.main([str(folder), "--push", NAME, "--out", str(tmp_path / "x")])
    assert run([tmp_path, NAME], monkeypatch) == 2
    assert not hub.requests
