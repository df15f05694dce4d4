"""Maps from the classes of a data set to those of a detector's file."""

import pytest
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from detection.data.voc_dataset import VOC_CLASSES
from detection.model.category_maps import CATEGORY_MAPS, check_map_name, names_in_file
from foundation.errors import OptionError, UserError

COCO = [name for name in FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"] if name != "N/A"]


def test_every_class_of_voc_is_one_of_coco():
    names = names_in_file("coco_to_voc", VOC_CLASSES, COCO, "coco.safetensors")
    assert len(set(names)) == 20 and set(names) <= set(COCO)
    renamed = {ours: name for ours, name in zip(VOC_CLASSES, names, strict=True) if ours != name}
    assert renamed == {
        **{"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle"},
        **{"pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv"},
    }


def test_names_come_in_the_order_of_the_data_set_and_may_be_shared():
    category_map = {"car": "car", "sofa": "couch", "taxi": "car"}
    assert names_in_file(category_map, ["taxi", "sofa", "car"], COCO, "a") == ["car", "couch", "car"]
    assert names_in_file(None, ["taxi", "sofa"], COCO, "a") == ["taxi", "sofa"]


def test_all_mistakes_are_one_message_with_the_closest_names():
    category_map = {"sofas": "couch", "car": "cars", "dog": "dog"}
    with pytest.raises(UserError) as refused:
        names_in_file(category_map, ["sofa", "car", "dog", "mug"], ["car", "couch", "dog"], "a.safetensors")
    assert str(refused.value).splitlines() == [
        "model.category_map must give each class of the data set one of model.weights:",
        "  'sofas' is no class of the data set; did you mean 'sofa'?",
        "  left out: 'sofa', 'mug'",
        "  'car': 'cars' is no class of a.safetensors; did you mean 'car'?",
    ]
    with pytest.raises(UserError, match=r"^model\.category_map=coco_to_voc must give each class"):
        names_in_file("coco_to_voc", ["person"], COCO, "a.safetensors")


def test_names_of_maps_are_checked():
    assert check_map_name("coco_to_voc") == "coco_to_voc" and check_map_name(None) is None
    assert check_map_name({"coco": "voc"}) == {"coco": "voc"}
    with pytest.raises(OptionError, match="unknown map 'coco_voc'; did you mean 'coco_to_voc'"):
        check_map_name("coco_voc")
    assert set(CATEGORY_MAPS) == {"coco_to_voc"}
