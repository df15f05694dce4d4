"""The analyses by name: how each is measured, summed up and drawn."""

from collections.abc import Callable
from typing import Any, NamedTuple

from analysis import gradients, lesions, paths, responses, signal
from analysis.arrays import Arrays, Batches
from analysis.figures import analysis_figures
from backbones.spec import Network


class Kind(NamedTuple):
    """One analysis."""

    pictures: Callable[[Any], int | None]  # how many pictures these options ask for, all if None
    needs_labels: bool  # whether errors or losses are measured
    measure: Callable[[Network, Batches, Any, int], Arrays]  # of a network in evaluation mode, with a seed
    summarise: Callable[[Arrays, Any], dict[str, Any]]  # figures of merit
    draw: Callable[[analysis_figures.Labelled, Any], Any]  # a figure of several networks


KINDS = {
    "responses": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=False,
        measure=lambda network, batches, options, seed: responses.measure_responses(network, batches),
        summarise=lambda arrays, options: responses.summarise_responses(arrays),
        draw=lambda labelled, options: analysis_figures.draw_responses(labelled),
    ),
    "signal": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=True,
        measure=lambda network, batches, options, seed: signal.measure_signal(
            network, signal.normal_inputs(batches, seed) if options.input == "normal" else batches
        ),
        summarise=lambda arrays, options: signal.summarise_signal(arrays),
        draw=lambda labelled, options: analysis_figures.draw_signal(labelled),
    ),
    "lesion": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=True,
        measure=lesions.measure_lesions,
        summarise=lambda arrays, options: lesions.summarise_lesions(arrays),
        draw=lambda labelled, options: analysis_figures.draw_lesions(labelled),
    ),
    "paths": Kind(
        pictures=lambda options: options.samples,
        needs_labels=True,
        measure=lambda network, batches, options, seed: paths.measure_paths(network, batches, seed),
        summarise=lambda arrays, options: paths.summarise_paths(arrays, options.mass),
        draw=lambda labelled, options: analysis_figures.draw_paths(labelled, options.mass),
    ),
    "gradients": Kind(
        pictures=lambda options: 2 * options.lines,
        needs_labels=False,
        measure=gradients.measure_gradients,
        summarise=lambda arrays, options: gradients.summarise_gradients(arrays),
        draw=lambda labelled, options: analysis_figures.draw_gradients(labelled),
    ),
}
