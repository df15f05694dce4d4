"""ImageNet's detection (DET) and localization (CLS-LOC) data as the archives of ILSVRC unpack them."""
