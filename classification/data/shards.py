"""Pictures in tar shards: read by index, and packed from class folders.

A shard holds samples as WebDataset has them, `name.jpg` (or another picture) with `name.cls`, or with a
`name.json` that has a "label"; or pictures in folders named as their classes. timm's reader by index knows
only the latter, and passes over the rest of a damaged shard: hence a reader of our own.
"""

import json
import os
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from classification.data.class_folders import list_folder
from classification.data.shard_list import begin_list, check_list, finish_list
from classification.data.tar_index import TarMember, list_members
from foundation.atomic_files import replace_atomically, write_text
from foundation.bounds import LABEL_BYTES
from foundation.errors import UserError
from foundation.file_naming import portable_name
from foundation.file_reading import read_text, readable
from pictures.suffixes import PICTURE_SUFFIXES

CLASSES_FILE = "classes.txt"
Label = int | str


class ShardReader:
    """A `PictureReader` of one split, in the order of the shards' names and of the members in them.

    The classes are the lines of root/classes.txt; without it the sorted names that the labels are, or 0 … K−1
    where they are integers.
    """

    def __init__(self, root: Path, split: str) -> None:
        """Reads where each picture lies.

        Raises:
            UserError: there is no shard, one is damaged, a picture has no label or a label no picture, or the
                labels are no classes.
        """
        self.shards = shard_files(root, split)
        found = [list_samples(path) for path in self.shards]
        samples = [sample for part in found for sample in part]
        # Arrays, since Python objects would be copied into every worker as their reference counts change.
        self._shard = np.repeat(np.arange(len(found)), [len(part) for part in found])
        self._name = np.array([member.name.encode() for member, _ in samples])
        self._offset = np.array([member.offset for member, _ in samples])
        self._size = np.array([member.size for member, _ in samples])
        labels = [label for _, label in samples]
        self.classes = read_classes(root) or name_classes(labels, str(root / split), self.name)
        indices = {name: index for index, name in enumerate(self.classes)}
        numbers = [label if isinstance(label, int) else indices.get(label, -1) for label in labels]
        wrong = [index for index, number in enumerate(numbers) if not 0 <= number < len(self.classes)]
        if wrong:
            raise UserError(
                f"{self.name(wrong[0])} has the label {labels[wrong[0]]!r}, which is none of the "
                f"{len(self.classes)} classes; correct it, or {root / CLASSES_FILE}"
            )
        self.labels = torch.tensor(numbers)

    def name(self, index: int) -> str:
        return f"{self.shards[self._shard[index]]}:{self._name[index].decode()}"

    def content(self, index: int) -> bytes:
        size, offset = int(self._size[index]), int(self._offset[index])
        try:
            # Reads at a place of its own: workers share the file with the process they come from.
            content = os.pread(_open_once(self.shards[self._shard[index]]).fileno(), size, offset)
        except OSError as error:
            raise UserError(f"{self.name(index)}: {error.strerror}; is the shard still there?") from error
        if len(content) != size:
            raise UserError(f"{self.name(index)}: got {len(content)} bytes of {size}; the shard was changed")
        return content


@lru_cache(maxsize=128)
def _open_once(path: Path) -> BinaryIO:
    return path.open("rb", buffering=0)


def shard_files(root: Path, split: str) -> list[Path]:
    """The shards of a split, sorted by name.

    Args:
        split: a folder below root with .tar files, or a pattern: train-*.tar, train-{000..146}.tar.
    Raises:
        UserError: there is none, one of those in braces is missing, or they are not as the list beside them
            says.
    """
    root, split = Path(Path(split).anchor or root), split.lstrip("/")
    is_folder = (root / split).is_dir()
    ends = re.search(r"\{(\d+)\.\.(\d+)\}", split)
    if ends:
        numbers = range(int(ends[1]), int(ends[2]) + 1)
        names = [split.replace(ends[0], f"{number:0{len(ends[1])}}") for number in numbers]
        paths = [root / name for name in names]
    else:
        paths = sorted(root.glob(f"{split}/*.tar" if is_folder else split))
    pattern = "*.tar" if is_folder else "" if ends else Path(split).name
    for folder in {root / split} if is_folder else sorted({path.parent for path in paths}):
        check_list(folder, [path for path in paths if path.parent == folder], pattern)
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        raise UserError(
            f"no shard {(missing or [root / split])[0].absolute()}; expected a folder of .tar files, or a "
            "pattern such as train-*.tar or train-{000000..000146}.tar; set data.root, data.train_split and "
            "data.val_split"
        )
    return paths


