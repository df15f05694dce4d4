"""How long it takes to begin: the import of `backbones` beside torch's, and a detector's first step.

Each call is a process of its own. Files are in the system's cache after the first.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from backbones import IMAGENET_INPUT, WeightsHeader, create_model, save_weights
from benchmarks.backbone_speed import Pair
from foundation.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
TRAINING = (str(ROOT / "tools/train_det.py"), "--overwrite", "run.log_every=1")
# SGD and RoIAlign load the second, whoever trains with them.
IMPORTS = ("torch", "torch._dynamo", "torchvision")


def start_calls() -> Iterator[Pair]:
    """The import of `backbones`, and the default training on Shapes up to the line about its first step."""
    yield "import of backbones (peer: of torch)", partial(load, "backbones"), partial(load, "torch")
    with tempfile.TemporaryDirectory() as folder:
        save_starting_weights(Path(folder))
        yield (
            f"tools/train_det.py, first step (peer: imports of {', '.join(IMPORTS)})",
            partial(take_first_step, folder),
            partial(load, *IMPORTS),
        )


def load(*modules: str) -> None:
    """Imports modules in a process."""
    subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], cwd=ROOT, check=True)


def save_starting_weights(folder: Path) -> None:
    """Writes random weights to where the default configuration expects them, below the working directory."""
    path = folder / "runs/shapes_r18/last.safetensors"
    path.parent.mkdir(parents=True)
    model = create_model("resnet18", num_classes=10)
    save_weights(path, model.state_dict(), WeightsHeader("resnet18", model.options, IMAGENET_INPUT))


def take_first_step(folder: str) -> None:
    """Starts the training with this working directory, where it has its data, and ends it after one step.

    Raises:
        UserError: the training ended before.
    """
    command, environment = [sys.executable, *TRAINING], {**os.environ, "DATA_ROOT": folder}
    lines = []
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            lines.append(line)
            if line.startswith("step 1/"):
                process.kill()
                return
    raise UserError(f"expected a first step of {TRAINING[0]}, but it ended: {''.join(lines[-1:]).strip()}")
