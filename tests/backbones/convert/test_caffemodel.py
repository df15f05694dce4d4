"""Foreign containers: NumPy pickles and Caffe's binary files are read, and whatever else is refused."""

import math
import pickle
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones import WeightsError
from backbones.convert.caffemodel import (
    Layer,
    WireError,
    encode_field,
    encode_varint,
    fields,
    read_caffemodel,
    read_mean,
    varints,
    write_caffemodel,
    write_mean,
)
from backbones.convert.formats import read_pickled_arrays


def refusal(read, path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read(path)
    assert str(path) in str(caught.value) and len(str(caught.value).splitlines()) == 1
    return str(caught.value)


NO_WEIGHTS = [
    (b"", "is empty"),
    (b"<!DOCTYPE html><html>Access denied</html>", "is a web page, not weights"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
]


@pytest.mark.parametrize(("content", "message"), NO_WEIGHTS)
@pytest.mark.parametrize("read", [read_pickled_arrays, read_caffemodel, read_mean])
def test_no_weights_inside(tmp_path, read, content, message):
    (tmp_path / "x").write_bytes(content)
    assert message in refusal(read, tmp_path / "x")
    assert "no weights at" in refusal(read, tmp_path / "absent")


# ------------------------------------------------------------------------------------ Caffe's files


def test_fields_by_hand():
    # protobuf.dev: field 1 = 150 is 08 96 01, field 2 = "testing" is 12 07 and the text.
    message = memoryview(b"\x08\x96\x01\x12\x07testing\x1d\x00\x00\x80?")
    assert [
        (number, value if isinstance(value, int) else bytes(value)) for number, value in fields(message)
    ] == [
        (1, 150),
        (2, b"testing"),
        (3, struct.pack("<f", 1.0)),
    ]
    assert encode_varint(150) == b"\x96\x01" and encode_field(2, b"testing") == bytes(message[3:12])


@given(st.lists(st.integers(min_value=0, max_value=2**63 - 1)))
def test_varints_round_trip(values):
    assert varints(memoryview(b"".join(map(encode_varint, values)))) == values


@given(st.binary(max_size=40))
def test_any_bytes_are_fields_or_refused(content):
    try:
        total = sum(1 if isinstance(value, int) else len(value) for _, value in fields(memoryview(content)))
    except WireError:
        return
    assert total <= len(content)


def caffe_messages():
    """google.protobuf's own reader and writer for these messages: nothing of ours takes part."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    kinds = {
        "BlobShape": [("dim", 1, "INT64", True)],
        "BlobProto": [
            *(("num", 1, "INT32", False), ("channels", 2, "INT32", False)),
            *(("height", 3, "INT32", False), ("width", 4, "INT32", False)),
            *(
                ("data", 5, "FLOAT", True),
                ("shape", 7, "BlobShape", False),
                ("double_data", 8, "DOUBLE", True),
            ),
        ],
        "LayerParameter": [
            ("name", 1, "STRING", False),
            ("type", 2, "STRING", False),
            ("blobs", 7, "BlobProto", True),
        ],
        "V1LayerParameter": [("name", 4, "STRING", False), ("blobs", 6, "BlobProto", True)],
        "NetParameter": [
            ("name", 1, "STRING", False),
            ("layers", 2, "V1LayerParameter", True),
            ("layer", 100, "LayerParameter", True),
        ],
    }
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    field = descriptor_pb2.FieldDescriptorProto
    for kind, members in kinds.items():
        message = file.message_type.add(name=kind)
        for name, number, type_name, repeated in members:
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            added = message.field.add(name=name, number=number, label=label)
            if type_name in kinds:
                added.type, added.type_name = field.TYPE_MESSAGE, f".caffe.{type_name}"
            else:
                added.type = getattr(field, f"TYPE_{type_name}")
                added.options.packed = repeated and type_name != "STRING"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        kind: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{kind}")) for kind in kinds
    }


def test_protobuf_reads_what_we_write(tmp_path):
    layers = [Layer("conv1", [torch.randn(2, 3, 7, 7)], "Convolution"), Layer("fc", [torch.randn(300)] * 2)]
    write_caffemodel(tmp_path / "x.caffemodel", "net", layers)
    net = caffe_messages()["NetParameter"].FromString((tmp_path / "x.caffemodel").read_bytes())
    assert net.name == "net" and [layer.name for layer in net.layer] == ["conv1", "fc"]
    assert net.layer[0].type == "Convolution" and list(net.layer[0].blobs[0].shape.dim) == [2, 3, 7, 7]
    assert torch.equal(torch.tensor(net.layer[1].blobs[1].data), layers[1].blobs[1])
    write_mean(tmp_path / "mean.binaryproto", (1.0, 2.5, 103.53))
    mean = caffe_messages()["BlobProto"].FromString((tmp_path / "mean.binaryproto").read_bytes())
    assert list(mean.shape.dim) == [3, 224, 224] and mean.double_data[-1] == 103.53
    assert read_mean(tmp_path / "mean.binaryproto") == (1.0, 2.5, 103.53)


def test_we_read_what_protobuf_writes(tmp_path):
    messages = caffe_messages()
    net = messages["NetParameter"](name="net")
    net.layer.add(name="data")  # without blobs
    numbers = torch.randn(2, 3)
    for shape in (True, False):
        blob = net.layer.add(name=f"shape {shape}").blobs.add(data=numbers.flatten().tolist())
        if shape:
            blob.shape.dim.extend((2, 3))
        else:
            blob.num, blob.channels, blob.height, blob.width = 1, 1, 2, 3
    net.layers.add(name="of 2013").blobs.add(double_data=[0.1], num=1, channels=1, height=1, width=1)
    (tmp_path / "x.caffemodel").write_bytes(net.SerializeToString())
    layers = {layer.name: layer.blobs[0] for layer in read_caffemodel(tmp_path / "x.caffemodel")}
    assert layers.keys() == {"shape True", "shape False", "of 2013"}
    assert torch.equal(layers["shape True"], numbers) and torch.equal(
        layers["shape False"], numbers[None, None]
    )
    assert layers["of 2013"].item() == 0.1
    picture = messages["BlobProto"](num=1, channels=3, height=2, width=1, data=[1, 2, 3, 5, 8, 9])
    (tmp_path / "mean.binaryproto").write_bytes(picture.SerializeToString())
    assert read_mean(tmp_path / "mean.binaryproto") == (1.5, 4.0, 8.5)


def test_numbers_that_are_not_packed(tmp_path):
    blob = b"".join(b"\x2d" + struct.pack("<f", value) for value in (1.0, 2.0))  # field 5, each by itself
    blob += encode_field(7, b"\x08\x02")  # one dimension of 2, not packed either
    (tmp_path / "x.caffemodel").write_bytes(encode_field(100, encode_field(1, b"a") + encode_field(7, blob)))
    assert read_caffemodel(tmp_path / "x.caffemodel")[0].blobs[0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.7, 0.99])
def test_cut_off_caffemodel(tmp_path, kept):
    path = tmp_path / "x.caffemodel"
    write_caffemodel(path, "net", [Layer("conv1", [torch.zeros(50)]), Layer("fc", [torch.zeros(60)])])
    content = path.read_bytes()
    path.write_bytes(content[: math.ceil(len(content) * kept)])
    assert "is broken or cut off (" in refusal(read_caffemodel, path)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (
            encode_field(5, b"\0" * 8) + encode_field(7, encode_field(1, b"\x03")),
            r"shape (3,) with 2 numbers",
        ),
        (encode_field(5, b"\0" * 6) + encode_field(7, encode_field(1, b"\x01")), "is broken"),
        (encode_field(7, encode_field(1, b"\x00")), "shape (0,) with 0 numbers"),
        (encode_field(7, encode_field(1, b"\x80")), "it ends inside a number"),
        (encode_field(5, b"\0" * 4) + encode_field(7, encode_field(1, b"\x01" * 33)), "of 33 dimensions"),
    ],
)
def test_broken_arrays_of_caffe(tmp_path, blob, message):
    (tmp_path / "x.caffemodel").write_bytes(encode_field(100, encode_field(1, b"a") + encode_field(7, blob)))
    assert message in refusal(read_caffemodel, tmp_path / "x.caffemodel")


def test_files_that_are_no_model_or_mean(tmp_path):
    write_caffemodel(tmp_path / "x.caffemodel", "net", [])
    assert "holds no layer with weights" in refusal(read_caffemodel, tmp_path / "x.caffemodel")
    (tmp_path / "x.caffemodel").write_bytes(pickle.dumps({"a": 1}))
    assert "is broken or cut off" in refusal(read_caffemodel, tmp_path / "x.caffemodel")
    grey = encode_field(5, b"\0" * 16) + encode_field(7, encode_field(1, b"\x01\x02\x02"))
    (tmp_path / "mean.binaryproto").write_bytes(grey)
    assert "expected a mean picture (3, H, W), found (1, 2, 2)" in refusal(
        read_mean, tmp_path / "mean.binaryproto"
    )
