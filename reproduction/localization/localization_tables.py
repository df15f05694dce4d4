"""Tables 13 and 14 of He et al. 2015: what they print, and which networks give each row here."""

from dataclasses import dataclass, field
from typing import Literal

from reproduction.published.table_rows import HE_2015, Printed

Network = Literal["rpn", "rcnn", "ensemble"]


@dataclass(frozen=True)
class LocalizationRow:
    """One line of a table; errors are in per cent, of the validation pictures.

    Attributes:
        key: its name in `--rows` and of its folders.
        printed: None where the paper has only another split's.
        score: by the name of our result.json.
        network: what answers: the RPN, R-CNN on its proposals, or the R-CNNs of all seeds; None of others'.
        protocol: how the RPN searches.
        elsewhere: what is printed of other splits, by their names.
    """

    label: str
    key: str
    printed: Printed | None
    score: str = "top5_error"
    network: Network | None = None
    protocol: Literal["one_crop", "dense"] = "dense"
    elsewhere: dict[str, Printed] = field(default_factory=dict)

    @property
    def config(self) -> str | None:
        """What trains its last network, a file in `configs/`; None of others'."""
        return None if self.network is None else CONFIGS_OF["rpn" if self.network == "rpn" else "rcnn"]

    @property
    def needs_guesses(self) -> bool:
        """Whether a classifier must say which classes to look for."""
        return self.score != "oracle_error"


@dataclass(frozen=True)
class LocalizationTable:
    """A table of the paper; `source` is its number and section."""

    title: str
    source: str
    rows: tuple[LocalizationRow, ...]


CONFIGS_OF = {"rpn": "imagenet_loc_r101", "rcnn": "imagenet_loc_r101_rcnn"}
_TEST = "test"
_ENSEMBLE = LocalizationRow(
    "RPN + R-CNN, ensembles of localizers and classifiers, dense",
    "ensemble",
    Printed(8.9),
    network="ensemble",
)


def _theirs(label: str, key: str, val: float | None, test: float) -> LocalizationRow:
    printed = None if val is None else Printed(val)
    return LocalizationRow(label, key, printed, elsewhere={_TEST: Printed(test)})


LOCALIZATION_TABLES = {
    "13": LocalizationTable(
        "Localization error on ImageNet validation: of the true class, or of five guesses of a classifier",
        f"{HE_2015}, Table 13, appendix C",
        (
            LocalizationRow("VGG's, true class, 1-crop", "vgg16", Printed(33.1), "oracle_error"),
            LocalizationRow(
                *("RPN, ResNet-101, true class, 1-crop", "rpn-1crop", Printed(13.3), "oracle_error"),
                network="rpn",
                protocol="one_crop",
            ),
            LocalizationRow(
                *("RPN, ResNet-101, true class, dense", "rpn-dense", Printed(11.7), "oracle_error"),
                network="rpn",
            ),
            LocalizationRow(
                "RPN, ResNet-101, classes by ResNet-101, dense", "rpn-top5", Printed(14.4), network="rpn"
            ),
            LocalizationRow(
                *("RPN + R-CNN, ResNet-101, classes by ResNet-101, dense", "rcnn-top5", Printed(10.6)),
                network="rcnn",
            ),
            _ENSEMBLE,
        ),
    ),
    "14": LocalizationTable(
        "Localization error of five guesses on ImageNet validation",
        f"{HE_2015}, Table 14, appendix C",
        (
            _theirs("OverFeat, ILSVRC 2013", "overfeat", 30.0, 29.9),
            _theirs("GoogLeNet, ILSVRC 2014", "googlenet", None, 26.7),
            _theirs("VGG, ILSVRC 2014", "vgg", 26.9, 25.3),
            LocalizationRow(
                *("ours, ILSVRC 2015", _ENSEMBLE.key, _ENSEMBLE.printed),
                network="ensemble",
                elsewhere={_TEST: Printed(9.0)},
            ),
        ),
    ),
}
