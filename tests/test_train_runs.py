"""`train` as it is run: on any number of cores and processes, killed, failing, gone on with."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_runs import LAUNCHES, SMOTE, SPEAKERS, arguments, contents, launch, trained
from threadpoolctl import threadpool_info
from watching import count_calls, wait_for

from ser_generalize import experiment, groups, train
from ser_generalize.command import run_command
from ser_generalize.labels import FOUR
from ser_generalize.predictions import FILE_NAME, read_predictions


@pytest.mark.parametrize("cores", [1, 3, 12])
def test_any_number_of_heads_at_a_time_gives_the_same(
    dataset: Path, store: Path, smote: Path, tmp_path: Path, cores: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    torch.manual_seed(cores)
    calls = count_calls(monkeypatch, groups, "train")
    again = trained(dataset, store, tmp_path / "run", *SMOTE)
    assert len(calls) == {1: 3, 3: 3, 12: 12}[cores]
    first, second = read_predictions(smote), read_predictions(again)
    # Heads in other groups differ by the rounding of sums, and by nothing else.
    np.testing.assert_allclose(first.probabilities(), second.probabilities(), atol=1e-6)
    assert first.table.drop_columns([f"p_{name}" for name in FOUR]).equals(
        second.table.drop_columns([f"p_{name}" for name in FOUR])
    )


def test_a_fold_has_one_thread_and_gives_the_others_back(
    dataset: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, original = [], groups.train

    def watched(*given: Any) -> Any:
        found.extend((torch.get_num_threads(), *(p["num_threads"] for p in threadpool_info())))
        return original(*given)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(groups, "train", watched)
    trained(dataset, store, tmp_path / "run")
    assert set(found) == {1}
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


@pytest.mark.parametrize("launcher", LAUNCHES)
def test_every_launch_gives_the_same_bytes(
    dataset: Path, store: Path, smote: Path, tmp_path: Path, launcher: str
) -> None:
    done = launch(launcher, arguments(dataset, store, tmp_path / "run", *SMOTE))
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "run") == contents(smote)
    processes = json.loads((tmp_path / "run" / "config.json").read_text())["hardware"]["processes"]
    assert processes == (2 if launcher == "torchrun" else 1)


def test_a_mistake_under_torchrun_is_said_once(store: Path, dataset: Path, tmp_path: Path) -> None:
    argv = arguments(dataset, store, tmp_path / "run", "--corpora", "nobody")
    done = launch("torchrun", argv)
    assert done.returncode != 0
    assert done.stderr.count("has no corpus nobody; it holds: ravdess") == 1
    assert not (tmp_path / "run").exists()


def test_a_killed_run_goes_on_where_it_stopped(
    dataset: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--sampler", "smote", "--labels", "five", "--seeds", "6")
    slow, out = "64,64", tmp_path / "run"
    argv = arguments(dataset, store, out, *options, head=slow)
    # On one core, or all groups would end together.
    door = "import os; os.cpu_count = lambda: 1; from ser_generalize import cli; cli.main()"
    command = [sys.executable, "-c", door, "train", *argv]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as started:
        wait_for(lambda: any(out.glob("folds/[!.]*.npz")) or started.poll() is not None)
        started.kill()
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob("folds/[!.]*.npz")}
    assert 0 < len(finished) < 6 * len(SPEAKERS)
    assert not (out / FILE_NAME).exists()

    calls = count_calls(monkeypatch, groups, "train")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    train.main(argv)
    assert len(calls) == 6 - len(finished) // 4
    train.main(arguments(dataset, store, tmp_path / "whole", *options, head=slow))
    assert contents(out) == contents(tmp_path / "whole")
    assert {path.name for path in out.iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }


def fail_in_the_second_group(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on one core until memory runs out in the second group of heads."""
    original, calls = experiment.train_group, []

    def second_fails(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise MemoryError
        return original(*given)

    with monkeypatch.context() as patched:
        patched.setattr(experiment, "train_group", second_fails)
        patched.setattr(os, "cpu_count", lambda: 1)
        with pytest.raises(MemoryError):
            train.main(argv)


def test_a_run_goes_on_with_other_cores_as_well(
    dataset: Path, store: Path, smote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads then are grouped otherwise: those that are done are known by fold and seed."""
    argv = arguments(dataset, store, tmp_path / "run", *SMOTE)
    fail_in_the_second_group(argv, monkeypatch)
    assert len(list(tmp_path.glob("run/folds/*.npz"))) == 4
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    train.main(argv)
    found, whole = (read_predictions(run) for run in (tmp_path / "run", smote))
    np.testing.assert_allclose(found.probabilities(), whole.probabilities(), atol=1e-6)
    assert found.table["fold"].equals(whole.table["fold"])


def test_ctrl_c_ends_the_folds_in_training_and_leaves_the_others(
    dataset: Path, store: Path, smote: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    main_thread, begun, ended = threading.main_thread().ident, [], []

    def endless(*given: Any) -> Any:
        begun.append(given)
        signal.pthread_kill(main_thread or 0, signal.SIGINT)
        with pytest.raises(CancelledError):  # by on_epoch, when there is no more use
            wait_for(lambda: given[-1](1) is not None, seconds=20)
        ended.append(given)
        raise CancelledError

    argv = arguments(dataset, store, tmp_path / "run", *SMOTE)
    with monkeypatch.context() as patched:
        patched.setattr(experiment, "train_group", endless)
        patched.setattr(os, "cpu_count", lambda: 1)
        assert run_command("train", train.main, argv) == 130
    assert capsys.readouterr().err == "train: interrupted; run the same command again to go on\n"
    assert len(begun) == len(ended) == 1
    train.main(argv)
    assert contents(tmp_path / "run") == contents(smote)


def test_a_fold_that_fails_fails_the_run_and_not_what_was_done(
    dataset: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = arguments(dataset, store, tmp_path / "run", *SMOTE)
    fail_in_the_second_group(argv, monkeypatch)
    assert not (tmp_path / "run" / "done").exists()
    calls = count_calls(monkeypatch, experiment, "train_group")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    train.main(argv)
    assert len(calls) == 2
    whole = trained(dataset, store, tmp_path / "whole", *SMOTE)
    assert contents(tmp_path / "run") == contents(whole)


def test_a_finished_run_returns_at_once_and_says_so(
    dataset: Path, store: Path, smote: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in smote.iterdir()}
    for name in ("make_folds", "read_features", "start_run"):  # nothing costly is done again
        monkeypatch.delattr(experiment, name)
    train.main(arguments(dataset, store, smote, *SMOTE))
    assert capsys.readouterr().out == f"train: {smote} is done already\n"
    assert {path: path.stat().st_mtime_ns for path in smote.iterdir()} == before


def test_processes_are_released_on_every_way_out(
    dataset: Path, store: Path, smote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[bool] = []
    monkeypatch.setattr(experiment.Accelerator, "end_training", lambda _: released.append(True))
    argv = arguments(dataset, store, smote, *SMOTE)
    train.main(argv)  # done already
    assert run_command("train", train.main, [*argv, "--sampler", "none"]) == 2
    monkeypatch.setattr(experiment, "make_folds", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train.main(arguments(dataset, store, tmp_path / "run"))
    assert len(released) == 3


def test_an_empty_folder_is_a_new_one(dataset: Path, store: Path, tmp_path: Path) -> None:
    assert len(read_predictions(trained(dataset, store, tmp_path)).table) == 56
