"""Evaluation of weights and of result files: the score, and what else is asked of their predictions."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from backbones.lesion import without_blocks
from backbones.weights.downloads import digest
from detection.build import load_detector
from detection.config import DetectionConfig
from detection.data.coco_checks import read_coco, read_json
from detection.data.coco_dataset import CocoDataset, CocoSplit, coco_split_name
from detection.data.dataset_splits import open_dataset, parse_split
from detection.data.detection_batches import check_pictures
from detection.data.voc_dataset import VocDataset
from detection.improve.improve_options import ONE_LOOK, ImproveOptions
from detection.improve.improved_predictions import Improver
from detection.own_sets.given_sets import GivenSet, parse_given
from detection.predictor import predict_dataset
from detection.published_detectors import find_detector
from detection.results.detection_report import NOTHING, EvaluatedSplit, ReportOptions, write_reports
from detection.results.metrics_by_name import METRICS, as_result, score, score_records
from detection.results.result_records import from_coco_records, has_masks, to_coco_records, with_boxes
from foundation.atomic_files import write_json
from foundation.errors import UserError
from pictures.file_names import find_file
from training.config import load_config, override_values
from training.devices import is_main, process_group, resolve_device
from training.progress.computing_cost import measured


def evaluate(
    *,
    weights: str | None,
    predictions: str | None,
    dataset: str | None,
    method: str | None,
    without: Sequence[str],
    overrides: Sequence[str],
    out: Path | None,
    options: ReportOptions,
    improve: ImproveOptions = ONE_LOOK,
) -> dict[str, Any] | None:
    """Scores weights or a result file as the command asks; arguments are those of tools/eval_det.py.

    Raises:
        UserError: an argument has no effect with the others; else as the two functions below.
    """
    if weights and (dataset or method):
        raise UserError(
            "--dataset and --method belong to --predictions; with --weights choose the set with "
            f"data.root=DIR data.val=SPLIT and the metric with {' or '.join(f'metric={m}' for m in METRICS)}"
        )
    if weights and options.pictures:
        raise UserError("--pictures belongs to --predictions; with --weights choose data.root=DIR")
    if weights:
        # Behind --without argparse takes key=value for blocks.
        overrides = [name for name in without if "=" in name] + list(overrides)
        blocks = [name for name in without if "=" not in name]
        return score_weights(Path(weights), overrides, out, options, without=blocks, improve=improve)
    if improve.anything:
        raise UserError("--tiles and --tta belong to --weights: a result file looks at no picture")
    if without:
        raise UserError("--without belongs to --weights: a result file has no blocks that could be left out")
    if given := parse_given(dataset or ""):
        return score_predictions_of(predictions or "", given, method, overrides, out, options)
    if overrides:
        raise UserError(
            f"{overrides[0]} changes a detector's configuration, which belongs to --weights; with "
            "--predictions choose the set with --dataset and the metric with --method"
        )
    if method and (dataset or "").startswith("coco:"):
        raise UserError("--method is of VOC AP; leave it out with --dataset coco:…, or score on voc:…")
    return score_predictions_file(predictions or "", dataset, method or "area", out, options)


def score_weights(
    weights: Path,
    overrides: Sequence[str],
    out: Path | None,
    options: ReportOptions = NOTHING,
    *,
    without: Sequence[str] = (),
    improve: ImproveOptions = ONE_LOOK,
) -> dict[str, Any] | None:
    """Runs a detector over the validation split it was trained with and scores it.

    Args:
        overrides: changes to its configuration, for instance "data.val=2007:test". A split without
            annotations is predicted, not scored.
        out: folder for predictions.json and result.json; without it nothing is written.
        without: blocks of the backbone, as "res3.1", whose residuals are left out; see `backbones.lesion`.
        improve: tiles and augmentation, for better answers that take longer.
    Returns:
        As `metrics_by_name.score`, with what `write_reports` adds and, where given, "without" and "improve";
        None in processes other than the main one.
    Raises:
        UserError: no detector's weights, data missing, or a data set with other classes.
        OptionError: the backbone has no such block.
    """
    options.check(out)
    model, config, classes, _ = load_detector(weights, overrides)
    dataset = open_dataset(config.data, config.data.val)
    if dataset.classes != classes:
        raise UserError(
            f"{weights} knows the classes {', '.join(classes)}; data.val has {', '.join(dataset.classes)}: "
            "choose data to match"
        )
    scored = dataset.has_truth
    if not scored:
        options.check_without_truth(config.data.val, out)
    check_pictures(dataset)
    device = resolve_device(config.run.device)
    improver = Improver(improve, config) if improve.anything else None
    with process_group(device), without_blocks(model, without), measured(device, len(dataset)) as cost:
        predictions = predict_dataset(model.to(device), dataset, config.data, config.run, improver)
    if not is_main():
        return None
    records = to_coco_records(predictions, dataset)
    if out is not None:
        (out / "result.json").unlink(missing_ok=True)  # written last, it is always of what lies beside it
        write_json(out / "predictions.json", records)
    result: dict[str, Any] = {"without": list(without)} if without else {}
    result |= {"improve": improve.given()} if improve.anything else {}
    result |= score(predictions, dataset, config.metric) if scored else {}
    kind: Literal["voc", "coco"] = "voc" if config.data.kind == "voc" else "coco"
    split = EvaluatedSplit(dataset, kind, config.data.val, config.metric)
    result |= write_reports(options, predictions, records, split, out)
    about = {"weights": str(weights), "sha256": digest(find_detector(weights)), "cost": cost}
    return _written(result, out, {**about, "config": json.loads(json.dumps(asdict(config)))})


def score_predictions_file(
    predictions: str,
    dataset: str | None,
    method: str,
    out: Path | None = None,
    options: ReportOptions = NOTHING,
) -> dict[str, Any] | None:
    """Scores anybody's result file; no network is involved.

    Args:
        predictions: JSON list of {image_id, category_id, bbox xywh, score}, and segmentation where there are
            masks, which may do without bbox; for VOC, image_id is the picture's name ("000012") and
            category_id 1…20 in alphabetical order of the classes. Or what `predict_pictures` writes of
            the set's own folder.
        dataset: "coco:ANNOTATIONS.json" or "voc:DEVKIT/VOC<year>:<split>".
        method: of VOC AP, "area" or "11point".
        out: folder for result.json; without it nothing is written.
    Returns:
        As `score_weights`.
    Raises:
        UserError: the set is not named so, or a file is missing or malformed.
    """
    if not is_main():
        return None
    options.check(out)
    files = parse_split(dataset or "")
    about = {"predictions": predictions, "dataset": dataset, "pictures": str(options.pictures or "") or None}
    if files is None:
        raise UserError(
            "--dataset must be KIND:ROOT[:SPLIT] of a folder, KIND as data.kind, or coco:ANNOTATIONS.json or "
            f"voc:DEVKIT/VOC<year>:<split>, got {dataset!r}; for instance voc:data/VOCdevkit/VOC2007:test"
        )
    if isinstance(files, CocoSplit):
        return _written(_score_coco(predictions, files, options, out), out, about)
    truth, split = VocDataset(files.folder.parent, [(files.year, files.name)]), str(files)
    if not truth.has_truth:
        options.check_without_truth(split, None)
    folder = files.folder / "JPEGImages"
    names = {_file_below(folder, truth.image_path(i)): name for i, name in enumerate(truth.image_ids)}
    records = _read_records(predictions, names)
    if has_masks(records):
        records = with_boxes(records, dict(zip(truth.image_ids, truth.image_sizes, strict=True)), predictions)
    found = from_coco_records(records, truth, predictions)
    metric = "voc07" if method == "11point" else "voc12"
    result = score(found, truth, metric) if truth.has_truth else {}
    reports = write_reports(options, found, records, EvaluatedSplit(truth, "voc", split, metric), out)
    return _written(result | reports, out, about)


def score_predictions_of(
    predictions: str,
    given: GivenSet,
    method: str | None,
    overrides: Sequence[str],
    out: Path | None,
    options: ReportOptions,
) -> dict[str, Any] | None:
    """As `score_predictions_file`, on what a training with data.kind, data.root and data.val validates on.

    Args:
        predictions: as that training writes them, or what `predict_pictures` writes of the set's root or of
            the folder of its pictures.
        method: scores VOC AP; without it the metric is that of `overrides`, else VOC AP of kind voc and
            COCO's of all others.
        overrides: data.… as the training had them, for instance data.classes, and metric.
    """
    if not is_main():
        return None
    options.check(out)
    for other in [entry for entry in overrides if not entry.startswith(("data.", "metric="))]:
        raise UserError(f"{other} belongs to --weights; --predictions takes metric=… and data.… of its set")
    named = override_values(overrides)
    if method and "metric" in named:
        raise UserError(
            f"--method {method} and metric={named['metric']} both choose the metric; leave one out"
        )
    metric = {"11point": "voc07", "area": "voc12"}[method or "area"]
    chosen = [f"data.kind={given.kind}", f"data.root={given.root}"]
    chosen += [f"data.val={given.split}"] if given.split else []
    chosen += [f"data.pictures={options.pictures.absolute()}"] if options.pictures else []
    chosen += [f"metric={metric if method or given.kind == 'voc' else 'coco'}", *overrides]
    config = load_config(DetectionConfig, None, chosen)
    truth = open_dataset(config.data, config.data.val)
    if not truth.has_truth:
        options.check_without_truth(config.data.val, None)
    files = [truth.image_path(index) for index in range(len(truth))]
    folders = {os.path.commonpath([file.parent for file in files]) if files else "", given.root}
    names = {
        os.path.relpath(file, folder): image_id
        for folder in sorted(folders)
        for file, image_id in zip(files, truth.image_ids, strict=True)
    }
    records = _read_records(predictions, names)
    if has_masks(records):
        records = with_boxes(records, dict(zip(truth.image_ids, truth.image_sizes, strict=True)), predictions)
    found = from_coco_records(records, truth, predictions)
    result = score(found, truth, config.metric) if truth.has_truth else {}
    split = EvaluatedSplit(truth, "voc" if given.kind == "voc" else "coco", config.data.val, config.metric)
    about = {"predictions": predictions, "config": json.loads(json.dumps(asdict(config)))}
    return _written(result | write_reports(options, found, records, split, out), out, about)


def _score_coco(
    predictions: str, files: CocoSplit, options: ReportOptions, out: Path | None
) -> dict[str, Any]:
    file, folder = files.annotation_file, options.pictures or files.pictures
    annotations = read_coco(file, folder)
    has_truth = bool(annotations["annotations"]) or "annotations" in read_json(file)
    split = coco_split_name(file)
    if not has_truth:
        options.check_without_truth(split, None)
    images = annotations["images"]
    names = {image["file_name"]: image["id"] for image in images}
    names |= {_file_below(folder, find_file(folder, name)): number for name, number in names.items()}
    records = _read_records(predictions, names)
    records = with_boxes(records, {i["id"]: (i["height"], i["width"]) for i in images}, predictions)
    result = {}
    if has_truth:
        figures = score_records(annotations, records, masks=has_masks(records), where=predictions)
        result = as_result("coco", figures)
    if not options.anything:
        return result
    dataset = CocoDataset(file, folder)
    found = from_coco_records(records, dataset, predictions)
    kind = EvaluatedSplit(dataset, "coco", split, "coco")
    return result | write_reports(options, found, records, kind, out)


def _file_below(folder: Path, file: Path) -> str:
    """A picture's name as `predict_pictures` writes it of this folder."""
    return os.path.relpath(file, folder)


def _read_records(path: str, image_ids: Mapping[str, int | str]) -> Any:
    """The records of a file; where it lists its own `images`, their ids are looked up here by file name."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        return content
    records, images = content["annotations"], content.get("images", [])
    try:
        names = {image["id"]: image["file_name"] for image in images}
        unknown = [name for name in names.values() if name not in image_ids]
    except (KeyError, TypeError):
        raise UserError(f"{path}: images must be a list of entries with id and file_name") from None
    if unknown:
        raise UserError(
            f"{path}: picture {unknown[0]!r} is not in the data set, nor are {len(unknown) - 1} others; "
            "predict on the set's own folder of pictures"
        )
    own = {number: image_ids[name] for number, name in names.items()}
    return [
        {**record, "image_id": own.get(record["image_id"])}
        if own and isinstance(record, dict) and isinstance(record.get("image_id"), int | str)
        else record
        for record in records
    ]


def _written(result: dict[str, Any], out: Path | None, evaluated: dict[str, Any]) -> dict[str, Any]:
    """The result, in `out` with what it is of, which a report of the folder opens again."""
    if out is not None:
        write_json(out / "result.json", {**result, "evaluated": evaluated}, indent=1)
    return result
