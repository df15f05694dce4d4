"""The splits that one command opens, each read once however often it is asked for."""

from collections.abc import Hashable, Sequence

from detection.data.annotations import DetectionDataset
from detection.data.dataset_splits import DataConfig, find_at, layout_root, open_read, read_found
from detection.layouts.layout import FoundSet, Layout


class SplitOpener:
    """Opens splits as `open_dataset` does, and remembers them for those who ask later.

    A command has one of these, so that it reads its files once, and the log says once what they are.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, FoundSet] = {}
        self._layouts: dict[Hashable, Sequence[Layout]] = {}
        self._opened: dict[Hashable, DetectionDataset] = {}

    def __call__(self, config: DataConfig, split: str, *, masks: bool = False) -> DetectionDataset:
        """The data set of a split, as of `open_dataset`."""
        key = (config.kind, config.root, config.set_options, split, masks)
        if key not in self._opened:
            self._opened[key] = open_read(config, split, self.layouts(config, split), masks=masks)
        return self._opened[key]

    def layouts(self, config: DataConfig, split: str) -> Sequence[Layout] | None:
        """The parts of a split, as of `read_layouts`."""
        if (root := layout_root(config, split)) is None:
            return None
        key = (config.kind, root, config.set_options)
        if key not in self._found:
            self._found[key] = find_at(config, root)
        if (*key, split) not in self._layouts:
            self._layouts[(*key, split)] = read_found(self._found[key], config, split)
        return self._layouts[(*key, split)]

    def release(self) -> None:
        """Forgets what the open data sets need no more: the contents of the files."""
        self._found.clear()
        self._layouts.clear()
