"""The detectors: Faster R-CNN C4, batched over pictures in fixed shapes."""
