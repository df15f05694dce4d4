"""Objects beside weights are read as objects without content, and nothing of them is run."""

import argparse
import os
import pathlib
import pickle
import sys
import types
from collections import defaultdict

import numpy as np
import pytest
import torch

from foundation.inert_objects import INERT, Dropped
from foundation.pickles import read_arrays
from foundation.torch_archives import TorchFileError, read_torch


class AttributeDict(dict):
    """As Lightning's: items, and a state besides."""


AttributeDict.__module__, AttributeDict.__qualname__ = "lightning.fabric.utilities.data", "AttributeDict"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1, device="cuda"),
        types.SimpleNamespace(a=1),
        np.float64(0.75),
        np.int64(3),
        np.str_("top1"),
        np.arange(3.0),
        [pathlib.PurePosixPath("/data"), pathlib.PureWindowsPath("C:/data")],
        {"state": np.random.default_rng(0).bit_generator.state},
    ],
    ids=str,
)
def test_weights_are_read_beside_them(tmp_path, beside, zipped):
    path = tmp_path / "x.pth"
    torch.save(
        {"w": torch.tensor([0.5, -2.0]), "beside": beside}, path, _use_new_zipfile_serialization=zipped
    )
    assert read_torch(path)["w"].tolist() == [0.5, -2.0]


def test_mappings_keep_their_items(tmp_path, monkeypatch):
    counts = defaultdict(list)
    counts["top1"].append(0.5)
    torch.save({"counts": counts}, tmp_path / "x.pth")
    assert read_torch(tmp_path / "x.pth") == {"counts": {"top1": [0.5]}}
    module = types.ModuleType("lightning.fabric.utilities.data")
    module.AttributeDict = AttributeDict
    for name in ("lightning", "lightning.fabric", "lightning.fabric.utilities"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    options = AttributeDict(lr=0.1)
    options.extra = 1
    torch.save({"hyper_parameters": options}, tmp_path / "x.pth")
    assert read_torch(tmp_path / "x.pth") == {"hyper_parameters": {"lr": 0.1}}


def test_a_namespace_beside_arrays_of_a_pickle():
    content = pickle.dumps({"blobs": {"w": np.ones(2, "f4")}, "args": argparse.Namespace(lr=0.1)})
    found = read_arrays(content)
    assert found["blobs"]["w"].tolist() == [1.0, 1.0] and isinstance(found["args"], Dropped)


class Call:
    """A pickle of it calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_nothing_is_run(tmp_path):
    """Neither a function that is not in the table, nor one that an object of the table is given."""
    for function in (os.mkdir, eval, exec, getattr):
        torch.save({"w": torch.zeros(1), "x": Call(function, str(tmp_path / "made"))}, tmp_path / "x.pth")
        with pytest.raises(TorchFileError, match="which was not run"):
            read_torch(tmp_path / "x.pth")
    assert not (tmp_path / "made").exists()
    assert not {name for name in INERT if name.startswith(("os.", "posix.", "subprocess.", "builtins.e"))}
    state = argparse.Namespace(__setstate__=3, lr=0.1)
    torch.save({"args": state}, tmp_path / "x.pth")
    args = read_torch(tmp_path / "x.pth")["args"]
    assert type(args) is Dropped and not hasattr(args, "__dict__")
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
    assert not any(stand_in in torch.serialization.get_safe_globals() for stand_in in INERT.items())
