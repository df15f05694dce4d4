"""One weight file into another: read, identified, checked, rewritten where asked, written."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from backbones.convert.caffemodel import read_mean
from backbones.convert.foreign_weights import INCEPTION_INPUT, MSRA_INPUT, Contents, Coverage, compare
from backbones.convert.format_limits import EPS, check_fits
from backbones.convert.formats import FORMATS, guess_format
from backbones.convert.identification import build_for
from backbones.convert.input_rewriting import rewrite_input, same_pictures
from backbones.families import Options, is_model
from backbones.networks.blocks import has_bottlenecks
from backbones.spec import IMAGENET_INPUT, LATER_OPTIONS, InputSpec, Network
from backbones.weights.published import find_weights
from backbones.weights.weight_values import check_values, with_plain_counters
from backbones.weights.weights_header import WeightsHeader
from foundation.errors import WeightsError, check_choice

# Names in a detector of ours: conv5 of C4 is in the head of every region.
_OF_BACKBONE = r"(?:trunk\.(?:body\.)?(?!fpn\.)|roi_heads\.region_features\.head\.)(.+)"
PICTURES = {"imagenet": IMAGENET_INPUT, "inception": INCEPTION_INPUT, "msra": MSRA_INPUT}


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        coverage: of the network by the file.
        header: of the weights written; torchvision's and timm's files cannot hold it.
        note: what users of the weights must know.
        settings: with which the host uses them.
    """

    coverage: Coverage
    header: WeightsHeader
    note: str = ""
    settings: str = ""

    def describe(self) -> str:
        """The report, with what the host of the weights must be told."""
        unsaid = {"num_classes", "zero_init_residual"}
        options = "".join(
            f", {name}={value}" for name, value in self.header.options.items() if name not in unsaid
        )
        spec = self.header.input_spec
        pictures = f"{spec.order} in 0-{spec.range:g}, mean {spec.mean}, std {spec.std}"
        lines = [self.header.model + options, self.coverage.describe(), f"  pictures: {pictures}"]
        lines += [f"  {title}: {said}" for title in ("note", "settings") if (said := getattr(self, title))]
        return "\n".join(lines)


