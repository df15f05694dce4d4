"""The figures of the analyses; several networks in each."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from analysis.arrays import Arrays
from analysis.paths import effective_range, path_weights, share_of_paths
from analysis.shattering import NETS, cloud_correlation
from pictures.plots import chart_label, new_axes

BINS = 6  # of draws by Kendall's τ
Labelled = Mapping[str, Arrays]  # what was measured, by the name of the network


def styled(labelled: Labelled) -> Iterator[tuple[Arrays, dict[str, Any]]]:
    """A colour for each network, trained or not; plain ones dashed, untrained ones dotted or dash-dotted."""
    networks = list(dict.fromkeys(name.removesuffix(", untrained") for name in labelled))
    for label, arrays in labelled.items():
        plain, untrained = label.startswith("plain"), label.endswith(", untrained")
        line = "-." if plain and untrained else ":" if untrained else "--" if plain else "-"
        place = networks.index(label.removesuffix(", untrained"))
        yield arrays, {"color": f"C{place % 10}", "ls": line, "label": chart_label(label)}


def finished(figure: Any, axis: Any, title: str | None) -> Any:
    """The figure with its title, and below all panels what the lines of an axis are."""
    columns = int(figure.get_figwidth() / 2.6)  # inches, for names as "preact_resnet110_cifar, untrained"
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize="small")
    if title:
        figure.suptitle(title)
    return figure


def _shade(axis: Any, x: Any, low: Any, high: Any, color: str, alpha: float = 0.15) -> None:
    axis.fill_between(x, low, high, color=color, alpha=alpha, lw=0)


def draw_responses(labelled: Labelled) -> Any:
    """Standard deviations of layer responses, in layer order and ranked (He et al. 2015, Figure 7)."""
    figure, axes = new_axes(1, 2, sharey=True)
    in_order, ranked = axes[0]
    for arrays, style in styled(labelled):
        layers = np.arange(1, len(arrays["std"]) + 1)
        in_order.plot(layers, arrays["std"], **style)
        ranked.plot(layers, np.sort(arrays["std"])[::-1], **style)
    in_order.set(title="in the order of the layers", xlabel="3x3 layer", ylabel="standard deviation", ylim=0)
    ranked.set(title="ranked", xlabel="rank")
    title = "Responses of 3x3 layers, before nonlinearity and addition"
    return finished(figure, in_order, f"{title}, {numbers(labelled, 'pictures')} pictures")


def draw_signal(labelled: Labelled) -> Any:
    """Terms of the sums, what the identity carries forward and back, gradients, and timm's statistics."""
    figure, axes = new_axes(2, 3)
    panels = {
        "residual over shortcut, norms": lambda a: a["residual"] / a["shortcut"],
        "identity's share of the stage's output": lambda a: a["forward_identity"],
        "identity's share of the gradient": lambda a: a["backward_identity"],
        "cosine of shortcut and residual": lambda a: a["cosine"],
        "gradient at the block's input, 1 behind the last": lambda a: a["gradient"],
        "variance of the block's channels": lambda a: a["variance"],
    }
    for axis, (title, values) in zip(axes.flat, panels.items(), strict=True):
        for arrays, style in styled(labelled):
            depth = (np.arange(len(arrays["blocks"])) + 1) / len(arrays["blocks"])
            axis.plot(depth, values(arrays), marker=".", ms=4, **style)
        axis.set(title=title, xlabel="depth, blocks over all blocks")
        if title.split()[0] in ("residual", "gradient", "variance"):
            axis.set_yscale("log")
    title = f"Signals forward and back, {numbers(labelled, 'pictures')} pictures"
    return finished(figure, axes[0, 0], title)


