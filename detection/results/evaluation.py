"""Evaluation of weights and of result files: the score, and what else is asked of their predictions."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backbones.lesion import without_blocks
from backbones.weights.downloads import digest
from detection.build import load_detectors
from detection.data.dataset_splits import open_dataset
from detection.data.detection_batches import check_pictures
from detection.improve.improve_options import MERGES, ONE_LOOK, ImproveOptions
from detection.improve.improved_predictions import answering
from detection.predictor import predict_dataset
from detection.published_detectors import find_detector
from detection.result_files.joined_files import join_files
from detection.result_files.record_reading import read_records
from detection.result_files.scored_sets import open_scored_set
from detection.results.detection_report import NOTHING, EvaluatedSplit, ReportOptions, write_reports
from detection.results.metrics_by_name import METRICS, as_result, coco_annotations, score, score_records
from detection.results.result_records import from_coco_records, has_masks, to_coco_records
from foundation.atomic_files import write_json
from foundation.errors import UserError
from training.devices import is_main, process_group, resolve_device
from training.progress.computing_cost import measured


def evaluate(
    *,
    weights: Sequence[str] | None,
    predictions: Sequence[str] | None,
    dataset: str | None,
    method: str | None,
    without: Sequence[str],
    overrides: Sequence[str],
    out: Path | None,
    options: ReportOptions,
    improve: ImproveOptions = ONE_LOOK,
    merge: str | None = None,
) -> dict[str, Any] | None:
    """Scores weights or result files as the command asks; arguments are those of tools/eval_det.py.

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
        return score_weights(weights, overrides, out, options, without=blocks, improve=improve)
    if improve.anything:
        raise UserError("--tiles and --tta belong to --weights: a result file looks at no picture")
    if without:
        raise UserError("--without belongs to --weights: a result file has no blocks that could be left out")
    return score_predictions(
        predictions or [], dataset, method, out, options, overrides=overrides, merge=merge
    )


def score_weights(
    weights: str | Path | Sequence[str | Path],
    overrides: Sequence[str],
    out: Path | None,
    options: ReportOptions = NOTHING,
    *,
    without: Sequence[str] = (),
    improve: ImproveOptions = ONE_LOOK,
) -> dict[str, Any] | None:
    """Scores a detector, or several as an ensemble, on the validation split it was trained with.

    Args:
        weights: one file, or those of an ensemble, of which the first's configuration counts.
        overrides: changes to its configuration, for instance "data.val=2007:test". A split without
            annotations is predicted, not scored.
        out: folder for predictions.json and result.json; without it nothing is written.
        without: blocks of the backbone, as "res3.1", whose residuals are left out; see `backbones.lesion`.
        improve: tiles and augmentation, for better answers that take longer.
    Returns:
        As `metrics_by_name.score`, with what `write_reports` adds and, where given, "without" and "improve";
        None in processes other than the main one.
    Raises:
        UserError: no detector's weights, no ensemble, data missing, or a data set with other classes.
        OptionError: the backbone has no such block.
    """
    options.check(out)
    files = [weights] if isinstance(weights, str | Path) else list(weights)
    if without and len(files) > 1:
        raise UserError(f"--without is of one detector's backbone, and there are {len(files)}; leave it out")
    where, members = ", ".join(map(str, files)), load_detectors(files, overrides)
    model, config, classes, _ = members[0]
    dataset = open_dataset(config.data, config.data.val)
    if dataset.classes != classes:
        raise UserError(
            f"{where} knows the classes {', '.join(classes)}; data.val has {', '.join(dataset.classes)}: "
            "choose data to match"
        )
    scored = dataset.has_truth
    if not scored:
        options.check_without_truth(config.data.val, out)
    check_pictures(dataset)
    device = resolve_device(config.run.device)
    network, improver = answering([one.model for one in members], [one.config for one in members], improve)
    with process_group(device), without_blocks(model, without), measured(device, len(dataset)) as cost:
        predictions = predict_dataset(network.to(device), dataset, config.data, config.run, improver)
    if not is_main():
        return None
    records = to_coco_records(predictions, dataset)
    if out is not None:
        (out / "result.json").unlink(missing_ok=True)  # written last, it is always of what lies beside it
        write_json(out / "predictions.json", records)
    result: dict[str, Any] = {"without": list(without)} if without else {}
    how = {"detectors": len(files)} if len(files) > 1 else {}
    how |= config.testing.given() | improve.given()
    result |= {"improve": how} if how else {}
    result |= score(predictions, dataset, config.metric) if scored else {}
    split = EvaluatedSplit(dataset, config.data.kind, config.data.val, config.metric)
    result |= write_reports(options, predictions, records, split, out)
    digests = ", ".join(digest(find_detector(file)) for file in files)
    about = {"weights": where, "sha256": digests, "cost": cost}
    return _written(result, out, {**about, "config": json.loads(json.dumps(asdict(config)))})


def score_predictions(
    files: Sequence[str],
    dataset: str | None,
    method: str | None = None,
    out: Path | None = None,
    options: ReportOptions = NOTHING,
    *,
    overrides: Sequence[str] = (),
    merge: str | None = None,
) -> dict[str, Any] | None:
    """Scores anybody's result file, or what several say together; no network is involved.

    Args:
        files: as `read_records` takes them.
        dataset, method, overrides: as `open_scored_set` takes them.
        out: folder for result.json, and predictions.json of several files; without it nothing is written.
        merge: how several files become one answer, of `MERGES`; see `joined_files`.
    Returns:
        As `score_weights`; of several files "improve" says how many and how they were joined.
    Raises:
        UserError: a file is missing or malformed, or an argument has no effect.
    """
    if not is_main():
        return None
    options.check(out)
    several = len(files) > 1
    if merge and not several:
        raise UserError("--merge joins several --predictions, and there is one; name more, or leave it out")
    written = out / "predictions.json" if several and out is not None else None
    if written is not None and os.path.abspath(written) in map(os.path.abspath, files):
        raise UserError(f"--out {out} would overwrite the predictions.json that is read; name another folder")
    split, folders, about = open_scored_set(dataset, method, overrides, options)
    truth, where = split.dataset, ", ".join(files)
    if not truth.has_truth:
        options.check_without_truth(split.name, written)
    result: dict[str, Any] = {}
    records, *others = (read_records(file, truth, folders) for file in files)
    if several:
        how: dict[str, Any] = {"files": len(files), "merge": merge or MERGES[0]}
        records = to_coco_records(join_files([records, *others], truth, files, how["merge"]), truth)
        result["improve"] = how
    found = from_coco_records(records, truth, where)
    if written is not None:
        written.with_name("result.json").unlink(missing_ok=True)  # as above
        write_json(written, records)
    if truth.has_truth and split.metric == "coco":  # of the records as they stand, so that nothing is rounded
        masks = has_masks(records)
        figures = score_records(coco_annotations(truth), records, masks=masks, where=where)
        result |= as_result("coco", figures)
    elif truth.has_truth:
        result |= score(found, truth, split.metric)
    result |= write_reports(options, found, records, split, out)
    return _written(result, out, {"predictions": where, **about})


def _written(result: dict[str, Any], out: Path | None, evaluated: dict[str, Any]) -> dict[str, Any]:
    """The result, in `out` with what it is of, which a report of the folder opens again."""
    if out is not None:
        write_json(out / "result.json", {**result, "evaluated": evaluated}, indent=1)
    return result
