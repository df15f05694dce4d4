"""Conversions asked for rightly and wrongly: coverage, permissions by name, what no file says, refusals."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from backbones import IMAGENET_INPUT, WeightsError, create_model, read_weights
from backbones.convert import FORMATS, convert
from backbones.convert.conversion import PICTURES
from backbones.convert.foreign_weights import INCEPTION_INPUT, MSRA_INPUT


def run_tool(root: Path, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    spec = importlib.util.spec_from_file_location("tool", root / "tools" / "convert_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (*FORMATS,) == module.FORMATS and (*PICTURES,) == module.PICTURES
    monkeypatch.setattr(sys, "argv", ["convert_weights", *map(str, arguments)])
    module.run(module.main, module.parser())


def test_tool_reports_and_refuses(root, monkeypatch, capsys, small, tmp_path, changed):
    out = tmp_path / "r18.safetensors"
    run_tool(root, monkeypatch, small, out, "--from", "torchvision")
    assert capsys.readouterr().out.splitlines() == [
        "resnet18, shortcut=B, stride_on=3x3",
        # 11,689,512 parameters less 997 · 513 of the classifier, 9,600 statistics and 20 counters
        "  used: 122 tensors, 11,187,671 values (100.0 %)",
        "  missing: none",
        "  unused: none",
        "  pictures: RGB in 0-1, mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)",
    ]
    with pytest.raises(SystemExit) as left:
        run_tool(root, monkeypatch, small, out)
    captured = capsys.readouterr()
    assert left.value.code == 2 and captured.err.startswith(f"error: {out} exists; choose another name")
    allowed = ("--allow-missing", "fc.bias", "fc.weight", "--allow-unexpected", "a")
    partly = changed(small, tmp_path / "partly.pth", without=("fc.bias", "fc.weight"), a=torch.zeros(1))
    run_tool(root, monkeypatch, partly, out, "--from", "torchvision", "--overwrite", *allowed)
    assert "  2 missing:\n    fc.weight (1000, 512)\n" in capsys.readouterr().out


def test_nothing_below_all_without_its_name(small, tmp_path, changed, refusal):
    out, form = tmp_path / "x.safetensors", {"source_format": "torchvision"}
    more, less = torch.zeros(2, 2), ("layer1.0.bn1.running_var",)
    broken = changed(small, tmp_path / "broken.pth", without=less, **{"extra.w": more, "conv1.weight": more})
    message = refusal(broken, out, **form, model="resnet18")
    for part in (
        f"{broken} → resnet18: not every tensor has its place",
        "1 missing:\n    layer1.0.bn1.running_var (64,)",
        "1 unused:\n    extra.w (2, 2)",
        "1 of another shape:\n    conv1.weight: file (2, 2), network (64, 3, 7, 7)",
        "allow each by its name",
    ):
        assert part in message
    names = {"allow_missing": [*less, "conv1.weight"], "allow_unexpected": ["extra.w", "conv1.weight"]}
    for left_out in ("conv1.weight", "extra.w", *less):
        fewer = {key: [name for name in value if name != left_out] for key, value in names.items()}
        assert left_out in refusal(broken, out, **form, model="resnet18", **fewer)
    conversion = convert(broken, out, **form, model="resnet18", **names)
    assert 99 < conversion.coverage.percent < 100
    assert read_weights(out)[0].keys().isdisjoint({"extra.w", "conv1.weight", *less})
    message = refusal(small, tmp_path / "y.safetensors", **form, allow_missing=["fc.wieght"])
    assert "'fc.wieght' is allowed, but it is not missing or unused; check its spelling" in message


def test_wrong_depth_and_wrong_classes(small, tmp_path, changed, refusal):
    message = refusal(small, tmp_path / "x.safetensors", source_format="torchvision", model="resnet34")
    assert "94 missing" not in message and "missing:\n    layer1.2.conv1.weight" in message
    convert(small, tmp_path / "r18.safetensors", source_format="torchvision")
    with pytest.raises(WeightsError, match="is of resnet18, not of resnet34; give a file of resnet34"):
        create_model("resnet34", weights=tmp_path / "r18.safetensors")
    with pytest.raises(WeightsError, match="is for 3 classes, the network for 1000; give num_classes=3"):
        create_model("resnet18", weights=tmp_path / "r18.safetensors")
    cut = changed(small, tmp_path / "cut.pth", without=("layer2.0.conv1.weight", "layer2.1.conv1.weight"))
    message = refusal(cut, tmp_path / "x.safetensors", source_format="torchvision")
    assert "no network of tools/models.py has tensors like these" in message
    assert "unknown model 'resnet81'" in refusal(
        small, tmp_path / "x.safetensors", source_format="torchvision", model="resnet81"
    )


def test_what_no_file_says_is_asked(small, tmp_path, refusal):
    out, network = tmp_path / "out.safetensors", create_model("resnet50", num_classes=2)
    torch.save(network.state_dict(), tmp_path / "r50.pth")
    options = {"source_format": "ours", "source_input": "imagenet"}
    message = refusal(tmp_path / "r50.pth", out, **options)
    assert "does not say where its bottlenecks stride; give --stride-on 3x3" in message
    convert(tmp_path / "r50.pth", out, **options, stride_on="1x1")
    assert read_weights(out)[1].options["stride_on"] == "1x1"
    message = refusal(small, tmp_path / "r18.safetensors", **options, stride_on="1x1")
    assert message.endswith("resnet18 has no bottlenecks; leave out --stride-on 1x1")
    message = refusal(small, out, source_format="timm", overwrite=True)
    assert "does not say what pictures it was trained on; give --source-input imagenet" in message
    convert(small, out, source_format="timm", source_input="inception", overwrite=True)
    assert read_weights(out)[1].input_spec == INCEPTION_INPUT


def test_a_header_is_not_contradicted(tmp_path, cifar, write, refusal):
    out = tmp_path / "out.safetensors"
    r50 = write(tmp_path / "r50.safetensors", "resnet50", spec=MSRA_INPUT, stride_on="1x1", num_classes=2)
    assert "its header says 1x1, not 3x3; leave --stride-on out" in refusal(r50, out, stride_on="3x3")
    assert "its header says resnet50, not resnet101" in refusal(r50, out, model="resnet101")
    assert "leave --source-input and --mean out" in refusal(r50, out, source_input="imagenet")
    detector = write(tmp_path / "d.safetensors", "resnet20_cifar", more={"category_ids": [1, 2]})
    assert "is a detector's (resnet20_cifar); only classifiers" in refusal(detector, out)


def test_pictures_are_rewritten_when_asked(tmp_path, logits, write, refusal):
    r18 = write(tmp_path / "r18.safetensors", "resnet18", spec=MSRA_INPUT, num_classes=2)
    out, theirs = tmp_path / "out.safetensors", tmp_path / "out.pth"
    message = refusal(r18, theirs, target_format="torchvision")
    assert "order='BGR'" in message and "rewrite the first convolution with --input imagenet" in message
    assert "timm's networks take RGB" in refusal(r18, theirs, target_format="timm")
    convert(r18, theirs, target_format="torchvision", target_input="imagenet")
    convert(r18, out, target_input="imagenet")
    before, after = (create_model("resnet18", num_classes=2, weights=path).eval() for path in (r18, out))
    assert after.input_spec == IMAGENET_INPUT and before.input_spec == MSRA_INPUT
    picture = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        logits = [network(network.input_spec.normalise(picture)) for network in (before, after)]
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-4)
    assert torch.equal(torch.load(theirs, weights_only=True)["conv1.weight"], after.conv1.weight)
    assert "the means differ" in refusal(r18, tmp_path / "x.safetensors", target_input="inception")
    convert(r18, theirs, target_format="torchvision", target_input="keep", overwrite=True)
    assert torch.equal(torch.load(theirs, weights_only=True)["conv1.weight"], before.conv1.weight)


def test_pooling_can_be_declared(tmp_path, write):
    path = write(tmp_path / "x.safetensors", "resnet50", stride_on="1x1", stem_pool="ceil", spec=MSRA_INPUT)
    conversion = convert(path, tmp_path / "x.pkl", target_format="detectron2", stem_pool="padded")
    assert "MODEL.RESNETS.STRIDE_IN_1X1 True INPUT.FORMAT BGR" in conversion.describe()
    assert (
        "MODEL.PIXEL_MEAN [103.53, 116.28, 123.675] MODEL.PIXEL_STD [1.0, 1.0, 1.0]" in conversion.describe()
    )
    convert(tmp_path / "x.pkl", tmp_path / "y.safetensors")
    assert "stem_pool" not in read_weights(tmp_path / "y.safetensors")[1].options


def test_backbone_of_a_detector(tmp_path, small, refusal):
    from backbones.convert.detectron2_format import from_ours

    state = {f"backbone.bottom_up.{name}": tensor for name, tensor in from_ours(torch.load(small)).items()}
    detector = {name: tensor for name, tensor in state.items() if "linear" not in name}
    detector |= {"backbone.fpn_lateral2.weight": torch.zeros(1), "roi_heads.x.weight": torch.zeros(1)}
    torch.save(
        {"model": detector, "iteration": 90000, "optimizer": {"state": {}}}, tmp_path / "model_final.pth"
    )
    out, says = tmp_path / "r18.safetensors", {"source_input": "msra"}
    message = refusal(tmp_path / "model_final.pth", out, **says)
    assert "2 missing:\n    fc.weight" in message and "2 unused:\n    backbone.fpn_lateral2.weight" in message
    conversion = convert(tmp_path / "model_final.pth", out, **says, backbone_only=True)
    assert conversion.coverage.percent == 100.0 and "fc.weight" not in read_weights(out)[0]
    assert conversion.describe().endswith("2 tensors beside the backbone were left out")
    incomplete = {name: value for name, value in detector.items() if "res3.0.conv1.norm" not in name}
    torch.save({"model": incomplete}, tmp_path / "x.pth")
    message = refusal(tmp_path / "x.pth", tmp_path / "y.safetensors", **says, backbone_only=True)
    assert "4 missing:\n    layer2.0.bn1.weight" in message
    torch.save({"model": detector | {"backbone.bottom_up.res9.weight": torch.zeros(1)}}, tmp_path / "x.pth")
    message = refusal(tmp_path / "x.pth", tmp_path / "y.safetensors", **says, backbone_only=True)
    assert "1 unused:\n    backbone.bottom_up.res9.weight" in message
    message = refusal(out, tmp_path / "y.pth", target_format="torchvision", target_input="keep")
    assert "2 missing" in message


def test_part_of_a_network_fits_in_ours_alone(tmp_path, small, changed, refusal):
    part = changed(small, tmp_path / "part.pth", without=("layer4.1.conv2.weight",))
    options = {
        "source_format": "torchvision",
        "model": "resnet18",
        "allow_missing": ["layer4.1.conv2.weight"],
    }
    message = refusal(part, tmp_path / "x.pkl", target_format="detectron2", **options)
    assert "layer4.1.conv2.weight is missing; only ours can hold a part of a network" in message
    convert(part, tmp_path / "x.safetensors", **options)


def test_suffixes_and_names_of_targets(small, tmp_path, refusal):
    message = refusal(small, tmp_path / "x.pth", source_format="torchvision")
    assert "ours is written as .safetensors, got '.pth'" in message
    message = refusal(small, tmp_path / "x.pkl", target_format="detectron")
    assert "unknown format 'detectron'; did you mean 'detectron2'" in message
    message = refusal(small, tmp_path / "x.safetensors", source_format="torch_vision")
    assert "did you mean 'torchvision'" in message
    message = refusal(small, tmp_path / "x.safetensors", source_format="timm", source_input="msr")
    assert "unknown pictures 'msr'; did you mean 'msra'" in message
