"""The tiny detectors and batches of tests/detection/model, for what reads their regions."""

from tests.detection.model.conftest import batches, detector, detectors, with_masks  # noqa: F401
