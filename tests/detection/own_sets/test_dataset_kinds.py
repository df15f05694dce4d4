"""The table of kinds: what each of them must say."""

from pathlib import Path

import pytest

from detection.imagenet.ilsvrc_lists import TrainSample
from detection.imagenet.ilsvrc_split import IlsvrcSplit
from detection.own_sets.dataset_kinds import DATASETS


@pytest.mark.parametrize("name", DATASETS)
def test_every_kind_can_be_opened_or_found(name: str):
    kind = DATASETS[name]
    assert (kind.open or kind.find) is not None
    assert kind.folder is not None or kind.find is not None  # a set without a place is somebody's own
    train, val = kind.splits(None)
    assert train != val


def test_a_sample_is_of_the_same_splits(tmp_path: Path):
    (tmp_path / "devkit" / "data").mkdir(parents=True)
    (tmp_path / "devkit" / "data" / "map_det.txt").write_text("n01 1 cat\n")
    (tmp_path / "ImageSets" / "DET").mkdir(parents=True)
    (tmp_path / "ImageSets" / "DET" / "train_1.txt").write_text("a 1\nb 1\nc 1\n")
    kind = DATASETS["imagenet_det"]
    assert kind.sampled is not None
    for members, count in ((kind, 3), (kind.sampled(TrainSample(2, 0)), 2)):
        assert members.locate is not None
        split, other = members.locate(tmp_path, "train+val1")
        assert isinstance(split, IlsvrcSplit) and (str(split), str(other)) == ("DET:train", "DET:val1")
        assert len(split.image_ids()) == count


def test_only_det_has_lists_of_classes():
    assert [name for name, kind in DATASETS.items() if kind.sampled] == ["imagenet_det", "shapes_det"]
