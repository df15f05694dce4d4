"""Pretraining finds broken validation pictures first, and goes on with data and weights that moved."""

from pathlib import Path

import pytest

from classification import pretrain as pretraining
from classification.config import PretrainConfig
from classification.data.labelled_batches import Pictures, fingerprint
from classification.data.opened_splits import open_split
from classification.pretrain import pretrain
from foundation.errors import UserError
from training.config import load_config

OPTIONS = (
    *("model.name=resnet8_cifar", "data.kind=folder", "data.image_size=8", "data.resize=10", "run.workers=0"),
    *("optim.batch_size=4", "optim.reference_batch=4", "run.device=cpu", "run.log_every=1"),
    *("run.eval_every=2", "schedule.total_steps=4"),
)


def config(root: Path, *more: str) -> PretrainConfig:
    return load_config(PretrainConfig, None, [*OPTIONS, f"data.root={root}", *more])


def files(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ("metrics.jsonl", "result.json")}


def fail_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluation after this step stops the next training; that of the one after it works again."""
    evaluate, calls = pretraining.evaluate, iter([2, 4])

    def failing(*arguments: object, **options: object):
        if next(calls, None) == step:
            raise UserError("a picture has broken since")
        return evaluate(*arguments, **options)

    monkeypatch.setattr(pretraining, "evaluate", failing)


def test_broken_validation_pictures_are_found_before_the_first_step(folder_root: Path, tmp_path: Path):
    for name in ("ape/0.png", "cow/1.png"):
        (folder_root / "val" / name).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"ape/0\.png.*\n2 of 6 validation pictures cannot be read"):
        pretrain(config(folder_root), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_where_its_data_and_weights_have_moved(
    folder_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pretrain(config(folder_root), tmp_path / "before")
    weights = tmp_path / "weights.safetensors"
    (tmp_path / "before" / "last.safetensors").rename(weights)
    started = f"model.weights={weights}"
    pretrain(config(folder_root, started), tmp_path / "whole")
    fail_at(2, monkeypatch)
    with pytest.raises(UserError, match="broken since"):
        pretrain(config(folder_root, started), tmp_path / "moved")
    weights.unlink()
    folder_root.rename(tmp_path / "elsewhere")
    pretrain(config(tmp_path / "elsewhere", started), tmp_path / "moved", resume=True)
    assert files(tmp_path / "moved") == files(tmp_path / "whole")


@pytest.mark.parametrize(("split", "first"), [("train", "training"), ("val", "validation")])
def test_a_run_does_not_go_on_with_swapped_labels(
    folder_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, first: str
):
    fail_at(4, monkeypatch)
    with pytest.raises(UserError, match="broken since"):
        pretrain(config(folder_root), tmp_path / "run")
    folder = folder_root / split
    (folder / "ape" / "0.png").rename(folder / "bee" / "extra.png")
    (folder / "bee" / "0.png").rename(folder / "ape" / "extra.png")
    with pytest.raises(UserError, match=f"other data: {first} file names and labels [0-9a-f]+ before"):
        pretrain(config(folder_root), tmp_path / "run", resume=True)


def test_names_and_labels_decide_the_fingerprint_not_the_place(folder_root: Path, tmp_path: Path):
    def opened(root: Path) -> Pictures:
        return open_split(config(root).data, training=True)

    before = fingerprint(opened(folder_root))
    folder_root.rename(tmp_path / "elsewhere")
    assert fingerprint(opened(tmp_path / "elsewhere")) == before
    (tmp_path / "elsewhere" / "train" / "ape" / "3.png").rename(tmp_path / "elsewhere/train/ape/4.png")
    renamed = opened(tmp_path / "elsewhere")
    assert fingerprint(renamed) != before
    changed = opened(tmp_path / "elsewhere")
    changed.labels[0] = 2
    assert fingerprint(changed) != fingerprint(renamed)
