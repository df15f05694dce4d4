"""Semantic segmentation: networks, data, training and the metrics of label maps."""

from foundation import require_neighbours
from foundation.lazy_exports import lazy_exports

__getattr__ = lazy_exports(
    __name__,
    {
        "create_model": "segmentation.model.segmenters_by_name",
        "list_models": "segmentation.model.segmenters_by_name",
        "load": "segmentation.loaded_segmenter",
        "PictureSegmenter": "segmentation.loaded_segmenter",
    },
)

require_neighbours(__name__)
