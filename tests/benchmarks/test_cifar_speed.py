"""Both sides train; nothing here depends on a clock."""

import pytest
import torch
from torch import Tensor

from benchmarks import cifar_speed
from benchmarks.cifar_speed import LoaderLoop, OurLoop, PilPictures, cifar_calls


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    images = torch.arange(96 * 3072).remainder(251).to(torch.uint8).view(96, 3, 32, 32)
    few = images, torch.arange(96) % 10
    for name, value in (("BATCH", 32), ("STEPS", {"cpu": 2}), ("WORKERS", {"cpu": 0})):
        monkeypatch.setattr(cifar_speed, name, value)
    monkeypatch.setattr(cifar_speed, "pictures", lambda: few)
    return few


def test_a_call_takes_as_many_steps_on_both_sides(few: tuple[Tensor, Tensor]):
    ours = OurLoop("resnet8_cifar", *few, torch.device("cpu"), bf16=False)
    peer = LoaderLoop("resnet8_cifar", *few, "cpu")
    for calls in (1, 2):
        ours(), peer()
        assert ours.state.step == 2 * calls
        assert ours.state.model.bn1.num_batches_tracked == peer.model.bn1.num_batches_tracked == 2 * calls


def test_the_peer_sees_whole_pictures_with_their_labels(few: tuple[Tensor, Tensor]):
    pictures = PilPictures(*few)
    picture, label = pictures[7]
    assert len(pictures) == 96 and picture.shape == (3, 32, 32) and label == 7


def test_the_rows_of_a_machine_without_gpu(few: tuple[Tensor, Tensor]):
    [(name, _, _)] = cifar_calls("cpu")
    assert name.startswith("resnet20_cifar, 2 steps of 32 (eager, fp32;")
