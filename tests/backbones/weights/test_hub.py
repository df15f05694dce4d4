"""Weight files on the hub: what is sent and written, with a folder in the hub's place."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

import backbones.weights.hub as hub
from backbones import IMAGENET_INPUT, WeightsError, WeightsHeader, create_model, load_network, save_weights

HEADER = {"dataset": "cifar10 train", "score": {"top1_error": 8.25}, "classes": ["cat", "dog"]}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = create_model("resnet20_cifar", num_classes=2, shortcut="B")
    config = {"optim": {"lr": 0.1}}
    header = WeightsHeader("resnet20_cifar", network.options, IMAGENET_INPUT, 1e-3, config=config, **HEADER)
    save_weights(tmp_path / "best.safetensors", network.state_dict(), header)
    return tmp_path / "best.safetensors"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list:
    """Puts a folder in the hub's place; records what it was asked."""
    made: list = []

    class Folder:
        def create_repo(self, repository: str, **options: object) -> None:
            made.append((repository, options))
            (tmp_path / repository).mkdir(parents=True, exist_ok=True)

        def create_commit(self, repository: str, operations: list, commit_message: str) -> object:
            made.append(commit_message)
            for operation in operations:
                with operation.as_file() as file:
                    (tmp_path / repository / operation.path_in_repo).write_bytes(file.read())
            return type("Commit", (), {"commit_url": f"hub/{repository}/commit/1"})

    def download(repository: str, file: str, *, revision: str | None, cache_dir: Path) -> str:
        made.append((repository, file, revision))
        if not (tmp_path / repository / file).exists():
            raise LocalEntryNotFoundError("no such file")
        return shutil.copy(tmp_path / repository / file, cache_dir)

    monkeypatch.setattr(hub, "HfApi", Folder)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    return made


def test_pushed_and_pulled_is_the_same_network(weights: Path, calls: list, tmp_path: Path):
    (tmp_path / "cache").mkdir()
    assert hub.push(weights, "me/r20", private=True) == "hub/me/r20/commit/1"
    assert calls == [("me/r20", {"private": True, "exist_ok": True}), "Weights of resnet20_cifar"]
    assert {file.name for file in (tmp_path / "me/r20").iterdir()} == {"README.md", "model.safetensors"}
    pulled = hub.pull("me/r20", revision="v1", cache_dir=tmp_path / "cache")
    assert calls[-1] == ("me/r20", "model.safetensors", "v1")
    assert pulled.read_bytes() == weights.read_bytes()
    network = load_network(pulled)
    assert (network.name, network.options["shortcut"], network.bn1.eps) == ("resnet20_cifar", "B", 1e-3)
    with pytest.raises(WeightsError, match="is of resnet20_cifar, not of resnet32_cifar"):
        create_model("resnet32_cifar", weights=pulled)


def test_card(weights: Path, calls: list, tmp_path: Path):
    hub.push(weights, "me/r20", license="apache-2.0", description="Two animals.")
    card = (tmp_path / "me/r20/README.md").read_text()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "apache-2.0",
        "library_name": "residual-backbones",
        "pipeline_tag": "image-classification",
        "tags": ["residual-backbones", "resnet20_cifar", "arxiv:1512.03385"],
    }
    assert text.startswith("\n# me/r20\n\nTwo animals.\n")
    for row in (
        "| network | resnet20_cifar |",
        "| pictures | RGB, 0–1, mean [0.485, 0.456, 0.406], deviation [0.229, 0.224, 0.225] |",
        "| epsilon of batch normalisation | 0.001 |",
        "| trained on | cifar10 train |",
        "| classes | 2 |",
        "| top1_error (validation) | 8.25 |",
    ):
        assert row in text
    assert 'load_network(pull("me/r20"))' in text and "cat, dog" in text and '"lr": 0.1' in text


def test_card_of_a_detector_and_of_a_bare_header():
    detector = WeightsHeader("FasterRCNN", {"name": "resnet18"}, IMAGENET_INPUT, classes=["cat"])
    card = hub.model_card(detector, "me/cats")
    assert "pipeline_tag: object-detection" in card and 'detection.load(pull("me/cats"))' in card
    assert "license" not in card
    bare = hub.model_card(WeightsHeader("resnet18", {"num_classes": 7}, IMAGENET_INPUT), "me/r18")
    assert "| trained on | not recorded |" in bare and "| classes | 7 |" in bare and "## Classes" not in bare


def test_the_code_on_the_card_runs(
    weights: Path, calls: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hub.push(weights, "me/r20")
    monkeypatch.setattr(hub, "pull", lambda repository: tmp_path / repository / hub.FILE_NAME)
    code = (tmp_path / "me/r20/README.md").read_text().split("```python\n")[1].split("```")[0]
    names = {"pictures": torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)}
    exec(code, names)
    assert names["logits"].shape == (2, 2)


def test_what_cannot_be_pushed_or_pulled(
    weights: Path, calls: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    torch.save({"a": torch.zeros(1)}, tmp_path / "foreign.pth")
    with pytest.raises(WeightsError, match=r"foreign\.pth has no header.*tools/convert_weights\.py"):
        hub.push(tmp_path / "foreign.pth", "me/foreign")
    assert calls == []
    with pytest.raises(
        WeightsError, match=r"model\.safetensors of me/none at v2 was not pulled: no such file"
    ):
        hub.pull("me/none", revision="v2", cache_dir=tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise HFValidationError("a name has one slash")

    monkeypatch.setattr(hub.HfApi, "create_repo", refuse)
    with pytest.raises(
        WeightsError, match=r"best\.safetensors was not pushed to a/b/c: a name has one slash"
    ):
        hub.push(weights, "a/b/c")


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "backbones.weights.hub")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'residual-backbones\[hub\]'"):
        importlib.import_module("backbones.weights.hub")
