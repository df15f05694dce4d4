"""Which sizes detectors look at, each resized once."""

from detection.config import DetectionConfig
from detection.data.dataset_splits import DataConfig
from detection.improve.augmented_testing import Augmentation
from detection.improve.inference_options import InferenceConfig
from detection.improve.picture_scales import PictureScales


def config(short_side: int, scales: tuple[int, ...] = (), max_side: int = 1000) -> DetectionConfig:
    data = DataConfig(short_side=short_side, max_side=max_side)
    return DetectionConfig(data=data, testing=InferenceConfig(scales=scales))


def test_a_scale_that_is_the_detectors_own_size_is_not_resized_again():
    scales = PictureScales([config(600, (200, 600, 1000))])
    assert scales.places == [[0, 1, 0, 2]]
    own = Augmentation(600, 1000)
    # The limit of the long side grows with the scale: 1000 · 200/600 and 1000 · 1000/600.
    assert scales.at(own) == [own, Augmentation(200, 333), Augmentation(1000, 1667)]


def test_members_of_an_ensemble_share_sizes():
    scales = PictureScales([config(600), config(800), config(600), config(600, max_side=900)])
    assert scales.places == [[0], [1], [0], [2]]


def test_augmented_pictures_are_so_much_larger_for_every_member():
    scales = PictureScales([config(600, (300, 600)), config(800)])
    half = Augmentation(300, 500, mirrored=True)
    others = [Augmentation(150, 250, mirrored=True), Augmentation(400, 500, mirrored=True)]
    assert scales.at(half) == [half, *others]
