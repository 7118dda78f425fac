"""What tests share: a small fabricated corpus, a tiny random Whisper, and what is built of them."""

import os
import signal
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

# Set before datasets and huggingface_hub are imported: they read these once. Nothing of the user's
# caches is touched, and nothing is asked of the network.
_CACHE = tempfile.mkdtemp(prefix="ser-generalize-tests-")
os.environ |= {"HF_HOME": f"{_CACHE}/hf", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
os.environ["HF_HUB_DISABLE_XET"] = "1"  # the Hub that tests start speaks plain HTTP
# A shell that starts the tests in the background has Ctrl-C ignored, in all that they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process of a test compiles the package
os.environ["OMP_NUM_THREADS"] = "1"  # threads wait for one another longer than tiny models compute

import pytest  # noqa: E402
from hub_server import WRITER, Hub, serving_hub  # noqa: E402
from huggingface_hub import constants  # noqa: E402
from huggingface_hub.utils import _http  # noqa: E402
from make_copies import Clips, Tree, complete_copy, parsed  # noqa: E402
from make_download import ZIP  # noqa: E402
from make_encoder import write_encoder  # noqa: E402
from make_runs import SMOTE, trained  # noqa: E402
from make_server import Files, serving  # noqa: E402

from dataset_scripts import download  # noqa: E402
from dataset_scripts.build import build  # noqa: E402
from dataset_scripts.fabricate import fabricate_corpus  # noqa: E402
from ser_generalize.embed import embed  # noqa: E402
from ser_generalize.encoder import Settings  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real corpora and encoders, which a user does not have."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder `shared` (real audio, real encoders) beside the repository")
    return SHARED


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub, which is that of this process until the test ends; logged in as WRITER.

    A client that waits before it tries again does not wait here.
    """
    with serving_hub() as server:
        files = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None))
        yield server


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A server with one good archive of a corpus; who downloads from it does not wait."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF", 0.001)
    with serving(Files({"/corpus.zip": ZIP})) as server:
        yield server


@pytest.fixture
def encoder_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process keeps encoders that it has converted; nothing is there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ser-generalize"


@pytest.fixture(scope="session")
def tree(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Return the folder of a complete copy of a corpus, made once."""
    return cache(lambda name: complete_copy(name, shared, tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="session")
def clips_of(tree: Tree) -> Clips:
    """Return the clips of a complete copy of a corpus, parsed once."""
    return cache(lambda name: parsed(name, tree(name)))


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Whisper encoder with 2 layers of width 32, in the `transformers` layout."""
    return write_encoder(tmp_path_factory.mktemp("encoder") / "tiny-random")


@pytest.fixture(scope="session")
def raw_ravdess(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fabricated RAVDESS tree of 4 actors with 30 clips each."""
    folder = tmp_path_factory.mktemp("raw") / "ravdess"
    fabricate_corpus("ravdess", folder, speakers=4, clips=4)
    return folder


@pytest.fixture(scope="session")
def dataset(raw_ravdess: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset folder built from the fabricated tree."""
    folder = tmp_path_factory.mktemp("built") / "data"
    build("ravdess", raw_ravdess, folder)
    return folder


@pytest.fixture(scope="session")
def store(dataset: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedding store of that dataset under the tiny encoder, the same on every machine."""
    folder = tmp_path_factory.mktemp("embedded") / "store"
    embed(str(dataset), str(tiny_encoder), folder, settings=Settings(dtype="fp32"))
    return folder


@pytest.fixture(scope="session")
def noisy(dataset: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with every clip in noise."""
    folder = tmp_path_factory.mktemp("noisy") / "store"
    embed(
        str(dataset),
        str(tiny_encoder),
        folder,
        settings=Settings(dtype="fp32"),
        degradation="noise:0",
    )
    return folder


@pytest.fixture(scope="session")
def smote(dataset: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `train` that nothing happened to."""
    return trained(dataset, store, tmp_path_factory.mktemp("runs") / "smote", *SMOTE)
