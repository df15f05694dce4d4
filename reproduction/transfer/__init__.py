"""Is a pretrained backbone worth it? The starts of a training compared, for detection and segmentation."""
