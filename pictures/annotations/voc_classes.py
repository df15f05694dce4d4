"""The objects of PASCAL VOC, and the file that names the classes of sets in its layouts."""

_NAMES = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor"""
VOC_CLASSES = tuple(_NAMES.split())
_OF_COCO = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
COCO_NAMES = {name: _OF_COCO.get(name, name) for name in VOC_CLASSES}  # what COCO calls each of them
CLASSES_FILE = "classes.txt"  # labelImg's name for it
