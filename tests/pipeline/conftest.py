"""The command lines, in this process or in one of their own, on small generated data."""

import importlib.util
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from classification.data.shapes_folders import ensure_shapes as ensure_classification
from detection.data.shapes_scenes import ensure_shapes as ensure_detection
from foundation.errors import UserError
from foundation.file_naming import printable


@pytest.fixture(scope="session")
def tiny_classifier() -> list[str]:
    """Options that make pretraining take seconds."""
    return [
        *("model.name=resnet8_cifar", "data.image_size=16", "data.resize=16"),
        *("optim.batch_size=8", "optim.reference_batch=8", "schedule.warmup_steps=0"),
        *("schedule.total_steps=12", "run.eval_every=6", "run.checkpoint_every=4", "run.log_every=1"),
        "run.pictures=false",
    ]


@pytest.fixture(scope="session")
def tiny_detector() -> list[str]:
    """Options that make fine-tuning from scratch take seconds."""
    return [
        *("data.kind=coco", "data.train=train", "data.val=val"),
        *("data.short_side=64", "data.max_side=96", "backbone.weights=null"),
        *("backbone.norm=batch", "backbone.frozen_stages=0", "rpn.anchor_sizes=[16, 32]", "rpn.channels=16"),
        *("rpn.pre_nms_train=50", "rpn.post_nms_train=20", "rpn.pre_nms_test=20", "rpn.post_nms_test=8"),
        *("roi.size=2", "roi.regions_per_image=4", "optim.batch_size=2", "optim.reference_batch=2"),
        *("schedule.warmup_steps=0", "schedule.total_steps=8"),
        *("run.eval_every=4", "run.checkpoint_every=3", "run.log_every=1"),
        "run.pictures=false",
    ]


@pytest.fixture(scope="session")
def tiny_segmenter() -> list[str]:
    """Options that make segmentation of Shapes, from scratch, take seconds."""
    return [
        *("data.kind=shapes", "data.crop=32", "data.short_side=48", "model.name=fcn_resnet8_cifar"),
        *("model.output_stride=4", "model.aux=false", "optim.batch_size=4", "optim.reference_batch=4"),
        *("schedule.total_steps=8", "run.eval_every=4", "run.checkpoint_every=3", "run.log_every=1"),
        "run.pictures=false",
    ]


