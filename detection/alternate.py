"""Alternating training (Ren et al. 2015, §3.2): region proposals and Fast R-CNN in turn, each in a folder."""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detection.build import build_detector, load_detector
from detection.config import DetectionConfig
from detection.data.annotations import DetectionDataset
from detection.heads.candidates import Detections
from detection.metrics.proposal_recall import proposal_recall
from detection.model.detector import FasterRCNN, TwoTrunkRCNN
from detection.predictor import guess_evaluation, predict_dataset
from detection.types import Batch
from foundation.atomic_files import replace_atomically
from training.devices import is_main
from training.run import Evaluation, Task, train
from training.run_folder import RunFolder, open_run
from training.seeding import seed_everything

MakeTask = Callable[[DetectionConfig, FasterRCNN, DetectionDataset, DetectionDataset, Path], Task]


@dataclass(frozen=True)
class Step:
    """One training: its folder, and the parts of the detector that learn."""

    name: str
    learning: tuple[str, ...]


UNSHARED = (Step("step1_rpn", ("proposal_trunk", "rpn")), Step("step2_fast_rcnn", ("trunk", "roi_heads")))
SHARED = (Step("step3_rpn", ("rpn",)), Step("step4_fast_rcnn", ("roi_heads",)))


class ProposalNetwork(nn.Module):
    """The part of a detector that learns to propose: in training its losses, otherwise its proposals."""

    def __init__(self, detector: FasterRCNN) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: Batch) -> dict[str, Tensor] | Detections:
        """The RPN's losses, or every proposal as a detection of class 1 and probability 1."""
        proposals, losses = self.detector.propose(batch)
        if self.training:
            return losses
        ones = proposals.valid.long()
        return Detections(proposals.boxes, ones.float(), ones, proposals.valid)


@dataclass(frozen=True)
class Alternation:
    """The steps of a run, each a training of its own in a folder of `out`.

    The network of the step before, which is fixed, proposes anew for every picture. That costs nothing in
    step 4, where features are shared, and a forward pass of a trunk in step 2. Files of proposals would save
    the latter, but take gigabytes and fit one way to resize and crop pictures.

    Attributes:
        task: makes what a joint training of a detector would be; `detection.train.detection_task`.
    """

    config: DetectionConfig
    training: DetectionDataset
    validation: DetectionDataset
    out: Path
    device: torch.device
    task: MakeTask

    @property
    def steps(self) -> tuple[Step, ...]:
        """What `config.training` asks for."""
        return UNSHARED if self.config.training == "two_stage" else UNSHARED + SHARED

    def run(self, folder: RunFolder) -> dict[str, Any]:
        """Takes all steps; afterwards the opened folder holds the detector as a joint training's would.

        Returns:
            What result.json holds: the last step's result, and the scores of all under "steps".
        Raises:
            UserError: as `training.run.train`.
        """
        if is_main() and folder.resuming:
            folder.log.begin()  # each step's own folder goes on, or begins
        elif is_main():
            for step in UNSHARED + SHARED:
                RunFolder(self.out / step.name).clear()
            folder.begin(self.config)
        scores, result, before = {}, {}, None
        for step in self.steps:
            result = self._take(step, before)
            scores[step.name] = result["scores"]
            before = self.out / step.name / "last.safetensors"
        result |= {"steps": scores}
        if is_main():
            for name in ("best.safetensors", "last.safetensors", "predictions.json"):
                with replace_atomically(self.out / name) as temporary:
                    shutil.copyfile(self.out / self.steps[-1].name / name, temporary)
            folder.write_result(result)
        return result

    def _take(self, step: Step, before: Path | None) -> dict[str, Any]:
        """Trains one step, or what is left of it, from the weight file of the one before."""
        out = self.out / step.name
        seed_everything(self.config.run.seed)  # as if the step were the first of the process
        config = self.config if step in SHARED else replace(self.config, training="two_stage")
        with open_run(out, config, resume=(out / "config.yaml").is_file()) as folder:
            if folder.result is not None:
                return folder.result
            model = self._detector(step, config, before, folder.network)
            for name, part in model.named_children():
                if name not in step.learning:
                    part.requires_grad_(False)
            model.to(self.device)
            task = self.task(config, model, self.training, self.validation, out)
            task = self._of_proposals(task, model) if "rpn" in step.learning else _of_regions(task)
            return train(task, config, folder)

    def _detector(
        self, step: Step, config: DetectionConfig, before: Path | None, known: Mapping[str, Any] | None
    ) -> FasterRCNN:
        """The detector as a step begins with it; trunks that do not learn have frozen normalisation."""
        if before is None:
            return build_detector(config, len(self.training.classes), known)
        model, fixed = (load_detector(before, options).model for options in ((), ["backbone.norm=frozen"]))
        if step in SHARED:
            return FasterRCNN(fixed.trunk, model.rpn, model.roi_heads)
        assert isinstance(fixed, TwoTrunkRCNN)
        return TwoTrunkRCNN(fixed.proposal_trunk, model.trunk, model.rpn, model.roi_heads)

    def _of_proposals(self, task: Task, detector: FasterRCNN) -> Task:
        """The task of an RPN: its own losses, judged by the recall of its proposals."""
        network: Any = ProposalNetwork(detector)

        def evaluate() -> Evaluation:
            proposals = predict_dataset(network, self.validation, self.config.data, self.config.run)
            recall = proposal_recall(proposals, self.validation.targets)
            average = recall["average_recall"]
            return Evaluation(math.nan if average is None else -average, {"scores": recall}, fractions=True)

        guess = partial(guess_evaluation, network, self.validation, self.config.data, self.config.run)
        return replace(task, model=network, evaluate=evaluate, guess_seconds=guess)


def _of_regions(task: Task) -> Task:
    """The task of Fast R-CNN: the RPN, which is fixed, has losses that teach nothing."""

    def losses(network: nn.Module, batch: Any) -> dict[str, Tensor]:
        terms = task.losses(network, batch)
        return {name: value for name, value in terms.items() if not name.startswith("loss_rpn")}

    return replace(task, losses=losses)