def draw_lesions(labelled: Labelled) -> Any:
    """Errors without single blocks, without several, and with blocks in another order (Veit et al. 2016)."""
    figure, axes = new_axes(1, 3, sharey=True)
    single, several, order = axes[0]
    for arrays, style in styled(labelled):
        names = arrays["blocks"].tolist()
        places = [names.index(name) for name in arrays["tried"].tolist()]
        x = np.array(places) / max(1, len(names) - 1)
        single.plot(x, arrays["single_error"], marker=".", **style)
        single.axhline(arrays["error"], color=style["color"], ls=":", lw=0.8)
        borders = [i for i, name in enumerate(names) if name.endswith(".0") and i in places]
        at = [places.index(border) for border in borders]
        single.plot(x[at], arrays["single_error"][at], "s", mfc="none", color=style["color"])
        _band(several, arrays["deleted"], arrays["deleted_error"], arrays["drawn_error"], **style)
        if len(arrays["swapped"]):
            _bins(order, 1 - arrays["tau"].ravel(), arrays["swapped_error"].ravel(), **style)
    draws = max(a[f"{kind}_error"].shape[1] for a in labelled.values() for kind in ("deleted", "swapped"))
    drawn = f"{draws} draws, {numbers(labelled, 'drawn_pictures')} pictures"
    single.plot([], [], "s", mfc="none", color="grey", label="first block of a stage")
    title = f"one block deleted, {numbers(labelled, 'pictures')} pictures"
    single.set(title=title, xlabel="place of the block, from first to last", ylabel="top-1 error, %")
    several.set(title=f"several deleted: {drawn}", xlabel="blocks deleted")
    order.set(title=f"pairs swapped: {drawn}", xlabel="1 − Kendall's τ with the trained order")
    for axis in axes[0]:
        axis.set_ylim(0, None)
    # A second scale: each deletion halves the number of paths that are left.
    top = several.secondary_xaxis("top")
    ticks = [k for k in (0, 5, 10, 15, 20) if k <= several.get_xlim()[1]]
    top.set_xticks(ticks, [f"$2^{{-{k}}}$" if k else "all" for k in ticks])
    top.tick_params(labelsize="small", pad=0)
    top.set_xlabel("of a residual network's paths are left", fontsize="small")
    order.set_xlim(0, None)
    return finished(figure, single, None)


def _band(axis: Any, x: Any, errors: Any, whole: Any, **style: Any) -> None:
    """Means over the draws from the whole network on, and where 95 % of the draws lie."""
    low, high = np.quantile(errors, (0.025, 0.975), axis=1) if len(errors) else ([], [])
    axis.plot([0, *x], [whole, *errors.mean(axis=1)] if len(errors) else [whole], marker=".", **style)
    _shade(axis, [0, *x], [whole, *low], [whole, *high], style["color"])


def _bins(axis: Any, x: Any, errors: Any, **style: Any) -> None:
    """Every draw, and of equal numbers of them in order of x the mean and where 95 % lie."""
    axis.plot(x, errors, ".", ms=3, alpha=0.25, color=style["color"])
    parts = [part for part in np.array_split(np.argsort(x, kind="stable"), BINS) if len(part)]
    means = np.array([x[part].mean() for part in parts])
    low, high = np.transpose([np.quantile(errors[part], (0.025, 0.975)) for part in parts])
    axis.plot(means, [errors[part].mean() for part in parts], marker=".", **style)
    _shade(axis, means, low, high, style["color"])


def draw_paths(labelled: Labelled, mass: float) -> Any:
    """Numbers of paths, sizes of their gradients, and the product, by length (Veit et al. 2016, Figure 6)."""
    figure, axes = new_axes(1, 3)
    number, size, product = axes[0]
    for arrays, style in styled(labelled):
        norms = arrays["norm"].tolist()
        lengths = list(range(len(norms)))
        low, high = effective_range(norms, mass)
        shares = [share_of_paths(len(norms) - 1, k, k) for k in lengths]
        number.plot(lengths, shares, marker=".", ms=4, **style)
        size.semilogy(lengths, norms, marker=".", ms=4, **style)
        error = arrays["deviation"] / np.sqrt(arrays["sampled"])
        bottom = np.maximum(norms - error, 0.1 * arrays["norm"])  # the scale has no zero
        _shade(size, lengths, bottom, norms + error, style["color"], 0.2)
        share = share_of_paths(len(norms) - 1, low, high)
        style["label"] = f"{low}…{high}: {100 * share:.2g} % of the paths"
        product.plot(lengths, path_weights(norms), marker=".", ms=4, **style)
        product.axvspan(low - 0.5, high + 0.5, color=style["color"], alpha=0.08, lw=0)
        product.plot(lengths, arrays["share"], "x", ms=4, color=style["color"])
    product.plot([], [], "x", color="grey", label="exact, all paths of a length together")
    number.set_title("paths of each length, share of all")
    size.set_title("mean size of a path's gradient")
    product.set_title(f"number times size; shaded: {100 * mass:g} %")
    for axis in axes[0]:
        axis.set_xlabel("residuals on the path")
    product.legend(fontsize="small")
    return finished(figure, number, f"Gradients along paths, {numbers(labelled, 'pictures')} pictures")


