"""Tar shards, as `classification.data.shards` and WebDataset read them, made from class folders."""

import os
import tarfile
from io import BytesIO
from pathlib import Path

from classification.data.class_folders import PictureFiles, list_folder
from classification.data.shards import CLASSES_FILE, read_classes
from foundation.atomic_files import replace_atomically
from foundation.errors import UserError


def write_shards(root: Path, split: str, out: Path, pictures_per_shard: int = 1000) -> list[Path]:
    """Packs root/split/class/picture into out/split/split-000000.tar and so on; the bytes of the files stay.

    Each picture keeps its class folder and name, and gets a .cls file with the number of its class, whose
    names out/classes.txt lists. The order is the folder's: training here shuffles anyway, but readers that
    stream want it shuffled. The same folder always gives the same files.

    Returns:
        The shards.
    Raises:
        UserError: the folder is not as `list_folder` wants it, there are shards already, of other classes or
            of this split, or two pictures of a class differ in their suffix alone.
    """
    reader = list_folder(root, split)
    _refuse_twins(reader)
    folder = out / split
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("*.tar")):
        raise UserError(f"{folder} holds shards already; remove them or choose another folder")
    if read_classes(out) not in ([], reader.classes):
        raise UserError(
            f"{out / CLASSES_FILE} lists other classes than {root / split}; choose another folder"
        )
    with replace_atomically(out / CLASSES_FILE) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in reader.classes), encoding="utf-8")
    paths = []
    for number, start in enumerate(range(0, len(reader.labels), pictures_per_shard)):
        paths.append(folder / f"{split}-{number:06}.tar")
        with replace_atomically(paths[-1]) as temporary, tarfile.open(temporary, "w") as tar:
            for index in range(start, min(start + pictures_per_shard, len(reader.labels))):
                _add_sample(tar, reader, index)
    return paths


def _refuse_twins(reader: PictureFiles) -> None:
    first: dict[str, int] = {}
    for index in range(len(reader.labels)):
        other = first.setdefault(os.path.splitext(reader.name(index))[0], index)
        if other != index:
            raise UserError(f"{reader.name(index)} and {reader.name(other)} would be one sample; rename one")


def _add_sample(tar: tarfile.TarFile, reader: PictureFiles, index: int) -> None:
    label = int(reader.labels[index])
    key, suffix = os.path.splitext(f"{reader.classes[label]}/{Path(reader.name(index)).name}")
    for name, content in ((key + suffix, reader.content(index)), (f"{key}.cls", str(label).encode())):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, BytesIO(content))
