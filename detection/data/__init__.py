"""Annotated pictures: PASCAL VOC, COCO and Shapes, and the batches made of them."""