def list_samples(path: Path) -> list[tuple[TarMember, Label]]:
    """The pictures of a shard, in order, with their labels; for the errors see `ShardReader`."""
    pictures: dict[str, TarMember] = {}
    labels: dict[str, Label] = {}
    for member, content in _members(path):
        key, suffix = os.path.splitext(posixpath.normpath(member.name))
        if content is not None:
            label = _parse_label(content, suffix, f"{path}:{member.name}")
            if label is not None and (suffix == ".cls" or key not in labels):
                labels[key] = label
        elif pictures.setdefault(key, member) is not member:
            raise UserError(f"{path} holds two pictures called {key}; rename one")
    _leave_out_fields(path, pictures, labels)
    lonely = [key for key in labels if key not in pictures]
    if lonely:
        raise UserError(f"{path}: {lonely[0]} has a label, but no picture ({', '.join(PICTURE_SUFFIXES)})")
    for key, member in pictures.items():
        if labels.setdefault(key, os.path.basename(os.path.dirname(key))) in ("", ".."):
            raise UserError(
                f"{path}:{member.name} has no label; expected {key}.cls or a {key}.json with a label beside "
                "it, or a folder named as its class"
            )
    return [(member, labels[key]) for key, member in pictures.items()]


def _leave_out_fields(path: Path, pictures: dict[str, TarMember], labels: dict[str, Label]) -> None:
    """Removes what belongs to another sample: WebDataset's names end at the first dot, 0.seg.png is of 0.

    A picture whose whole name has a label of its own, as `write_shards` writes them, is a sample.
    """
    sample_of = {key: _sample_name(key) for key in (*pictures, *labels)}
    for key in [key for key in labels if key not in pictures and sample_of[key] in pictures]:
        if key != sample_of[key]:  # 0.meta.json beside 0.jpg
            del labels[key]
    unlabelled: dict[str, str] = {}
    for key in [key for key in pictures if key not in labels]:
        sample = sample_of[key]
        if sample in labels and sample in pictures:
            del pictures[key]
        elif unlabelled.setdefault(sample, key) != key:
            first, second = pictures[unlabelled[sample]].name, pictures[key].name
            raise UserError(
                f"{path} holds {first} and {second}, which are one sample without label: names end at the "
                "first dot; put .cls files beside them, or rename one"
            )


def _sample_name(key: str) -> str:
    folder, base = os.path.split(key)
    return os.path.join(folder, base.split(".")[0])


def _members(path: Path) -> Iterator[tuple[TarMember, bytes | None]]:
    """Pictures, without their content, and files that may be labels, with it."""
    try:
        with path.open("rb") as file:
            for member in list_members(path):
                suffix = os.path.splitext(member.name)[1].lower()
                if os.path.basename(member.name).startswith("."):  # droppings of file managers
                    continue
                if suffix in (".cls", ".json") and member.size > LABEL_BYTES:
                    raise ValueError(f"{member.name} has {member.size:,} bytes, expected a label")
                if suffix in (".cls", ".json"):
                    yield member, os.pread(file.fileno(), member.size, member.offset)
                elif suffix in PICTURE_SUFFIXES:
                    yield member, None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or no uncompressed tar file ({error}); get it anew, or unpack its compression"
        ) from error


def _parse_label(content: bytes, suffix: str, name: str) -> Label | None:
    """The label in a .cls file, or in a .json file if it has one."""
    with readable(name, "expected a label"):
        label = content.decode().strip() if suffix == ".cls" else json.loads(content)
    if suffix == ".cls" and label == "":
        raise UserError(f"{name} is empty; expected a class, its number or its name")
    if isinstance(label, dict):
        if "label" not in label:
            return None
        label = label["label"]
        if isinstance(label, bool) or not isinstance(label, int | str):
            raise UserError(
                f"{name} has the label {json.dumps(label)}; expected a class, its number or its name; "
                "correct it, or remove it from the file"
            )
    if isinstance(label, str) and re.fullmatch(r"-?\d{1,4000}", label):
        label = int(label)
    return label if isinstance(label, int | str) and not isinstance(label, bool) else None


