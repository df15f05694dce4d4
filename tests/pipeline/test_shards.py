"""Pretraining from tar shards: the run from folders to the last bit, even when it was interrupted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from classification.data.encoded_pictures import EncodedPictures


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two classes of random JPEGs, 10 to train and 5 to validate each."""
    rng = np.random.default_rng(0)
    for split, pictures in (("train", 10), ("val", 5)):
        for name in ("ape", "bee"):
            folder = tmp_path / "folders" / split / name
            folder.mkdir(parents=True)
            for number in range(pictures):
                pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return tmp_path / "folders"


@pytest.fixture
def interrupted_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ends the process's next training at its n-th batch."""
    prepare = EncodedPictures.prepare

    def set_up(batch: int) -> None:
        left = iter(range(batch - 1))

        def prepare_or_leave(pictures: EncodedPictures, content: object) -> object:
            if pictures.training and next(left, None) is None:
                raise KeyboardInterrupt
            return prepare(pictures, content)

        monkeypatch.setattr(EncodedPictures, "prepare", prepare_or_leave)

    yield set_up
    monkeypatch.setattr(EncodedPictures, "prepare", prepare)


def test_a_resumed_run_from_shards_is_the_run_from_folders(
    tool: Callable, tiny_classifier: list[str], folders: Path, tmp_path: Path, interrupted_at: Callable
):
    shards = tmp_path / "shards"
    tool("make_shards", folders, "--out", shards, "--pictures", 7)
    options = [*tiny_classifier, "data.mean=pixel", "data.broken=skip"]
    place = [f"data.root={shards}", "data.kind=shards", "run.workers=2"]

    tool(
        "pretrain",
        "--out",
        tmp_path / "whole",
        *options,
        "data.kind=folder",
        f"data.root={folders}",
        "run.workers=0",
    )
    interrupted_at(7)
    with pytest.raises(SystemExit):
        tool("pretrain", "--out", tmp_path / "killed", *options, *place)
    assert not (tmp_path / "killed" / "result.json").exists()
    interrupted_at(1000)
    tool("pretrain", "--out", tmp_path / "killed", "--resume", *options, *place)

    for name in ("metrics.jsonl", "result.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
    ours, theirs = (load_file(tmp_path / run / "last.safetensors") for run in ("killed", "whole"))
    assert ours.keys() == theirs.keys() and all((ours[name] == theirs[name]).all() for name in ours)
    assert json.loads((tmp_path / "whole" / "result.json").read_text())["step"] == 12

    tool("eval_cls", "--weights", tmp_path / "killed" / "last.safetensors", "--out", tmp_path / "scored")
    result = json.loads((tmp_path / "scored" / "result.json").read_text())
    final = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert result["scores"] == pytest.approx(final["scores"], rel=1e-5)
