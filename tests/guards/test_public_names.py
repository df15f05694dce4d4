"""The names others build on. A change here is a change of contract: say it in CHANGELOG.md."""

import importlib

import pytest

PUBLIC = {
    "backbones": [
        "FeatureSpec", "InputSpec", "IMAGENET_INPUT", "OptionError", "WeightsError", "WeightsHeader",
        "create_backbone", "create_model", "create_trunk_and_head", "list_models",
        "load_into", "load_network", "read_weights", "save_weights",
    ],
    "backbones.weights.hub": ["model_card", "pull", "push"],
    "backbones.adapters.torchvision": ["Pyramid", "detector_arguments", "normalisation"],
    "backbones.export": ["check_export", "export"],
    "backbones.convert": ["FORMATS", "Conversion", "convert", "rewrite_input", "same_pictures"],
    "backbones.norm": ["FrozenBatchNorm2d", "calibrate_batchnorm", "fold_batchnorm", "freeze_batchnorm"],
    "backbones.lesion": ["find_blocks", "reordered_blocks", "without_blocks"],
    "backbones.explain.grad_cam": ["explain_answers", "explain_maps"],
    "backbones.complexity": ["count_parameters", "layer_table", "multiply_adds"],
    "training.loop": ["TrainState", "TrainingStep", "fit"],
    "training.config": ["dump_config", "load_config"],
    "classification.loaded_classifier": ["Classification", "Classifier", "load"],
    "classification.pretrain": ["pretrain"],
    "classification.score.weight_evaluation": ["score_ensemble", "score_weights"],
    "detection.loaded_detector": ["Detector", "load"],
    "detection.explain.detection_heat": ["explain_detections"],
    "detection.export": ["check_export", "export"],
    "detection.train": ["finetune"],
    "detection.types": ["Prediction", "Target"],
    "detection.metrics.voc_ap": ["evaluate"],
    "detection.metrics.coco_ap": ["evaluate"],
    "segmentation.export": ["check_export", "export"],
    "segmentation.loaded_segmenter": ["PictureSegmenter", "load"],
    "segmentation.model.segmenters_by_name": ["create_model", "list_models", "load_network"],
    "segmentation.model.segmenter_weights": ["load_segmenter_weights", "segmenter_header"],
    "segmentation.data.segmentation_sets": ["SegmentationData", "check_set", "open_set"],
    "segmentation.metrics.confusion_matrix": ["ConfusionMatrix", "count_pixels"],
    "segmentation.metrics.label_figures": ["score_matrix"],
    "segmentation.types": ["IGNORED", "Batch", "SegmentationDataset"],
    "analysis.responses": ["measure_responses"],
    "analysis.signal": ["measure_signal"],
    "analysis.lesions": ["measure_lesions"],
    "analysis.paths": ["measure_paths"],
    "analysis.gradients": ["measure_gradients"],
    "analysis.shattering": ["measure_shattering"],
    "analysis.similarity": ["BatchedCKA", "measure_similarity"],
    "analysis.surface": ["draw_direction", "measure_surface"],
    "analysis.maps.receptive_fields": ["measure_fields", "measure_receptive_fields"],
    "backbones.explain.theoretical_fields": ["find_fields"],
    "analysis.maps.heat_maps": ["measure_heat_maps"],
    "reproduction.analyze": ["analyze"],
}  # fmt: skip


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_exist(module: str):
    names = vars(importlib.import_module(module))
    assert [name for name in PUBLIC[module] if name not in names] == []
