"""Opens the data set a configuration names."""

from pathlib import Path

from classification.data.cifar10 import Cifar10
from classification.config import DataConfig
from classification.data.picture_files import FolderPictures
from classification.data.labelled_batches import Pictures
from classification.data.readers import place
from training.config import data_root


def open_split(config: DataConfig, *, training: bool) -> Pictures:
    """The training split with augmentation, or the validation split without.

    Raises:
        UserError: the data set is not where it should be, or not whole.
    """
    split = config.train_split if training else config.val_split
    if config.kind == "cifar10":
        root = Path(config.root or data_root() / "cifar-10-batches-py")
        return Cifar10(root, split, train_split=config.train_split, training=training)
    return FolderPictures(place(config), split, config, training=training)
