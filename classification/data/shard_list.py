"""The list of a split's shards, by which a set is known that was never finished or lacks a part.

It says from the first moment that the set is being written, and what belongs to it only when all is there.
Sets of others, and those of earlier releases, have none and are read as they are.
"""

import json
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from foundation.atomic_files import write_json
from foundation.errors import UserError

LIST_FILE = "shard_list.json"  # beside the shards of a split
_REMEDY = "remove the folder and pack it again with tools/make_shards.py, or copy it again"


def begin_list(folder: Path) -> None:
    """Says that shards are being written here, and removes what a killed writer left.

    Raises:
        UserError: shards are here that are finished, or not known to be ours.
    """
    shards = list(folder.glob("*.tar"))
    if shards and (not (folder / LIST_FILE).is_file() or _read(folder)["complete"]):
        raise UserError(f"{folder} holds shards already; remove them or choose another folder")
    write_json(folder / LIST_FILE, {"complete": False})
    for path in (*shards, *folder.glob(f".{folder.name}-*.tar.*"), *folder.glob(f".{LIST_FILE}.*")):
        path.unlink()


def finish_list(folder: Path, shards: Collection[Path]) -> None:
    """Says that these shards, all written, are the whole set."""
    sizes = {path.name: path.stat().st_size for path in shards}
    write_json(folder / LIST_FILE, {"complete": True, "shards": sizes}, indent=1)


def check_list(folder: Path, shards: Collection[Path], pattern: str) -> None:
    """Compares shards with the list beside them, if there is one.

    Args:
        shards: of this folder, those to be read; what is no file is not looked at.
        pattern: by which they were found, so that others of such names should have been, too.
    Raises:
        UserError: the set was not finished, a shard of it is missing, or one is not as it was written.
    """
    if not (folder / LIST_FILE).is_file():
        return
    content = _read(folder)
    if not content["complete"]:
        raise UserError(
            f"the shards in {folder} were not finished, for their writer was stopped; run "
            f"tools/make_shards.py again with --splits {folder.name}, which writes them anew"
        )
    listed, found = content["shards"], {path.name: path for path in shards if path.is_file()}
    if missing := sorted(name for name in listed if fnmatchcase(name, pattern) and name not in found):
        raise UserError(f"{folder} lacks {missing[0]} of {len(listed)} shards; copy it again")
    if strange := sorted(found.keys() - listed.keys()):
        raise UserError(
            f"{found[strange[0]]} is none of the {len(listed)} shards in {folder / LIST_FILE}; remove it, or "
            "the list, to read both"
        )
    for name, path in found.items():
        if path.stat().st_size != listed[name]:
            raise UserError(f"{path} has {path.stat().st_size} bytes, {listed[name]} were written; {_REMEDY}")


def _read(folder: Path) -> dict[str, Any]:
    path = folder / LIST_FILE
    try:
        content = json.loads(path.read_bytes())
        if content["complete"] and not all(isinstance(size, int) for size in content["shards"].values()):
            raise TypeError("sizes must be whole numbers")
        return dict(content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no list of shards ({error}); {_REMEDY}") from error
