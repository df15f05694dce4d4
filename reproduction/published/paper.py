"""What papers print, with where it stands: Tables 2 to 6 of He et al. 2015, and its learning curves' frames.

Errors are in per cent. The curves have no numbers in print, so none are held here: only their networks, axes
and what the text says of them. Tables of He et al. 2016 come from `reproduction.published.identity_tables`.
"""

from dataclasses import dataclass
from typing import NamedTuple

from reproduction.published.identity_tables import IDENTITY_TABLES
from reproduction.published.table_rows import HE_2015, HE_2016, Printed, Row, Table


def _theirs(label: str, top1: float | None, top5: float | None = None) -> Row:
    """A network on ImageNet that is not trained here."""
    errors = {"top1_error": top1, "top5_error": top5}
    return Row(label, {name: Printed(error) for name, error in errors.items() if error is not None})


def _ours(label: str, top1: float, top5: float | None = None, option: str = "") -> Row:
    """A network on ImageNet: "ResNet-34 A" is resnet34, which imagenet_r34a trains."""
    scores, network = _theirs(label, top1, top5).scores, label.replace("-", "").lower()
    config = f"imagenet_{_short(network)}{option.lower()}"
    return Row(f"{label} {option}".strip(), scores, network, option or None, config)


def _cifar(
    label: str, error: Printed | None, parameters: float | None = None, network: str = "", remark: str = ""
) -> Row:
    """A network on CIFAR-10: resnet20 is trained by cifar10_r20."""
    config = f"cifar10_{_short(network)}" if network else None
    scores = {"top1_error": error} if error else {}
    return Row(label, scores, f"{network}_cifar" if network else None, None, config, parameters, remark)


def _short(network: str) -> str:
    return network.replace("resnet", "r").replace("plain", "p")


TABLES = {
    "2": Table(
        "Top-1 error on ImageNet validation, 10 crops; no network has more parameters than its twin",
        f"{HE_2015}, Table 2, §4.1",
        ("top1_error",),
        "ten-crop",
        (
            _ours("plain-18", 27.94),
            _ours("ResNet-18", 27.88, option="A"),
            _ours("plain-34", 28.54),
            _ours("ResNet-34", 25.03, option="A"),
        ),
    ),
    "3": Table(
        "Top-1 / top-5 error on ImageNet validation, 10 crops",
        f"{HE_2015}, Table 3, §4.1",
        ("top1_error", "top5_error"),
        "ten-crop",
        (
            Row("VGG-16", {"top1_error": Printed(28.07), "top5_error": Printed(9.33)}, "vgg16"),
            _theirs("GoogLeNet", None, 9.15),
            _theirs("PReLU-net", 24.27, 7.38),
            _ours("plain-34", 28.54, 10.02),
            _ours("ResNet-34", 25.03, 7.76, "A"),
            _ours("ResNet-34", 24.52, 7.46, "B"),
            _ours("ResNet-34", 24.19, 7.40, "C"),
            _ours("ResNet-50", 22.85, 6.71),
            _ours("ResNet-101", 21.75, 6.05),
            _ours("ResNet-152", 21.43, 5.71),
        ),
    ),
    "4": Table(
        "Top-1 / top-5 error of single models on ImageNet validation, fully convolutional at several scales",
        f"{HE_2015}, Table 4, §4.1",
        ("top1_error", "top5_error"),
        "dense",
        (
            Row("VGG (ILSVRC'14)", {"top5_error": Printed(8.43)}, remark="on the test set"),
            _theirs("GoogLeNet (ILSVRC'14)", None, 7.89),
            _theirs("VGG (v5)", 24.4, 7.1),
            _theirs("PReLU-net", 21.59, 5.71),
            _theirs("BN-inception", 21.99, 5.81),
            _ours("ResNet-34", 21.84, 5.71, "B"),
            _ours("ResNet-34", 21.53, 5.60, "C"),
            _ours("ResNet-50", 20.74, 5.25),
            _ours("ResNet-101", 19.87, 4.60),
            _ours("ResNet-152", 19.38, 4.49),
        ),
    ),
    "5": Table(
        "Top-5 error of ensembles on the ImageNet test set, from the evaluation server",
        f"{HE_2015}, Table 5, §4.1",
        ("top5_error",),
        None,
        (
            _theirs("VGG (ILSVRC'14)", None, 7.32),
            _theirs("GoogLeNet (ILSVRC'14)", None, 6.66),
            _theirs("VGG (v5)", None, 6.8),
            _theirs("PReLU-net", None, 4.94),
            _theirs("BN-inception", None, 4.82),
            _theirs("ResNet (ILSVRC'15)", None, 3.57),
        ),
    ),
    "6": Table(
        "Error on the CIFAR-10 test set",
        f"{HE_2015}, Table 6, §4.2",
        ("top1_error",),
        "last",
        (
            _cifar("Maxout", Printed(9.38)),
            _cifar("NIN", Printed(8.81)),
            _cifar("DSN", Printed(8.22)),
            _cifar("FitNet, 19 layers", Printed(8.39), 2.5),
            _cifar("Highway, 19 layers", Printed(7.72, 0.16, 7.54), 2.3, "highway19"),
            _cifar("Highway, 32 layers", Printed(8.80), 1.25, "highway32"),
            _cifar("ResNet-20", Printed(8.75), 0.27, "resnet20"),
            _cifar("ResNet-32", Printed(7.51), 0.46, "resnet32"),
            _cifar("ResNet-44", Printed(7.17), 0.66, "resnet44"),
            _cifar("ResNet-56", Printed(6.97), 0.85, "resnet56"),
            # Five runs, the best of them in the table.
            _cifar("ResNet-110", Printed(6.61, 0.16, 6.43), 1.7, "resnet110"),
            _cifar("ResNet-1202", Printed(7.93), 19.4, "resnet1202"),
            *(
                _cifar(f"plain-{depth}", None, network=f"plain{depth}", remark="no number, Fig. 6")
                for depth in (20, 32, 44, 56)
            ),
            _cifar("plain-110", None, network="plain110", remark="above 60, Fig. 6"),
        ),
    ),
    **IDENTITY_TABLES,
}


