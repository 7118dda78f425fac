"""The house: imports go one way, nothing unpickles or evaluates, and no file grows too long."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
LONGEST = 400  # lines

# Each room may import itself and the rooms named beside it. A module in no room fails the test:
# the table is the map, so it has to be whole.
BASE = {"errors", "command", "files", "labels", "schema", "audio", "hub", "repository", "dataset"}
BASE |= {"launch", "scores", "metrics", "protocols"}  # folds are part of the published dataset
BASE |= {"recordings"}
FEATURES = {
    "encoder",
    "ctranslate2",
    "shards",
    "index",
    "embeddings",
    "clips",
    "decoding",
    "pipeline",
}
FEATURES |= {"engine", "embed", "silent_clips", "augment", "degradation"}
EXPERIMENTS = {"predictions", "resampling", "heads", "cell", "data", "experiment", "run"}
EXPERIMENTS |= {"mixture", "neighbours", "batches", "optimiser", "stopping", "training"}
EXPERIMENTS |= {"adapt", "linear", "groups", "configuration", "modeling", "checkpoint"}
EXPERIMENTS |= {"calibration", "classes", "reader", "tuning"}
RESULTS = {"statistics", "significance", "summary", "figures", "page", "report"}
RESULTS |= {"model_card", "predict", "final", "benchmark"}
DOORS = {"cli", "demo", "push", "space", "train"}
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "base": (BASE, set()),
    "features": (FEATURES, {"base"}),
    "experiments": (EXPERIMENTS, {"base", "features"}),
    "results": (RESULTS, {"base", "features", "experiments"}),
    "dataset_scripts": (set(), {"base"}),
    "hub_cards": (set(), set()),
    "space": (set(), {"base", "features", "experiments", "results", "dataset_scripts"}),
    "doors": (DOORS, {"base", "features", "experiments", "results", "dataset_scripts"}),
}
PACKAGES = ("ser_generalize", "dataset_scripts", "hub_cards", "space")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "torch.load", "pandas.read_pickle", "pd.read_pickle"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room(module: str) -> str:
    """Return the room of a dotted module name."""
    package, _, name = module.partition(".")
    if package != "ser_generalize":
        return package
    found = [room for room, (names, _) in ROOMS.items() if name.partition(".")[0] in names]
    assert len(found) == 1, f"{module} is in {found or 'no room'}: put it into one, in this table"
    return found[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules of this project that are imported at run time, in functions as well."""
    for node in at_run_time(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where they lead"
            module = str(node.module)
            # `from ser_generalize import heads` names a module, `__version__` does not.
            below = [f"{module}.{alias.name}" for alias in node.names]
            names = [name for name in below if is_module(name)] or [module]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in PACKAGES)


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (inner for each in node.orelse for inner in (each, *at_run_time(each)))
        else:
            yield node
            yield from at_run_time(node)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), named(path))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_go_one_way(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if module == "ser_generalize.__init__":  # the doorstep: whatever is here, everybody imports
        assert not list(imported(parsed(path)))
        return
    here = room(module)
    allowed = {here, *ROOMS[here][1]}
    for name in imported(parsed(path)):
        if name != "ser_generalize":
            assert room(name) in allowed, f"{module} ({here}) imports {name} ({room(name)})"


def test_the_table_names_no_module_that_is_gone() -> None:
    here = ROOT / "ser_generalize"
    there = {
        path.relative_to(here).parts[0].removesuffix(".py")
        for path in MODULES
        if here in path.parents
    }
    listed = [name for names, _ in ROOMS.values() for name in names]
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) == there - {"__init__"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_nothing_unpickles_or_evaluates(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = (
                {alias.name.partition(".")[0] for alias in node.names} if not module else {module}
            )
            assert not names & FORBIDDEN_MODULES
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_CALLS, f"{named(path)}:{node.lineno} calls {called}"
            for keyword in node.keywords:
                pickled = keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
                assert not pickled, f"{named(path)}:{node.lineno} allows pickles"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_no_file_is_too_long_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_every_folder_of_modules_is_a_package_that_a_wheel_takes_along() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = set(find_packages(str(ROOT), **config["packages"]["find"]))
    folders = {".".join(path.relative_to(ROOT).parent.parts) for path in MODULES}
    assert folders <= found