def convert(
    source: Path,
    target: Path,
    *,
    source_format: str = "auto",
    target_format: str = "ours",
    model: str | None = None,
    part: str | None = None,
    stride_on: Literal["1x1", "3x3"] | None = None,
    stem_pool: Literal["padded", "ceil"] | None = None,
    source_input: str | None = None,
    mean: Path | None = None,
    target_input: str | None = None,
    allow_missing: Collection[str] = (),
    allow_unexpected: Collection[str] = (),
    backbone_only: bool = False,
    overwrite: bool = False,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Conversion:
    """Converts a weight file; nothing is written unless every tensor has its place or is allowed by name.

    Args:
        source: file, or published name.
        target: file; its suffix must be one of its format's.
        source_format, target_format: of `FORMATS`; "auto" guesses the source's where names are certain.
        model: our name of the network; None finds it by the tensors.
        part: which network of a source that holds several, such as plain and averaged weights, by the name
            that the refusal without it lists.
        stride_on: of the source, where its format cannot say.
        stem_pool: declares the result to be for this pooling, whatever the source's network has.
        source_input: pictures of the source, a name of `PICTURES`, where its format cannot say.
        mean: Caffe's mean picture, in place of source_input.
        target_input: name of `PICTURES` to rewrite the first convolution for; "keep" writes into a format
            whose networks are used to other pictures.
        allow_missing, allow_unexpected: exact names, of the network and of the file.
        backbone_only: leave out the classifier, and of a detector all but its backbone.
        overwrite: replace an existing target.
        facts: values of the header that no tensors tell: dataset, score, config.
    Raises:
        WeightsError, OptionError: with the reason and the remedy.
    """
    _check_target(target, target_format, overwrite)
    source = find_weights(source)
    name = guess_format(source, part) if source_format == "auto" else source_format
    check_choice("format", name, FORMATS)
    contents = FORMATS[name].read(source, part)
    check_values(contents.state, source, names=contents.originals)
    contents.state = with_plain_counters(contents.state)
    if backbone_only and contents.header is not None and _is_detector(contents.header):
        contents = _backbone_of_detector(source, contents, contents.header)
    pictures = _source_pictures(source_input, mean)
    if contents.header is None:
        header, network = _find(source, contents, FORMATS[name].models, model, stride_on, pictures)
    else:
        header, network = _confirm(source, contents, contents.header, model, stride_on, pictures)
    header = replace(header, **facts)
    if stem_pool is not None:
        header = _with_stem_pool(header, stem_pool)
    state, coverage = _cover(contents, network, backbone_only)
    title = f"{source}{f' (below {contents.place!r})' if contents.place else ''} → {network.name}"
    unexpected = set(allow_unexpected) - contents.folded
    coverage.require(title, allow_missing=allow_missing, allow_unexpected=unexpected)
    if target_input not in (None, "keep"):
        first, wanted = (
            next((name for name in state if state[name].ndim == 4), "none"),
            _pictures(target_input),
        )
        state = rewrite_input(state, header.input_spec, wanted, first)
        header = replace(header, input_spec=wanted)
    check_fits(target_format, header, network, coverage, any_pictures=target_input == "keep")
    FORMATS[target_format].write(target, state, header)
    notes = [contents.note] if contents.note else []
    if backbone_only and contents.rest_of_detector:
        notes.append(f"{len(contents.rest_of_detector)} tensors beside the backbone were left out")
    return Conversion(coverage, header, "; ".join(notes), FORMATS[target_format].settings(header))


def _check_target(target: Path, name: str, overwrite: bool) -> None:
    check_choice("format", name, FORMATS)
    suffixes = FORMATS[name].suffixes
    if target.suffix not in suffixes:
        raise WeightsError(f"{target}: {name} is written as {' or '.join(suffixes)}, got {target.suffix!r}")
    if target.exists() and not overwrite:
        raise WeightsError(f"{target} exists; choose another name, or replace it with --overwrite")


def _pictures(name: str | None) -> InputSpec:
    check_choice("pictures", name, PICTURES)
    return PICTURES[str(name)]


def _source_pictures(name: str | None, mean: Path | None) -> InputSpec | None:
    if name is not None and mean is not None:
        raise WeightsError("--source-input and --mean both say what the pictures are; give one")
    if mean is not None:
        return replace(MSRA_INPUT, mean=read_mean(mean))
    return None if name is None else _pictures(name)


def _find(
    source: Path,
    contents: Contents,
    models: str,
    model: str | None,
    stride_on: str | None,
    pictures: InputSpec | None,
) -> tuple[WeightsHeader, Network]:
    """A header from what the tensors, the format and the caller say, and the network, without values."""
    network = build_for(contents.state, model, {}, models=models)
    if has_bottlenecks(network):
        stride_on = stride_on or contents.stride_on
        if stride_on is None:
            raise WeightsError(
                f"{source} does not say where its bottlenecks stride; give --stride-on 3x3 (torchvision, "
                "timm) or --stride-on 1x1 (Caffe, MSRA, and what detectron2 trained from them)"
            )
        network = build_for(contents.state, network.name, {"stride_on": stride_on})
    elif stride_on == "1x1":
        raise WeightsError(f"{source}: {network.name} has no bottlenecks; leave out --stride-on 1x1")
    pictures = pictures or contents.input_spec
    if pictures is None:
        raise WeightsError(
            f"{source} does not say what pictures it was trained on; give --source-input imagenet "
            "(torchvision, most of timm), inception (mean 0.5) or msra (detectron2's default: BGR in 0-255), "
            "or Caffe's --mean FILE"
        )
    header = WeightsHeader(network.name, network.options, pictures, norm_eps=EPS)
    return _with_stem_pool(header, contents.stem_pool), network


def _confirm(
    source: Path,
    contents: Contents,
    header: WeightsHeader,
    model: str | None,
    stride_on: str | None,
    pictures: InputSpec | None,
) -> tuple[WeightsHeader, Network]:
    """The file's own header, which the caller must not contradict, and the network it names."""
    if _is_detector(header):
        raise WeightsError(
            f"{source} is a detector's ({header.model}); only classifiers can be converted, and of a "
            "detector its backbone, with --backbone-only"
        )
    said = {"--model": (model, header.model), "--stride-on": (stride_on, header.options.get("stride_on"))}
    for option, (given, known) in said.items():
        if given not in (None, known):
            raise WeightsError(f"{source}: its header says {known}, not {given}; leave {option} out")
    if pictures is not None and not same_pictures(pictures, header.input_spec):
        raise WeightsError(
            f"{source}: its header says {header.input_spec}; leave --source-input and --mean out"
        )
    options = {name: value for name, value in header.options.items() if name in Options.__annotations__}
    return header, build_for(contents.state, header.model, options)


def _is_detector(header: WeightsHeader) -> bool:
    return "category_ids" in header.options


def _backbone_of_detector(source: Path, contents: Contents, header: WeightsHeader) -> Contents:
    """Of a detector's file of ours its backbone, conv5 in the heads of C4 with it, as a classifier's file."""
    name = str(header.options.get("name"))
    if not is_model(name):
        raise WeightsError(f"{source} is a detector's on {name}, which is not a network of ours to convert")
    backbone = Contents({}, stem_pool=header.options.get("stem_pool", contents.stem_pool))
    for full, tensor in contents.state.items():
        if found := re.fullmatch(_OF_BACKBONE, full):
            backbone.state[found[1]], backbone.originals[found[1]] = tensor, full
        else:
            backbone.unused[full] = tensor
    backbone.rest_of_detector = set(backbone.unused)
    given = {key: header.options.get(key) for key in ("shortcut", "stride_on")}
    network = build_for(backbone.state, name, {key: value for key, value in given.items() if value})
    options = WeightsHeader(name, network.options, header.input_spec, header.norm_eps, header.dataset)
    backbone.header = _with_stem_pool(options, backbone.stem_pool)
    return backbone


def _with_stem_pool(header: WeightsHeader, stem_pool: str) -> WeightsHeader:
    """The header with this pooling, which is stated only where it is not the usual one."""
    options = {name: value for name, value in header.options.items() if name != "stem_pool"}
    usual = stem_pool == LATER_OPTIONS["stem_pool"]
    return replace(header, options=options if usual else options | {"stem_pool": stem_pool})


def _cover(contents: Contents, network: Network, backbone_only: bool) -> tuple[dict[str, Tensor], Coverage]:
    """Tensors that have their place, in the network's order, and how much of file and network they are."""
    own: Mapping[str, Tensor] = network.state_dict()
    state, unused = dict(contents.state), dict(contents.unused)
    if backbone_only:
        last = f"{network.last_layer}."
        own, state = (
            {name: tensor for name, tensor in tensors.items() if not name.startswith(last)}
            for tensors in (own, state)
        )
        unused = {name: tensor for name, tensor in unused.items() if name not in contents.rest_of_detector}
    for name in [name for name in state if name not in own]:
        tensor = state.pop(name)
        if not name.endswith("num_batches_tracked"):
            unused[contents.originals.get(name, name)] = tensor
    coverage = compare(state, unused, own)
    return {name: state[name] for name in own if name in coverage.used}, coverage
