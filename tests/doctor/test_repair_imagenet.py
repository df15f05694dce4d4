"""Annotations of ImageNet made fit; lists and devkit stay, since they call pictures by their places."""

from pathlib import Path

import pytest

from detection.data.dataset_splits import DataConfig, open_dataset
from detection.imagenet import ilsvrc_shapes
from doctor.diagnosis import diagnose
from foundation.errors import UserError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few generated pictures of both tasks."""
    monkeypatch.setattr(ilsvrc_shapes, "DET_SPLITS", {"train": 30, "val": 4, "test": 1})
    monkeypatch.setattr(ilsvrc_shapes, "LOC_SPLITS", {"train": 10, "val": 17, "test": 1})
    return ilsvrc_shapes.ensure_ilsvrc(tmp_path)


def annotate(root: Path, *objects: str) -> None:
    """Gives the first picture of CLS-LOC's val, of class n90000000 and 166 x 143, these objects."""
    size = "<size><width>143</width><height>166</height></size>"
    file = root / "Annotations" / "CLS-LOC" / "val" / "ILSVRC2012_val_00000001.xml"
    file.write_text(f"<annotation>{size}{''.join(objects)}</annotation>")


def node(wnid: str, *corners: int) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{wnid}</name><bndbox>{box}</bndbox></object>"


def test_cls_loc(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    size = open_dataset(DataConfig(kind="imagenet_loc", root=str(root)), "val").image_sizes[0]
    assert size == (166, 143)
    kept, crossing = node("n90000000", 0, 0, 9, 9), node("n90000000", 5, 5, 143, 170)
    annotate(root, kept, kept, crossing, node("n93000000", 0, 0, 9, 9), node("n90000000", 9, 0, 5, 9))
    out = tmp_path / "repaired"
    diagnose([f"imagenet_loc:{root}:val"], repair=out, quick=True)
    printed = capsys.readouterr().out
    # Counted from 0, the last column of 143 is 142, and the last row 165.
    assert "object 3: bndbox 5, 5, 143, 170 is now 5, 5, 142, 165" in printed
    assert "object 4 left out: it is n93000000, which the picture is not" in printed
    assert "4 changes" in printed
    dataset = open_dataset(DataConfig(kind="imagenet_loc", root=str(out)), "train+val")
    assert dataset.targets[10].boxes.tolist() == [[0, 0, 10, 10], [5, 5, 143, 166]]
    assert len(dataset) == 27


def test_det(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    absent = next((root / "Annotations" / "DET" / "val").glob("*.xml"))
    absent.unlink()
    out = tmp_path / "repaired"
    diagnose([f"imagenet_det:{root}:val"], repair=out, quick=True)
    assert f"{absent.stem} is not repaired, and keeps the split from being read: missing" in (
        capsys.readouterr().out
    )
    diagnose([f"imagenet_det:{out}:train"], repair=tmp_path / "again", quick=True)
    config = DataConfig(kind="imagenet_det", root=str(tmp_path / "again"))
    before = open_dataset(DataConfig(kind="imagenet_det", root=str(root)), "train")
    assert open_dataset(config, "train").fingerprint() == before.fingerprint()


def test_one_split_at_a_time(root: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"--repair takes one split, got imagenet_det:.*; name it, as in"):
        diagnose([f"imagenet_det:{root}"], repair=tmp_path / "repaired", quick=True)
    assert not (tmp_path / "repaired").exists()