@pytest.fixture(scope="session")
def tiny_localizer() -> list[str]:
    """Options that make localization on Shapes, from scratch, take seconds."""
    return [
        *("data.kind=shapes_loc", "data.image_size=32", "testing.scales=[32]", "feature=res4"),
        *("backbone.name=resnet8_cifar", "backbone.norm=batch", "backbone.frozen_stages=0"),
        *("rpn.channels=8", "testing.best=20"),
        *("optim.batch_size=4", "optim.reference_batch=4", "schedule.warmup_steps=0"),
        *("schedule.total_steps=8", "run.eval_every=4", "run.checkpoint_every=3", "run.log_every=1"),
        "run.pictures=false",
    ]


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A $DATA_ROOT with both Shapes sets, and `coco/` with 8 training and 4 validation pictures of them."""
    folder = tmp_path_factory.mktemp("data")
    ensure_classification(folder / "shapes")
    shapes = ensure_detection(folder / "shapes").coco
    (folder / "coco" / "annotations").mkdir(parents=True)
    for split, count in (("train", 8), ("val", 4)):
        name = f"annotations/instances_{split}.json"
        content = json.loads((shapes / name).read_text())
        content["images"] = content["images"][:count]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
        (folder / "coco" / name).write_text(json.dumps(content))
        (folder / "coco" / split).mkdir()
        for image in content["images"]:
            shutil.copy(shapes / split / image["file_name"], folder / "coco" / split)
    return folder


@pytest.fixture
def tool(root: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Calls a command line in this process: tool("pretrain", "--out", folder, "optim.lr=1")."""

    def call(name: str, *arguments: object) -> None:
        spec = importlib.util.spec_from_file_location(f"tool_{name}", root / "tools" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.setenv("DATA_ROOT", os.environ.get("DATA_ROOT", str(data_folder)))
        module.run(module.main, module.parser())

    return call


@pytest.fixture
def refused(tool: Callable[..., None], capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Calls a command line that must end with status 2; gives its one-screen message."""

    def call(name: str, *arguments: object) -> str:
        with pytest.raises(SystemExit) as left:
            tool(name, *arguments)
        message = capsys.readouterr().err
        assert left.value.code == 2, message
        message = message[message.index("error: ") :]
        assert "Traceback" not in message and len(message.splitlines()) <= 25
        return message

    return call


# Imports torch once, which takes seconds, and then forks a process for every command line.
FORKS = """
import json, os, runpy, sys
import classification.pretrain, detection.train, detection.localization.localization_training
import segmentation.segmenter_training
for line in sys.stdin:
    what, given = json.loads(line)
    if what == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(given, 0)[1]), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        error, *sys.argv = given
        os.dup2(os.open(error, os.O_WRONLY), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        runpy.run_path(sys.argv[0], run_name="__main__")
        sys.exit()
"""


class Forked:
    """A command line in a process of its own, as far as `subprocess.Popen` is needed of it here."""

    def __init__(self, forks: subprocess.Popen, folder: Path, command: list[str]) -> None:
        self.forks, error = forks, folder / "stderr"
        error.unlink(missing_ok=True)
        os.mkfifo(error)
        self.pid = self.ask("start", [str(error), *command])
        self.stderr = error.open()

    def ask(self, what: str, given: object) -> int:
        print(json.dumps([what, given]), file=self.forks.stdin, flush=True)
        return int(self.forks.stdout.readline())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The exit status; minus the signal's number of a killed process."""
        said = self.stderr.read()
        self.stderr.close()
        status = self.ask("wait", self.pid)
        print(said)
        return status


@pytest.fixture(scope="session")
def start(
    root: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Any]]:
    """Starts a command line as a process of its own; `processes` of them under torchrun."""
    environment = {**os.environ, "DATA_ROOT": str(data_folder), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    forks = subprocess.Popen([sys.executable, "-c", FORKS], cwd=root, env=environment, **pipes)
    folder = tmp_path_factory.mktemp("forks")

    def begin(name: str, *arguments: object, processes: int = 1) -> Any:
        command = [str(root / "tools" / f"{name}.py"), *map(str, arguments)]
        if processes == 1:
            return Forked(forks, folder, command)
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *torchrun, *command]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    yield begin
    forks.stdin.close()
    forks.wait()


@pytest.fixture(scope="session")
def kill_at() -> Callable[[Any, int], None]:
    """Kills a training of `start` at a step."""

    def kill(process: Any, step: int) -> None:
        """SIGKILL as soon as the step is reported; the process may be anywhere after it by then."""
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith(f"step {step}/"):
                break
        process.kill()
        process.wait()
        assert lines and lines[-1].startswith(f"step {step}/"), "".join(lines)

    return kill


CASES = int(os.environ.get("FUZZ_CASES", "20"))
SECONDS, MEBIBYTES = 1.0, 100
NUMBERS = [
    0,
    1,
    127,
    128,
    255,
    256,
    32767,
    65535,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    (1 << 63) - 1,
]
ODD_VALUES = [
    *("null", "true", "-1", "0", "1e9", "1e308", "1e400", "NaN", "-Infinity", "96.0", "0.5", "[]", "{}"),
    *('""', '"0"', '"600"', "[0]", "[[[[]]]]", '{"a": [1]}', '"\\ud800"', "&a [*a]", "*b", "<<", "&#0;"),
    *("!!python/name:os.system", "<a>", "</a>", "..", "/", "\x1b[2J", "ü", "'", ": "),
    *(str(1 << 40), str(1 << 64), "9" * 400, "9" * 5000, "[" * 3000),
]  # fmt: skip


@st.composite
def changes(draw: st.DrawFn, content: bytes, text: bool) -> bytes:
    """The content after one to three changes."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        kinds = ["byte", "number", "insert", "cut", "drop", "repeat"]
        kind = draw(st.sampled_from(kinds + 6 * ["value"] * text))
        if kind == "byte":
            content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
        elif kind == "number":
            form = draw(st.sampled_from(["B", "<H", ">H", "<I", ">I", "<Q", ">Q"]))
            width = struct.calcsize(form)
            number = draw(st.sampled_from(NUMBERS)) & ((1 << 8 * width) - 1)
            content = content[:at] + struct.pack(form, number) + content[at + width :]
        elif kind == "insert":
            content = content[:at] + draw(st.binary(max_size=8)) + content[at:]
        elif kind == "cut":
            content = content[:at]
        elif kind == "drop":
            content = content[:at] + content[at + draw(st.integers(1, 40)) :]
        elif kind == "repeat":
            part = content[at : at + draw(st.integers(1, 60))]
            content = content[:at] + part * draw(st.integers(2, 50)) + content[at + len(part) :]
        else:
            places = [m.span() for m in re.finditer(rb'-?\d+(\.\d+)?|"[^"]*"|\b[a-z_]{3,}\b', content)] or [
                (0, 0)
            ]
            start, end = draw(st.sampled_from(places))
            content = content[:start] + draw(st.sampled_from(ODD_VALUES)).encode() + content[end:]
    return content


def peak(reset: bool = False) -> int:
    """The most memory this process held since the last reset, in MiB; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) >> 10


@pytest.fixture
def fuzzed() -> Callable[..., None]:
    """Changes a file many times: each is read, or refused in one line, in a second and 100 MiB.

    fuzzed(path, content, read, text=False): the content of a sound file, what is tried with its path, and
    whether values of its text are replaced, too.
    """

    def try_many(path: Path, content: bytes, read: Callable[[Path], Any], *, text: bool) -> None:
        path.write_bytes(content)
        read(path)  # the sound file, which loads what is loaded once, too

        @settings(
            max_examples=CASES,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # to make a failing case smaller takes minutes
            suppress_health_check=list(HealthCheck),
        )
        @given(changes(content, text))
        def check(changed: bytes) -> None:
            path.write_bytes(changed)
            before, started = peak(reset=True), time.process_time()
            try:
                read(path)
            except UserError as error:
                lines = [line for line in printable(str(error)).splitlines() if line.strip()]
                # A configuration lists every wrong key.
                assert lines and (len(lines) == 1 or path.suffix == ".yaml")
            assert time.process_time() - started < SECONDS
            assert peak() - before < MEBIBYTES

        check()

    return try_many
