"""To what does a detector owe its figure? One group of its settings is swapped at a time, over several seeds.

Everything else is held: backbone, weights, normalisation, stride, or whatever else is swapped, is the only
difference from the configuration as it is, and each difference comes with an interval.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detection.build import build_detector
from detection.config import DetectionConfig
from detection.own_sets.split_opener import SplitOpener
from foundation.errors import UserError
from reproduction.analyses.analysis_folder import file_name
from reproduction.detectors.detector_groups import Scored, figures_of, has_mask_figures, read_group
from reproduction.results.experiments import Experiment
from reproduction.results.paired_groups import paired_experiment, write_experiment
from reproduction.results.provenance import made_here
from reproduction.trainings import train_variants, with_seed
from training.config import config_values, load_config
from training.devices import is_main

HELD = "configured"
# Detectors that differ in these are scored otherwise, or on other pictures, and cannot be paired.
PAIRING = (
    *("metric", "data.kind", "data.root", "data.val", "data.pictures", "data.classes", "data.val_share"),
    "data.split_seed",
)


def read_swaps(
    file: Path, overrides: Sequence[str], swaps: Sequence[Sequence[str]]
) -> dict[str, DetectionConfig]:
    """The configuration as it is and with each swap, by the swap's text.

    Raises:
        UserError: no swap, one that changes nothing or what the differences are paired by, two that are
            equal, or a detector that cannot be built.
    """
    if not swaps:
        raise UserError(
            "nothing is swapped; say what with --swap section.key=value …, once for each variant, for "
            "instance --swap backbone.norm=batch backbone.frozen_stages=0"
        )
    held = load_config(DetectionConfig, file, overrides)
    figures_of(held.metric)
    configs = {HELD: held}
    for swap in swaps:
        text = f"--swap {' '.join(swap)}"
        if "run.seed" in [override.partition("=")[0] for override in swap]:
            raise UserError(f"{text}: --seeds chooses the seeds; leave run.seed out")
        config = load_config(DetectionConfig, file, [*overrides, *swap])
        values = [config_values(each) for each in (held, config)]
        if changed := [key for key in PAIRING if values[0][key] != values[1][key]]:
            raise UserError(
                f"{text} changes {changed[0]}, so that its pictures could not be paired with those of the "
                f"configuration; give {changed[0]} to all variants, without --swap"
            )
        for other, before in configs.items():
            if config == before:
                same = "changes nothing" if other == HELD else f"is the same detector as --swap {other}"
                raise UserError(f"{text} {same}; leave it out")
        configs[" ".join(swap)] = config
    return configs


def attribute(
    file: Path,
    swaps: Sequence[Sequence[str]],
    seeds: int,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    processes: int = 1,
) -> Experiment | None:
    """Trains the configuration and each swap of it with seeds 0 … seeds - 1, one run folder each below `out`.

    Writes attribution.json and attribution.md beside them.

    Args:
        file: the configuration that is held.
        swaps: of each variant, its "section.key=value".
        overrides: of all variants.
        processes: so many trainings at once, see `train_variants`.
    Returns:
        The figures of the configuration as it is and of each swap, by its text, and each swap's difference;
        None in processes other than the main one.
    Raises:
        UserError: as `read_swaps`, `train_variants` and `detector_groups.read_group`.
    """
    configs = read_swaps(file, overrides, swaps)

    def folder(variant: str, seed: int) -> Path:
        return out / f"{file_name(variant)}_seed{seed}"

    for variant, config in configs.items():
        # What cannot be built is told before the trainings of the others; a run that has begun was built.
        if config.model.weights is None and not (folder(variant, 0) / "config.yaml").is_file():
            build_detector(config, num_classes=1)
    results = train_variants(
        [*configs],
        lambda variant, seed: with_seed(configs[variant], seed),
        folder,
        seeds=seeds,
        resume=resume,
        overwrite=overwrite,
        processes=processes,
    )
    if not is_main():
        return None
    folders = {variant: [folder(variant, seed) for seed in range(seeds)] for variant in configs}
    found = _compared(configs, results, folders)
    write_experiment(found, out, "attribution")
    return found


def _compared(
    configs: Mapping[str, DetectionConfig],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    folders: Mapping[str, Sequence[Path]],
) -> Experiment:
    """The figures of every variant over its seeds, and the difference of each swap."""
    opened, first = SplitOpener(), results[HELD][0]
    # Where one of the detectors has no masks, the boxes alone are compared.
    masks = all(has_mask_figures(results[variant][0]["scores"]) for variant in configs)
    groups = {
        variant: read_group(
            [
                Scored(place, config, result["scores"])
                for place, result in zip(folders[variant], results[variant], strict=True)
            ],
            opened,
            masks=masks,
        )
        for variant, config in configs.items()
    }
    pairs = [(variant, HELD) for variant in configs if variant != HELD]
    return paired_experiment(
        "variant", groups, pairs, metric=first["metric"], steps=first["step"], made=made_here()
    )
