import pytest

from backbones import OptionError, list_models
from backbones.families import FAMILIES, find_family, is_model


def test_names_belong_to_one_family_each():
    names = list_models()
    assert len(names) == len(set(names)) == sum(len(family.models) for family in FAMILIES.values())
    for key, family in FAMILIES.items():
        assert all(find_family(name) == (family, arguments) for name, arguments in family.models.items()), key


def test_arguments_of_names():
    assert find_family("resnext101_32x8d")[1] == {"depth": 101, "groups": 32, "width": 4}
    assert find_family("preact_resnet20_cifar") == (FAMILIES["preact_resnet_cifar"], {"depth": 20})
    assert find_family("resnet8_cifar")[0].image_size == 32


def test_unknown_names():
    assert is_model("plain26_cifar") and not is_model("faster_rcnn_cifar") and not is_model("resnet51")
    with pytest.raises(OptionError, match=r"^unknown model 'resnet51'; did you mean 'resnet5?0?1?\d*'\?$"):
        find_family("resnet51")
