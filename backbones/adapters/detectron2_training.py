"""What detectron2's train_net.py does with a configuration, scored as COCO scores boxes and masks."""

from collections.abc import Mapping
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, hooks
from detectron2.evaluation import COCOEvaluator, verify_results
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.utils import comm
from torch import nn

from foundation.errors import OptionError


class Trainer(DefaultTrainer):
    """The trainer of detectron2 with an evaluator."""

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str, folder: str = "inference") -> COCOEvaluator:
        return COCOEvaluator(dataset_name, output_dir=f"{cfg.OUTPUT_DIR}/{folder}")

    @classmethod
    def test_augmented(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        """The scores on each picture resized and flipped as TEST.AUG says, the detections merged."""
        evaluators = [cls.build_evaluator(cfg, name, "inference_TTA") for name in cfg.DATASETS.TEST]
        results = cls.test(cfg, GeneralizedRCNNWithTTA(cfg, model), evaluators)
        return {f"{task}_TTA": scores for task, scores in results.items()}


def train_or_evaluate(cfg: CfgNode, *, resume: bool, eval_only: bool) -> Mapping[str, Any] | None:
    """Trains to SOLVER.MAX_ITER, or scores MODEL.WEIGHTS or the last checkpoint.

    TEST.AUG.ENABLED adds scores on augmented pictures at the end, and TEST.EXPECTED_RESULTS is verified after
    an evaluation.

    Returns:
        The scores: by task, or of several data sets by their names.
    Raises:
        OptionError: TEST.AUG.ENABLED with a detector that detectron2 cannot augment for.
    """
    augmented = cfg.TEST.AUG.ENABLED
    if augmented and cfg.MODEL.META_ARCHITECTURE != "GeneralizedRCNN":
        raise OptionError(
            "TEST.AUG.ENABLED: detectron2 augments for GeneralizedRCNN alone, not for "
            f"{cfg.MODEL.META_ARCHITECTURE}; set it to False"
        )
    if not eval_only:
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=resume)
        if augmented:
            trainer.register_hooks([hooks.EvalHook(0, lambda: Trainer.test_augmented(cfg, trainer.model))])
        return trainer.train()
    model = Trainer.build_model(cfg)
    DetectionCheckpointer(model, cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    results = Trainer.test(cfg, model)
    if augmented:
        results.update(Trainer.test_augmented(cfg, model))
    if comm.is_main_process():
        verify_results(cfg, results)
    return results
