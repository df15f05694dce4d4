"""What an analysis can be told: pictures as in pretraining, and the options of each analysis."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.gradients import GradientsOptions
from analysis.kinds import KINDS
from analysis.lesions import LesionOptions
from analysis.maps.heat_maps import HeatmapOptions
from analysis.maps.receptive_fields import ReceptiveOptions
from analysis.paths import PathsOptions
from analysis.responses import ResponsesOptions
from analysis.signal import SignalOptions
from analysis.similarity import SimilarityOptions
from analysis.surface import SurfaceOptions
from backbones import WeightsHeader
from classification.data.data_sets import DataConfig
from classification.score.network_data import data_section
from foundation.errors import UserError
from training.config import parse_config, require_between, require_positive


@dataclass(frozen=True)
class RunOptions:
    """How an analysis is executed.

    Attributes:
        device: as in every configuration, see docs/devices.md; it must have float64, and "auto" passes over
            those that lack it.
        seed: decides the choice of pictures and everything that is drawn.
        batch_size: pictures computed at once.
        workers: processes that read pictures; 0 reads them in this one.
    """

    device: str = "auto"
    seed: int = 0
    batch_size: int = 100
    workers: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "batch_size")
        require_between(self, 0, 2**31, "seed", "workers")


@dataclass(frozen=True)
class AnalyzeConfig:
    """One analysis of some networks, and the options of each analysis.

    Attributes:
        data: pictures, of which val_split is looked at; by default those of the first file's training.
        untrained: also analyses each network as it was before its training.
    """

    data: DataConfig
    run: RunOptions = field(default_factory=RunOptions)
    untrained: bool = False
    responses: ResponsesOptions = field(default_factory=ResponsesOptions)
    signal: SignalOptions = field(default_factory=SignalOptions)
    lesion: LesionOptions = field(default_factory=LesionOptions)
    paths: PathsOptions = field(default_factory=PathsOptions)
    gradients: GradientsOptions = field(default_factory=GradientsOptions)
    similarity: SimilarityOptions = field(default_factory=SimilarityOptions)
    surface: SurfaceOptions = field(default_factory=SurfaceOptions)
    receptive: ReceptiveOptions = field(default_factory=ReceptiveOptions)
    heatmap: HeatmapOptions = field(default_factory=HeatmapOptions)


@dataclass(frozen=True)
class RandomNetworksConfig:
    """The experiment on random networks, on the CPU; see `analysis.shattering`.

    Attributes:
        seeds: random networks of each kind.
    """

    seeds: int = 20

    def __post_init__(self) -> None:
        require_positive(self, "seeds")


def read_config(name: str, headers: Sequence[WeightsHeader], overrides: Sequence[str]) -> AnalyzeConfig:
    """The options, on the pictures of the first file that knows those of its training, or on others named.

    Raises:
        UserError: an unknown key or value, one of another analysis, or no pictures.
    """
    for override in overrides:
        section = override.partition(".")[0]
        if section in KINDS and section != name:
            raise UserError(f"{override} belongs to tools/analyze.py {section} and does nothing in {name}")
    data = {"data": data_section(headers, overrides)}
    return parse_config(AnalyzeConfig, data, overrides, source="tools/analyze.py")
