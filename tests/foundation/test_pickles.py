"""Pickles of NumPy arrays are read, and whatever else stands in them is refused and never run."""

import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
import torch

from foundation.pickles import PickleError, read_arrays


def dump(content: object, protocol: int = 2) -> bytes:
    return pickle.dumps(content, protocol=protocol)


def refusal(content: bytes) -> str:
    with pytest.raises(PickleError) as caught:
        read_arrays(content)
    return str(caught.value)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol_and_layout(protocol):
    arrays = {
        "c": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(24).reshape(2, 3, 4)),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "half": np.array([1.5], dtype=np.float16),
        "scalar": np.float64(0.1),
        "zero_dim": np.array(7),
        "truth": np.array([True, False]),
    }
    content = {"model": OrderedDict(arrays), "__author__": "somebody", "epochs": [1, (2.5, None)]}
    found = read_arrays(dump(content, protocol))
    assert found["__author__"] == "somebody" and found["epochs"] == [1, [2.5, None]]
    for name, array in arrays.items():
        expected = torch.from_numpy(np.array(array))
        assert found["model"][name].dtype == expected.dtype and torch.equal(found["model"][name], expected)


def test_pickle_of_python_2():
    # As Python 2 wrote it: bytes as text, numpy's former module, here {"w": array([1, -2], float32)}.
    numbers = struct.pack("<2f", 1.0, -2.0)
    content = (
        b"\x80\x02}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(numbers)]) + numbers + b"tbs."
    )
    assert read_arrays(content)["w"].tolist() == [1.0, -2.0]
    assert read_arrays(content, text="bytes")[b"w"].tolist() == [1.0, -2.0]


def test_the_flags_of_a_dtype_are_ignored():
    # NumPy 2.4 answers these flags with SystemError; other damage in this place makes it crash.
    content = dump({"w": np.arange(4, dtype=np.uint8)})
    hostile = content.replace(b"K\x00t", b"K\x7ft")
    assert hostile != content and read_arrays(hostile)["w"].tolist() == [0, 1, 2, 3]
    hostile = dump(np.ones(2, dtype=">f4")).replace(b"X\x01\x00\x00\x00>", b"U\x01>")
    with pytest.raises(PickleError, match="big-endian"):
        read_arrays(hostile, text="bytes")


class Intruder:
    def __init__(self, call, *arguments) -> None:
        self.call = call, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pickle_is_not_run(tmp_path, protocol):
    target = tmp_path / "owned"
    content = {"model": {"w": np.ones(2), "x": Intruder(os.mkdir, str(target))}}
    message = refusal(dump(content, protocol))
    assert f"it holds {os.mkdir.__module__}.mkdir, which was not run" in message
    assert not target.exists()
    pickle.loads(dump(content, protocol))  # a free reader would have run it
    assert target.exists()


@pytest.mark.parametrize(
    "call",
    [
        Intruder(eval, "1"),
        Intruder(getattr, "", "join"),
        Intruder(np.load, "x"),
        Intruder(np.fromfile, "x"),
        Intruder(torch.load, "x"),
    ],
)
def test_even_harmless_calls_are_refused(call):
    assert "which was not run" in refusal(dump({"w": call}))


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\ndtype\n}U\x07changedK\x01sb.",  # changes the class that stands for a dtype
        b"cnumpy\nndarray\nNK\x01K\x02\x86\x86b.",
        b"c_codecs\nencode\n}b.",
        b"cnumpy.core.multiarray\n_reconstruct\n)R.",  # an array that never got its numbers
        b"cnumpy\nndarray\n)R.",
        b"cnumpy\ndtype\nU\x01O\x85R.",  # an array of objects
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",  # a frame larger than the file
        b"\x80\x02T\xff\xff\xff\x7fabc.",  # text larger than the file
        b"I1\n.garbage"[:2],
    ],
)
def test_crafted_pickles_change_and_return_nothing(content):
    refusal(content)
    assert read_arrays(dump({"w": np.ones(2)}))["w"].tolist() == [1.0, 1.0]


def test_array_whose_numbers_do_not_fill_its_shape():
    content = pickle.dumps({"w": np.ones((3, 5), dtype=np.uint8)}, protocol=2)
    content = content.replace(b"K\x03K\x05\x86", b"K\x03K\x06\x86")
    assert "an array of shape (3, 6) has 15 bytes" in refusal(content)


def test_arrays_that_are_no_numbers_of_ours():
    for array, message in ((np.ones(2, dtype=">f4"), "big-endian"), (np.array(["a"]), "an array of U1")):
        assert message in refusal(dump({"w": array}))


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_cut_off_pickle(kept):
    content = pickle.dumps({"w": np.ones(500)}, protocol=2)
    assert refusal(content[: int(len(content) * kept)])


def nested(depth: int) -> list:
    found: list = [1]
    for _ in range(depth):
        found = [found, found]
    return found


def test_containers_named_twice_stay_one():
    found = read_arrays(dump(nested(10)))  # 2 ** 11 + 2 ** 10 - 1 values when written out
    assert found[0] is found[1] and found[0][0] is found[1][0]


def test_what_stands_for_more_than_its_bytes_is_refused():
    # 60 lists, each holding the one before twice: 3 * 2 ** 60 - 1 = 3.5e18 values.
    assert "stand for 3e+18 values" in refusal(dump(nested(60)))
    # As keys of a dictionary, tuples would be hashed as often.
    key: tuple = ()
    for _ in range(60):
        key = (key, key)
    content = dump({0: key})
    assert "stand for" in refusal(content)
    content = content.replace(b"K\x00", b"", 1).removesuffix(b"s.") + b"K\x00s."
    assert "unhashable type" in refusal(content)
    assert "it holds a set" in refusal(dump({1, 2}, 4)) and "it holds a set" in refusal(
        dump(frozenset("a"), 4)
    )
    assert "more than 255 bytes" in refusal(dump(1 << 2040))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]r\xff\xff\xff\x03.",  # LONG_BINPUT: the reader in C makes room for 2 ** 26 entries
        b"]p4000000000\n.",  # PUT
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",  # BYTEARRAY8
        b"\x80\x05\x8e" + struct.pack("<Q", 1 << 40) + b".",  # BINBYTES8
        b"\x80\x02(" + 20_000 * b"\x8a\x08" + b"\xff" * 7 + b"\x7f" + b"t.",
        20_000 * b"]" + 20_000 * b"a" + b".",  # a list in a list, and so on
    ],
)
def test_a_number_in_a_pickle_costs_nothing(content, bounded):
    tracemalloc.start()
    with bounded():
        try:
            read_arrays(content)
        except PickleError as error:
            assert str(error)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_an_array_of_many_dimensions():
    content = dump(np.ones((1, 1, 1), dtype=np.uint8))
    assert b"K\x01K\x01K\x01\x87" in content
    content = content.replace(b"K\x01K\x01K\x01\x87", b"(" + 33 * b"K\x01" + b"t")
    assert "33 dimensions" in refusal(content)