def read_classes(root: Path) -> list[str]:
    """The class names in root/classes.txt, one a line; none without the file."""
    path = root / CLASSES_FILE
    if not path.is_file():
        return []
    names = read_text(path, "expected one class name a line").split("\n")
    names = names[:-1] if names[-1] == "" else names
    if len(set(names)) != len(names) or "" in names:
        raise UserError(f"{path} must hold one class name a line, each once")
    return names


def name_classes(labels: Sequence[Label], where: str, name: Callable[[int], str]) -> list[str]:
    """The classes that labels without a list of names stand for: sorted names, or 0 … K−1."""
    numbers = [label for label in labels if isinstance(label, int)]
    if not labels:
        raise UserError(f"the shards {where} hold no pictures ({', '.join(PICTURE_SUFFIXES)})")
    if len(numbers) not in (0, len(labels)):
        raise UserError(
            f"the shards {where} mix {len(numbers)} numbers with {len(labels) - len(numbers)} names as "
            f"labels; use one kind, or list the classes in {CLASSES_FILE}"
        )
    # A single wrong number would ask for any memory: as many classes as pictures are enough.
    wrong = [index for index, number in enumerate(numbers) if not 0 <= number < len(labels)]
    if wrong:
        raise UserError(
            f"{name(wrong[0])} has the label {numbers[wrong[0]]}; expected 0 to {len(labels) - 1}, less than "
            f"the number of pictures; correct it, or list the classes in {CLASSES_FILE}"
        )
    return [str(i) for i in range(max(numbers) + 1)] if numbers else sorted(set(map(str, labels)))


def write_shards(root: Path, split: str, out: Path, pictures_per_shard: int = 1000) -> list[Path]:
    """Packs root/split/class/picture into out/split/split-000000.tar and so on; the bytes of the files stay.

    Each picture keeps its class folder and name, and gets a .cls file with the number of its class, whose
    names out/classes.txt lists. The order is the folder's: training here shuffles anyway, but readers that
    stream want it shuffled. The same folder always gives the same files, whose paths are returned. What a
    killed call left is refused by readers, and written anew by the next call.

    Raises:
        UserError: the folder is not as `list_folder` wants it, there are shards already, of other classes or
            of this split, two pictures of a class differ in their suffix alone, the split's name is that of
            no folder in `out`, or a class has a line break in its name.
    """
    reader = list_folder(root, split)
    first: dict[str, int] = {}
    for index in range(len(reader.labels)):
        other = first.setdefault(os.path.splitext(reader.name(index))[0], index)
        if other != index:
            raise UserError(f"{reader.name(index)} and {reader.name(other)} would be one sample; rename one")
    if portable_name(split) != split or split.startswith("."):
        raise UserError(f"--splits {split!r} names a folder below --out too; expected one name such as train")
    if broken := [name for name in reader.classes if set(name) & set("\r\n")]:
        raise UserError(f"{CLASSES_FILE} has a class a line, {broken[0]!r} a line break; rename it")
    folder = out / split
    folder.mkdir(parents=True, exist_ok=True)
    if read_classes(out) not in ([], reader.classes):
        raise UserError(
            f"{out / CLASSES_FILE} lists other classes than {root / split}; choose another folder"
        )
    begin_list(folder)
    write_text(out / CLASSES_FILE, "".join(f"{name}\n" for name in reader.classes))
    paths = []
    for number, start in enumerate(range(0, len(reader.labels), pictures_per_shard)):
        paths.append(folder / f"{split}-{number:06}.tar")
        with replace_atomically(paths[-1]) as temporary, tarfile.open(temporary, "w") as tar:
            for index in range(start, min(start + pictures_per_shard, len(reader.labels))):
                label = int(reader.labels[index])
                name = f"{reader.classes[label]}/{Path(reader.name(index)).name}"
                files = {name: reader.content(index), os.path.splitext(name)[0] + ".cls": b"%d" % label}
                for name, content in files.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, BytesIO(content))
    finish_list(folder, paths)
    return paths
