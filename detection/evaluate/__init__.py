"""From a detector to numbers and pictures: predictions, VOC and COCO average precision, drawings."""