def draw_gradients(labelled: Labelled) -> Any:
    """Autocorrelation of gradients along lines between pictures, by lag and by depth."""
    figure, axes = new_axes(1, 2)
    for arrays, style in styled(labelled):
        _draw_autocorrelation(axes[0], arrays["depths"], arrays["autocorrelation"], **style)
    axes[0, 0].set(title="behind the last block", xlabel="lag, points of the line", ylabel="autocorrelation")
    axes[0, 1].set(title="lag 1, mean and deviation over lines", xlabel="blocks passed")
    title = f"Gradients at the picture along {numbers(labelled, 'lines')} lines between two pictures"
    return finished(figure, axes[0, 0], title)


def _draw_autocorrelation(axes: Any, depths: Any, curves: Any, **style: Any) -> None:
    """Curves (lines, depths, lags): the deepest ones' mean by lag, and lag 1 with its deviation by depth."""
    by_lag, by_depth = axes[:2]
    by_lag.plot(curves[:, -1].mean(axis=0), **style)
    mean, deviation = curves[:, :, 1].mean(axis=0), curves[:, :, 1].std(axis=0)
    by_depth.plot(depths, mean, marker=".", **style)
    _shade(by_depth, depths, mean - deviation, mean + deviation, style["color"], 0.12)


def draw_shattering(arrays: Arrays) -> Any:
    """The experiment on the line beside noise, decay with depth beside its laws, correlations of points."""
    figure, axes = new_axes(2, 3)
    by_lag, by_depth, cloud = axes[0]
    for kind, style in (("white", "k:"), ("brown", "k--")):
        by_lag.plot(arrays[kind].mean(axis=0), style, label=f"{kind} noise")
    depths = arrays["cloud_depths"]
    for number, name in enumerate(NETS):
        curves, colour = arrays[f"{name}/autocorrelation"], f"C{number}"
        _draw_autocorrelation(axes[0], arrays["depths"], curves, color=colour, label=name)
        cloud.loglog(depths, cloud_correlation(arrays, f"{name}/cloud"), ".-", color=colour)
        cloud.loglog(depths, cloud_correlation(arrays, f"{name}/cloud, independent"), "x", color=colour)
    laws = {"$2^{-L}$": (0.5**depths, "k:"), "$(3/4)^L$": (0.75**depths, "k--")}
    for label, (law, line) in (laws | {r"$1/\sqrt{L}$": (depths**-0.5, "k-")}).items():
        cloud.loglog(depths, law, line, lw=0.8, label=label)
    cloud.loglog([], [], "x", color="grey", label="independent masks")
    last = arrays["depths"][-1]
    by_lag.set(title=f"on the line, {last} layers or blocks", xlabel="lag", ylabel="autocorrelation")
    by_depth.set(title="on the line, lag 1, mean and deviation", xlabel="layers or blocks")
    cloud.set(title="correlation at two random points", xlabel="layers or blocks", ylim=(0.01, 1.3))
    cloud.legend(fontsize="small")
    shown = (("feed-forward", 0), ("feed-forward", -1), ("residual, BN, β = 0.1", -1))
    for axis, (name, place) in zip(axes[1], shown, strict=True):
        axis.grid(False)
        shades = {"vmin": -1, "vmax": 1, "cmap": "RdBu_r"}
        picture = axis.imshow(arrays[f"{name}/correlation"][place], extent=(-2, 2, 2, -2), **shades)
        axis.set(title=f"{name}, {arrays['depths'][place]} layers or blocks", xlabel="x", ylabel="x'")
    figure.colorbar(picture, ax=axes[1], label="correlation of derivatives", shrink=0.8)
    title = f"Derivatives of random networks of 200 rectifiers, {len(arrays['white'])} seeds"
    return finished(figure, by_lag, title)


def numbers(labelled: Labelled, name: str) -> str:
    """How many pictures or lines, of all networks."""
    return " or ".join(f"{number:,}" for number in sorted({int(a[name]) for a in labelled.values()}))
