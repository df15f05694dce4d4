"""The objects of PASCAL VOC, and the file that names the classes of sets in its layouts."""

_NAMES = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor"""
VOC_CLASSES = tuple(_NAMES.split())
CLASSES_FILE = "classes.txt"  # labelImg's name for it
