"""Figures are written whole and repeat to the byte; what they show is looked at by people."""

import numpy as np
import pytest
from matplotlib.text import Text

from analysis.figures.analysis_figures import draw_shattering
from analysis.kinds import KINDS
from analysis.shattering import measure_shattering
from pictures.plots import save_plot


@pytest.mark.parametrize("name", KINDS)
def test_figures_of_several_networks(name, random_network, batches, small_options, measured, tmp_path):
    kind, options = KINDS[name], small_options[name]
    networks = {"resnet8_cifar": "resnet8_cifar", "resnet20_cifar, untrained": "resnet20_cifar"}
    arrays = {label: measured(name, random_network(model), batches) for label, model in networks.items()}
    for found in arrays.values() if kind.names_classes else ():
        found["classes"] = np.array(["cat", "dog", "ship"])
    figure = kind.draw(arrays, options)
    files = save_plot(figure, tmp_path / name)
    again = save_plot(kind.draw(arrays, options), tmp_path / "again")
    assert [file.suffix for file in files] == [".png", ".svg"]
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    lines = {line for text in figure.findobj(Text) for line in text.get_text().split("\n")}
    assert set(networks) <= lines
    summary = kind.summarise(arrays["resnet8_cifar"], options)
    assert isinstance(summary, dict) and all(isinstance(key, str) for key in summary)


def test_figure_of_random_networks(tmp_path):
    arrays = measure_shattering(1)
    files = save_plot(draw_shattering(arrays), tmp_path / "gradients")
    assert all(file.stat().st_size > 10_000 for file in files)
    assert np.allclose(arrays["feed-forward/correlation"][0].diagonal(), 1)
