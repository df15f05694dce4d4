"""The command lines, in this process or in one of their own, on small generated data."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from classification.data.shapes_folders import ensure_shapes as ensure_classification
from detection.data.shapes_scenes import ensure_shapes as ensure_detection


@pytest.fixture(scope="session")
def tiny_classifier() -> list[str]:
    """Options that make pretraining take seconds."""
    return [
        *("model.name=resnet8_cifar", "data.image_size=16", "data.resize=16"),
        *("optim.batch_size=8", "optim.reference_batch=8", "schedule.warmup_steps=0"),
        *("schedule.total_steps=12", "run.eval_every=6", "run.checkpoint_every=4", "run.log_every=1"),
    ]


@pytest.fixture(scope="session")
def tiny_detector() -> list[str]:
    """Options that make fine-tuning from scratch take seconds."""
    return [
        *("data.kind=coco", "data.short_side=64", "data.max_side=96", "backbone.weights=null"),
        *("backbone.norm=batch", "backbone.frozen_stages=0", "rpn.anchor_sizes=[16, 32]", "rpn.channels=16"),
        *("rpn.pre_nms_train=50", "rpn.post_nms_train=20", "rpn.pre_nms_test=20", "rpn.post_nms_test=8"),
        *("roi.size=2", "roi.regions_per_image=4", "optim.batch_size=2", "optim.reference_batch=2"),
        *("schedule.warmup_steps=0", "schedule.total_steps=8"),
        *("run.eval_every=4", "run.checkpoint_every=3", "run.log_every=1"),
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


@pytest.fixture(scope="session")
def start(root: Path, data_folder: Path) -> Callable[..., subprocess.Popen]:
    """Starts a command line as a process of its own; `processes` of them under torchrun."""

    def popen(name: str, *arguments: object, processes: int = 1) -> subprocess.Popen:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [
            *(sys.executable, *(torchrun if processes > 1 else [])),
            *(str(root / "tools" / f"{name}.py"), *map(str, arguments)),
        ]
        environment = {**os.environ, "DATA_ROOT": str(data_folder), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    return popen
