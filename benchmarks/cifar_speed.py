"""Training steps on CIFAR-10, from pictures to weights: ours beside the usual loop over a loader."""

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from backbones import create_model
from benchmarks.backbone_speed import Pair, kept_for_backward
from benchmarks.picture_speed import cifar_augmentation
from classification.data.cifar10 import all_views, augmented
from classification.data.labelled_batches import Batch, PicturesOnDevice
from reproduction.tables import markdown_table
from training.compile import compile_blocks, recompute_blocks
from training.devices import emulates_bf16
from training.graph import GraphedSteps
from training.loader import TrainSampler
from training.loop import TrainingStep, TrainState, fit
from training.optim import OptimConfig, build_optimizer
from training.schedule import ScheduleConfig

NETWORKS = {"cpu": ("resnet20_cifar",), "cuda": ("resnet20_cifar", "resnet56_cifar", "resnet110_cifar")}
STEPS = {"cpu": 4, "cuda": 200}  # a round
WORKERS = {"cpu": 2, "cuda": 4}
BATCH = 128
OPTIM = OptimConfig(batch_size=BATCH, reference_batch=BATCH)


def pictures() -> tuple[Tensor, Tensor]:
    """As many noise pictures as CIFAR-10 has to train on: (50000, 3, 32, 32) uint8, and labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (50_000, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.randint(10, (50_000,), generator=generator)


def cifar_calls(device: str) -> Iterator[Pair]:
    """STEPS training steps a call. Ours: bf16, compiled and captured on a GPU; fp32 and eager on a CPU."""
    images, labels = pictures()
    bf16 = device == "cuda" and not emulates_bf16(torch.device(device))
    how = "captured, compiled, bf16" if device == "cuda" else "eager, fp32"
    for name in NETWORKS[device]:
        ours = OurLoop(name, images, labels, torch.device(device), bf16=bf16)
        peer = LoaderLoop(name, images, labels, device)
        title = f"{name}, {STEPS[device]} steps of {BATCH} ({how}; peer: eager fp32 loop over a loader)"
        yield title, ours, peer


def recompute_table() -> str:
    """What autograd keeps of a batch, with and without `training.compile.recompute_blocks`; Markdown.

    Counted on the CPU of two pictures, and scaled to a batch.
    """
    images = torch.zeros(2, 3, 32, 32)
    rows = []
    for name in ("resnet20_cifar", "resnet110_cifar", "resnet1202_cifar"):
        kept = []
        for bf16 in (False, True):
            network = create_model(name)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                kept.append(kept_for_backward(network, images))
                recompute_blocks(network)
                kept.append(kept_for_backward(network, images))
        rows.append([name, *(f"{n * BATCH / len(images) / 2**30:.2f}" for n in kept)])
    precisions = ["fp32", "fp32, recomputed", "bf16", "bf16, recomputed"]
    return markdown_table([f"kept of {BATCH} pictures, GiB", *precisions], rows)


class OurLoop:
    """Our training loop over pictures that lie on the device."""

    def __init__(
        self, name: str, images: Tensor, labels: Tensor, device: torch.device, *, bf16: bool
    ) -> None:
        model = create_model(name, num_classes=10).to(device)
        model.to(memory_format=torch.channels_last)
        mean_views = all_views(images[:1000].float().mean(0) / 255).to(device)

        def losses(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
            x = augmented(batch.images, mean_views, batch.seeds)
            logits = network(x.contiguous(memory_format=torch.channels_last))
            wrong = logits.detach().argmax(dim=1) != batch.labels
            return {
                "loss": nn.functional.cross_entropy(logits, batch.labels),
                "top1_error": 100 * wrong.float().mean(),
            }

        plan = ScheduleConfig(total_steps=10**9)
        step = TrainingStep(
            model, losses, optim=OPTIM, schedule=plan, precision="bf16" if bf16 else "fp32", device=device
        )
        if device.type == "cuda":
            compile_blocks(model)
        self.step = GraphedSteps(step) if device.type == "cuda" else step
        self.state = TrainState(model, build_optimizer(model, OPTIM))
        resident = PicturesOnDevice(images.to(device), labels.to(device), "noise")
        self.draws = resident.drawn(TrainSampler(len(labels), BATCH, seed=0))
        self.steps = STEPS[device.type]

    def __call__(self) -> None:
        fit(self.state, self.draws, self.step, self.state.step + self.steps)


class PilPictures(Dataset[tuple[Tensor, int]]):
    """Single pictures through torchvision's transforms, as most CIFAR scripts have them."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.permute(0, 2, 3, 1).numpy(), labels.tolist()
        self.transform = cifar_augmentation()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class LoaderLoop:
    """Workers, NCHW, fp32, and the loss and accuracy fetched in every step."""

    def __init__(self, name: str, images: Tensor, labels: Tensor, device: str) -> None:
        self.device, self.steps = device, STEPS[device]
        self.model = create_model(name, num_classes=10).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
        options: dict[str, Any] = {"num_workers": WORKERS[device], "pin_memory": device == "cuda"}
        loader = DataLoader(PilPictures(images, labels), BATCH, shuffle=True, drop_last=True, **options)
        self.batches = (batch for _ in count() for batch in loader)

    def __call__(self) -> None:
        self.model.train()
        for images, labels in islice(self.batches, self.steps):
            images = images.to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
            logits = self.model(images)
            loss = nn.functional.cross_entropy(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item(), (logits.argmax(1) == labels).float().mean().item()
