"""The analyses by name: how each is measured, summed up and drawn."""

from collections.abc import Callable
from typing import Any, NamedTuple

from analysis import gradients, lesions, paths, responses, signal, similarity, surface
from analysis.arrays import Arrays
from analysis.figures import analysis_figures, heat_figure, matrix_figures, receptive_figure
from analysis.maps import heat_maps, receptive_fields


class Kind(NamedTuple):
    """One analysis.

    Attributes:
        pictures: how many pictures these options ask for, all if None.
        needs_labels: whether these options measure errors or losses, or ask for labels.
        measure: called as measure(network, batches, options, seed) with a network in evaluation mode and
            batches of pictures and labels.
        summarise: figures of merit.
        draw: a figure of all that was measured, by its name.
        of_pairs: it is measured of every network with itself and with every other: measure(network, network,
            batches, options, seed), with batches of the same pictures as each of the two wants them.
        resumes: what is measured takes long, and a stopped measurement goes on: `measure` also takes `keep`,
            which it calls with arrays from time to time, and `begun`, the last of them, or None.
        names_classes: the names of the outputs are drawn, "classes" (K,) of the arrays.
    """

    pictures: Callable[[Any], int | None]
    needs_labels: Callable[[Any], bool]
    measure: Callable[..., Arrays]
    summarise: Callable[[Arrays, Any], dict[str, Any]]
    draw: Callable[[analysis_figures.Labelled, Any], Any]
    of_pairs: bool = False
    resumes: bool = False
    names_classes: bool = False


KINDS = {
    "responses": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=lambda options: False,
        measure=lambda network, batches, options, seed: responses.measure_responses(network, batches),
        summarise=lambda arrays, options: responses.summarise_responses(arrays),
        draw=lambda labelled, options: analysis_figures.draw_responses(labelled),
    ),
    "signal": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=lambda options: True,
        measure=lambda network, batches, options, seed: signal.measure_signal(
            network, signal.normal_inputs(batches, seed) if options.input == "normal" else batches
        ),
        summarise=lambda arrays, options: signal.summarise_signal(arrays),
        draw=lambda labelled, options: analysis_figures.draw_signal(labelled),
    ),
    "lesion": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=lambda options: True,
        measure=lesions.measure_lesions,
        summarise=lambda arrays, options: lesions.summarise_lesions(arrays),
        draw=lambda labelled, options: analysis_figures.draw_lesions(labelled),
    ),
    "paths": Kind(
        pictures=lambda options: options.samples,
        needs_labels=lambda options: True,
        measure=lambda network, batches, options, seed: paths.measure_paths(network, batches, seed),
        summarise=lambda arrays, options: paths.summarise_paths(arrays, options.mass),
        draw=lambda labelled, options: analysis_figures.draw_paths(labelled, options.mass),
    ),
    "gradients": Kind(
        pictures=lambda options: 2 * options.lines,
        needs_labels=lambda options: False,
        measure=gradients.measure_gradients,
        summarise=lambda arrays, options: gradients.summarise_gradients(arrays),
        draw=lambda labelled, options: analysis_figures.draw_gradients(labelled),
    ),
    "similarity": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=lambda options: False,
        measure=lambda one, other, batches, options, seed: similarity.measure_similarity(one, other, batches),
        summarise=lambda arrays, options: similarity.summarise_similarity(arrays),
        draw=lambda labelled, options: matrix_figures.draw_similarity(labelled),
        of_pairs=True,
    ),
    "surface": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=lambda options: True,
        measure=surface.measure_surface,
        summarise=lambda arrays, options: surface.summarise_surface(arrays),
        draw=lambda labelled, options: matrix_figures.draw_surface(labelled),
        resumes=True,
    ),
    "receptive": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=lambda options: False,
        measure=receptive_fields.measure_receptive_fields,
        summarise=lambda arrays, options: receptive_fields.summarise_receptive_fields(arrays),
        draw=lambda labelled, options: receptive_figure.draw_receptive_fields(labelled),
    ),
    "heatmap": Kind(
        pictures=lambda options: options.pictures,
        needs_labels=lambda options: options.target == "label",
        measure=lambda network, batches, options, seed: heat_maps.measure_heat_maps(
            network, batches, options
        ),
        summarise=lambda arrays, options: heat_maps.summarise_heat_maps(arrays),
        draw=lambda labelled, options: heat_figure.draw_heat_maps(labelled),
        names_classes=True,
    ),
}