@dataclass(frozen=True)
class Figure:
    """A figure of learning curves."""

    title: str
    source: str
    table: str  # of which the networks are rows
    panels: tuple[tuple[str, tuple[str, ...]], ...]  # title and `Row.key` of its networks, left to right
    x_unit: int  # steps of one unit of the horizontal axis
    y_limits: tuple[float, float]  # of the vertical axis, error in per cent
    statements: tuple[str, ...]  # what the paper says it shows


FIGURES = {
    "4": Figure(
        "Training on ImageNet: training error and centre-crop validation error",
        f"{HE_2015}, Fig. 4, §4.1",
        "2",
        (("plain", ("plain18", "plain34")), ("residual", ("resnet18-A", "resnet34-A"))),
        10_000,
        (20, 60),
        (
            "plain-34 has the higher training error, and the higher validation error, than plain-18",
            "ResNet-34 is better than ResNet-18, in training error too",
            "ResNet-18 converges faster than plain-18, at about the same accuracy",
        ),
    ),
    "6": Figure(
        "Training on CIFAR-10: training error and test error",
        f"{HE_2015}, Fig. 6, §4.2",
        "6",
        (
            ("plain", tuple(f"plain{n}_cifar" for n in (20, 32, 44, 56))),
            ("residual", tuple(f"resnet{n}_cifar" for n in (20, 32, 44, 56, 110))),
            ("110 and 1202 layers", ("resnet110_cifar", "resnet1202_cifar")),
        ),
        10_000,
        (0, 20),
        (
            "deeper plain networks have the higher training error",
            "plain-110 stays above 60 % and is not displayed",
            "deeper residual networks are better, up to 110 layers",
            "ResNet-1202 ends below 0.1 % training error and at 7.93 % test error, above ResNet-110",
        ),
    ),
}


class Error(NamedTuple):
    """A published top-1 error in per cent of a network, its source, and how it was measured."""

    value: float
    source: str
    protocol: str


def _single_errors() -> dict[str, Error]:
    """One row a network: that of the option it has by default, where the tables have that."""
    rows = [(number, row) for number in ("2", "3", "6") for row in TABLES[number].rows]
    errors: dict[str, Error] = {}
    for number, row in sorted(rows, key=lambda entry: entry[1].option not in (None, "B")):
        if row.network and "top1_error" in row.scores:
            error = row.scores["top1_error"]
            where = "CIFAR-10 test" if number == "6" else "ImageNet val, 10 crops"
            detail = f", option {row.option}" if row.option else f", {error}" if error.best else ""
            value = error.value if error.best is None else error.best
            source = f"{HE_2015}, Table {number}"
            errors.setdefault(row.network, Error(value, source, f"{where}{detail}"))
    return errors


ERRORS = {
    **_single_errors(),
    "preact_resnet110_cifar": Error(6.37, f"{HE_2016}, Table 3", "CIFAR-10 test"),
    "preact_resnet164_cifar": Error(5.46, f"{HE_2016}, Table 3", "CIFAR-10 test"),
    "preact_resnet1001_cifar": Error(4.92, f"{HE_2016}, Table 3", "CIFAR-10 test"),
}
