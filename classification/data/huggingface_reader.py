"""Hugging Face data sets, read by timm's reader from their memory-mapped tables."""

import torch

from foundation.errors import UserError


class HuggingFaceReader:
    """A `PictureReader` of one split of a data set on the hub, or in a local folder."""

    def __init__(self, root: str, split: str, picture_column: str, label_column: str) -> None:
        """Opens it by its name on the hub, or folder; the library downloads what is not in its cache.

        Raises:
            UserError: a library, the data set, the split or a column is missing, the labels are no classes,
                or a picture has none.
        """
        self._title = f"{root}, split {split}"
        try:
            from timm.data.readers.reader_hfds import ReaderHfds
        except ImportError as error:
            raise UserError(
                f"data.kind=huggingface needs timm and datasets ({error}); "
                'pip install "residual-backbones[datasets]"'
            ) from error
        try:
            self._reader = ReaderHfds(root, split=split, input_key=picture_column, target_key=label_column)
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot open the Hugging Face data set {self._title}: {error}; set data.root to its name on "
                "the hub or its folder, and data.train_split and data.val_split to its splits"
            ) from error
        self._check_columns(picture_column, label_column)
        data = self._reader.dataset
        self.classes = list(data.features[label_column].names)
        numbers = [-1 if label is None else label for label in data[label_column][:]]
        self.labels = torch.tensor(numbers, dtype=torch.int64)
        without = torch.nonzero(self.labels < 0).flatten().tolist()
        if without:
            raise UserError(f"{self.name(without[0])} has no label; choose a split with labels")

    def _check_columns(self, picture_column: str, label_column: str) -> None:
        data = self._reader.dataset
        # timm's reader adds the column of pictures where there is none, with nothing in it.
        empty = data.data.column(picture_column).null_count == len(data)
        columns = [name for name in data.features if name != picture_column or not empty]
        for column in (picture_column, label_column):
            if column not in columns:
                raise UserError(
                    f"{self._title} has no column {column!r}, but {', '.join(columns)}; "
                    "set data.picture_column and data.label_column"
                )
        if getattr(data.features[label_column], "names", None) is None:
            raise UserError(f"{self._title}: column {label_column!r} holds no class labels; choose another")

    def name(self, index: int) -> str:
        return f"{self._title}, picture {index}"

    def content(self, index: int) -> bytes:
        try:
            file, _ = self._reader[index]
        except (OSError, AssertionError, TypeError) as error:  # what timm's reader raises where nothing is
            raise UserError(f"{self.name(index)}: holds neither a picture nor the path of one") from error
        with file:
            return file.read()
