"""Fixtures and marks every test may use."""

import json
import os
import pickle
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import nn

from classification.data.cifar10 import TRAIN_FILES
from training.seeding import seed_everything

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("repeatable", derandomize=True, deadline=None)  # the same cases in every run
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
    torch.set_num_threads(1)  # the tests are small, and several threads on a busy machine stall each other


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    seed_everything(0)  # fixtures draw the same whichever test asks for them first


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    seed_everything(0)  # a test draws the same whichever tests ran before it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
        if "slow" in item.keywords and os.environ.get("RUN_SLOW") == "0":
            item.add_marker(pytest.mark.skip(reason="RUN_SLOW=0"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def made() -> Callable[..., list[list[str]]]:
    """made("demo", "VENV=folder"): the commands that `make` would call, word by word."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")

    def commands(*arguments: str) -> list[list[str]]:
        command = ["make", "--dry-run", *arguments]
        lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [shlex.split(line) for line in lines.replace("\\\n", " ").splitlines()]

    return commands


@pytest.fixture(scope="session")
def bounded() -> Callable[[], AbstractContextManager[None]]:
    """with bounded(): what would take hours without a bound takes ten seconds at most.

    Processor time, and far more than is needed, since a busy machine must not decide.
    """

    @contextmanager
    def limit() -> Iterator[None]:
        started = time.process_time()
        yield
        assert time.process_time() - started < 10

    return limit


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real pictures and reference values; the test skips where it is absent."""
    folder = Path(os.environ.get("REAL_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def kill_after() -> Callable[[float, Callable[[], object]], None]:
    """kill_after(seconds, function) runs the function in a process that is killed after so many seconds."""

    def run(seconds: float, function: Callable[[], object]) -> None:
        process = os.fork()  # a new Python would take a hundred times as long to start as most functions run
        if process == 0:
            try:
                function()
            finally:
                os._exit(0)
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)

    return run


@pytest.fixture(scope="session")
def in_processes(root: Path) -> Callable[..., list[Any]]:
    """Runs a Python script in several processes that find each other, as under torchrun, but started sooner.

    in_processes(script, *arguments, count=2) gives what each printed, read as JSON, in order of rank.
    """

    def run(script: str, *arguments: object, count: int = 2) -> list[Any]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", script, *map(str, arguments)],
                cwd=root,
                env={**os.environ, **place, "RANK": str(number), "WORLD_SIZE": str(count)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]
        return [json.loads(process.communicate(timeout=120)[0]) for process in processes]

    return run


@dataclass
class Publisher:
    """A server on this machine in place of those that publish weights.

    Attributes:
        url: of the server, without a slash at its end.
        cache: folder of $RESIDUAL_CACHE.
        files: path, from its slash on → content.
        headers: path → headers more; with "Location" the answer is a redirect.
        cut: paths whose connection ends after half of the content.
        pauses: path → seconds without a byte after half of the content.
        asked: paths in the order of the requests.
    """

    url: str
    cache: Path
    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    pauses: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        self.asked.append(path)
        headers = self.headers.get(path, {})
        if path not in self.files and not headers:
            request.send_error(404)
            return
        content = self.files.get(path, b"")
        request.send_response(302 if "Location" in headers else 200)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        half = len(content) // 2
        request.wfile.write(content[:half])
        time.sleep(self.pauses.get(path, 0))
        if path not in self.cut:
            with suppress(ConnectionError):  # who asked may have given up meanwhile
                request.wfile.write(content[half:])


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """A server whose files and faults a test sets, and caches of its own, all empty."""
    cache = tmp_path / "cache"
    for name, folder in {
        "RESIDUAL_CACHE": cache,
        "TORCH_HOME": tmp_path / "torch",
        "HF_HOME": tmp_path / "hf",
    }.items():
        monkeypatch.setenv(name, str(folder))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802, the name that http.server calls
            found.answer(self)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Publisher(f"http://127.0.0.1:{server.server_port}", cache)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield found
        server.shutdown()


@pytest.fixture
def randomise_norms() -> Callable[[nn.Module], None]:
    """Random affine parts and statistics: with the initial ones a mistake in their use would go unseen."""

    def randomise(network: nn.Module) -> None:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.normal_(module.bias, std=0.1)
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 2.0)

    return randomise


CLASSES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]


def _write_cifar_file(path: Path, data: np.ndarray, labels: list[int]) -> None:
    path.write_bytes(pickle.dumps({b"data": data, b"labels": labels}, protocol=3))


@pytest.fixture(scope="session")
def cifar_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole cifar-10-batches-py. All pixels are 0 but these.

    In data_batch_k every red value is 10·k; the label of picture i is i modulo 10. In test_batch the first
    three values of picture 0 are 1, 2, 3 and value 1024 (green, top left) is 4. Picture 45,000 of
    the training files, the first of val5k, has label 3 instead of 0.
    """
    root = tmp_path_factory.mktemp("data") / "cifar-10-batches-py"
    root.mkdir()
    labels = [i % 10 for i in range(10_000)]
    for k, name in enumerate(TRAIN_FILES, start=1):
        data = np.zeros((10_000, 3072), np.uint8)
        data[:, :1024] = 10 * k
        marked = [*labels[:5_000], 3, *labels[5_001:]] if k == 5 else labels
        _write_cifar_file(root / name, data, marked)
    data = np.zeros((10_000, 3072), np.uint8)
    data[0, [0, 1, 2, 1024]] = [1, 2, 3, 4]
    _write_cifar_file(root / "test_batch", data, labels)
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": CLASSES}, protocol=3))
    return root


@pytest.fixture
def coco_content() -> dict[str, Any]:
    """Three pictures of 6 x 4 (width x height): objects, a crowd, nothing; category ids with a gap."""
    return {
        "images": [
            {"id": 30, "file_name": "c.jpg", "height": 4, "width": 6},
            {"id": 10, "file_name": "a.jpg", "height": 4, "width": 6},
            {"id": 20, "file_name": "b.jpg", "height": 4, "width": 6},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            annotation(1, 10, 18, [1, 0, 3, 2], [[1, 0, 4, 0, 4, 2, 1, 2]]),
            # Columns first: 0…7 empty, column 2 filled (4 pixels), the other 12 empty.
            {**annotation(2, 30, 1, [2, 0, 1, 4], {"size": [4, 6], "counts": [8, 4, 12]}), "iscrowd": 1},
            annotation(3, 10, 1, [4, 1, 2, 3], [[4, 1, 6, 1, 6, 4, 4, 4]]),
        ],
    }


def annotation(number: int, image: int, category: int, box: list, segmentation: Any) -> dict[str, Any]:
    """One entry of COCO's `annotations`."""
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "segmentation": segmentation,
        "iscrowd": 0,
    }


@pytest.fixture
def write_coco(tmp_path: Path, coco_content: dict[str, Any]) -> Callable[..., Path]:
    """Writes a COCO file, `coco_content` unless told, and black pictures beside it; returns the file."""

    def write(content: Any = coco_content) -> Path:
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(content))
        for name in "abc":
            Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(tmp_path / f"{name}.jpg")
        return path

    return write


@pytest.fixture
def coco_root(write_coco: Callable[..., Path], tmp_path: Path) -> Path:
    """`write_coco`'s set as open_dataset wants it, with the one split "val"."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    write_coco().rename(root / "annotations" / "instances_val.json")
    (root / "val").mkdir()
    for name in "abc":
        (tmp_path / f"{name}.jpg").rename(root / "val" / f"{name}.jpg")
    return root
