import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from foundation.atomic_files import write_arrays
from foundation.errors import UserError, WeightsError
from foundation.file_reading import parse_xml, read_arrays, read_json, read_text, readable, why_unreadable


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "Expecting value"),
        (b"[" * 200_000, "is nested too deeply"),
        (b"\xff\xfe1", "is no text in utf-16-le (byte 2 is 0x31)"),
        (b"1" * 5000, "4300"),  # digits, Python's limit
        (b'{"a": 1', "is damaged or of another kind"),
        (b"\x89PNG\r\n\x1a\n", "is no text in utf-8"),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(tmp_path: Path, content: bytes, part: str):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(file, "expected a list; write it again")
    message = str(caught.value)
    assert message.startswith(f"{file}: ") and message.endswith("; expected a list; write it again")
    assert part in message and len(message.splitlines()) == 1


def test_a_byte_order_mark_is_no_content(tmp_path: Path):
    file = tmp_path / "x.json"
    file.write_bytes(b"\xef\xbb\xbf[1, 1e400]")
    assert read_json(file, "") == [1, float("inf")]  # JSON's grammar knows no largest number
    assert read_text(file, "") == "[1, 1e400]"


def test_what_is_no_file_is_named(tmp_path: Path):
    cases = {
        tmp_path: "is a folder, expected a file",
        tmp_path / "none": "no such file",
        tmp_path / ("x" * 300): "cannot be read (File name too long)",
        Path("a\0b"): "embedded null byte",
    }
    for path, part in cases.items():
        with pytest.raises(UserError, match="write it again") as caught:
            read_text(path, "write it again")
        assert part in str(caught.value)


def test_the_kind_of_error_is_the_callers_and_ours_stays():
    text = "^x.pkl: is damaged or of another kind .*; get another$"
    with pytest.raises(WeightsError, match=text), readable("x.pkl", "get another", WeightsError):
        pickle.loads(b"no pickle")
    with pytest.raises(UserError, match="^said already$"), readable("x", "y"):
        raise UserError("said already")
    with pytest.raises(KeyboardInterrupt), readable("x", "y"):
        raise KeyboardInterrupt


def test_errors_without_text_are_named():
    assert why_unreadable(EOFError()) == "is damaged or of another kind (EOFError)"
    assert why_unreadable(MemoryError()) == "needs more memory than there is"
    assert why_unreadable(json.JSONDecodeError("a\nb", "", 0)).count("\n") == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb2312", "GBK", "big5", "shift_jis", "iso-8859-1"])
def test_xml_is_read_in_the_encoding_that_it_states(encoding: str):
    text = "é" if encoding == "iso-8859-1" else "x" if encoding == "utf-8" else "中"
    content = f"<?xml version='1.0' encoding='{encoding}'?><a>{text}</a>".encode(encoding)
    assert parse_xml(content).text == text


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "zlib"])
def test_xml_in_an_unknown_encoding_is_refused(encoding: str):
    with (
        pytest.raises(UserError, match=f"x.xml: .*{encoding}.*; restore it"),
        readable("x.xml", "restore it"),
    ):
        parse_xml(f'<?xml version="1.0" encoding="{encoding}"?><a/>'.encode())


def test_what_is_no_xml_is_refused():
    for content in (b"", b"<a>", b"\x89PNG", b"<a>\xd6\xd0</a>"):  # the last is GBK that nothing states
        with pytest.raises(UserError, match="is damaged or of another kind"), readable("x.xml", "restore it"):
            parse_xml(content)


KINDS = {"names": ("U", 1), "values": ("f", 2)}


def test_arrays_are_read_as_they_were_written(tmp_path: Path):
    file = tmp_path / "new" / "x.npz"
    write_arrays(file, {"names": ["a", "b"], "values": np.eye(2), "more": 1})
    arrays = read_arrays(file, KINDS, "write it again")
    assert arrays["names"].tolist() == ["a", "b"] and arrays["values"].tolist() == [[1, 0], [0, 1]]
    assert arrays.keys() == KINDS.keys()


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"names": ["a"]}, "is damaged or of another kind ('values is not a file in the archive')"),
        ({"names": ["a"], "values": [[1]]}, "values is int64 (1, 1), expected kind 'f' of 2 dimensions"),
        ({"names": "a", "values": [[1.0]]}, "names is <U1 (), expected kind 'U' of 1 dimension"),
        ({"names": np.array([print]), "values": [[1.0]]}, "Object arrays cannot be loaded"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict, part: str):
    write_arrays(tmp_path / "x.npz", arrays)
    with pytest.raises(UserError) as caught:
        read_arrays(tmp_path / "x.npz", KINDS, "write it again")
    assert part in str(caught.value) and str(caught.value).endswith("; write it again")


def test_archives_that_unfold_are_refused(tmp_path: Path):
    np.savez_compressed(tmp_path / "x.npz", names=np.array(["a"]), values=np.zeros((999, 999)))
    with pytest.raises(UserError, match="x.npz: .*its entries unpack to .*; write it again"):
        read_arrays(tmp_path / "x.npz", KINDS, "write it again")
