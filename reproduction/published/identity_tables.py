"""Tables 1 and 2 of He et al. 2016, "Identity Mappings in Deep Residual Networks": variants of the unit.

Errors are medians of five runs in per cent. Above 20 the paper prints "fail".
"""

from reproduction.published.table_rows import HE_2016, Printed, Row, Table

FAIL = "fail (above 20)"


def _row(
    label: str, error: float | None, option: str | None, *settings: str, network: str = "resnet110"
) -> Row:
    """resnet110 is trained by cifar10_r110_units, preact_resnet110 by cifar10_preact_r110."""
    short = network.replace("resnet", "r")
    config = f"cifar10_{short}" if network.startswith("preact") else f"cifar10_{short}_units"
    scores = {} if error is None else {"top1_error": Printed(error, median=True)}
    remark = FAIL if error is None else ""
    return Row(label, scores, f"{network}_cifar", option, config, remark=remark, settings=settings)


def _scaled(shortcut: float, residual: float, error: float | None) -> Row:
    label = f"constant scaling, shortcut {shortcut:g}, F {residual:g}"
    settings = "model.unit=scaled", f"model.scaling=[{shortcut:g},{residual:g}]"
    return _row(label, error, f"scaled-{shortcut:g}-{residual:g}", *settings)


def _gated(kind: str, bias: int, error: float | None, printed: str = "") -> Row:
    label = f"{kind} gating, initial bias {printed or bias}"
    settings = f"model.unit={kind.replace('-', '_')}_gating", f"model.gate_bias={bias}"
    return _row(label, error, f"{kind}-gating-{-bias}", *settings)


def _orders(network: str, errors: tuple[float, float, float, float, float]) -> tuple[Row, ...]:
    """A column of Table 2."""
    layers, (first, *others, last) = network.removeprefix("resnet"), errors
    units = {
        "BN after addition": "bn_after_addition",
        "ReLU before addition": "relu_before_addition",
        "ReLU-only pre-activation": "relu_only_preactivation",
    }
    return (
        _row(f"original, {layers} layers", first, "original", network=network),
        *(
            _row(f"{name}, {layers}", error, unit.replace("_", "-"), f"model.unit={unit}", network=network)
            for (name, unit), error in zip(units.items(), others, strict=True)
        ),
        _row(f"full pre-activation, {layers}", last, None, network=f"preact_{network}"),
    )


_OF_ALL = "Error on the CIFAR-10 test set, median of 5 runs"
IDENTITY_TABLES = {
    "identity1": Table(
        f"{_OF_ALL}: what the shortcuts of ResNet-110 pass, in all units",
        f"{HE_2016}, Table 1, §3.1",
        ("top1_error",),
        "last",
        (
            _row("original", 6.61, "original"),
            _scaled(0, 1, None),
            _scaled(0.5, 1, None),
            _scaled(0.5, 0.5, 12.35),
            _gated("exclusive", 0, None, printed="0 (so to −5)"),
            _gated("exclusive", -6, 8.70),
            _gated("exclusive", -7, 9.81),
            _gated("shortcut-only", 0, 12.86),
            _gated("shortcut-only", -6, 6.91),
            _row("1×1 convolution on the shortcut", 12.22, "convolution", "model.shortcut=C"),
            _row("dropout 0.5 on the shortcut", None, "dropout", "model.unit=dropout_shortcut"),
        ),
    ),
    "identity2": Table(
        f"{_OF_ALL}: order of normalisation and activation",
        f"{HE_2016}, Table 2, §4.1",
        ("top1_error",),
        "last",
        (
            *_orders("resnet110", (6.61, 8.17, 7.84, 6.71, 6.37)),
            *_orders("resnet164", (5.93, 6.50, 6.14, 5.91, 5.46)),
        ),
    ),
}
