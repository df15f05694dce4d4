"""Files of torch.save are read if their checksums are right, whatever bit of them has changed."""

import os
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from foundation.torch_archives import TorchFileError, read_torch, torch_bytes

CONTENT = {
    "step": 3,
    "model": OrderedDict({"w": torch.tensor([[0.1, -1.0]]), "n": torch.arange(3)}),
    "scores": [0.25, None, "top1"],
}


def refusal(path: Path) -> str:
    with pytest.raises(TorchFileError) as caught:
        read_torch(path)
    assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value)
    return str(caught.value)


def test_archive_and_the_form_before(tmp_path):
    for zipped in (True, False):
        torch.save(CONTENT, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        assert same(read_torch(tmp_path / "x.pt"), CONTENT)


def test_programs_are_named(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 1)).save(str(tmp_path / "x.pt"))
    assert refusal(tmp_path / "x.pt") == "it is a program of TorchScript, which was not run"


def test_changed_weight_is_found_by_its_checksum(tmp_path):
    torch.save(CONTENT, tmp_path / "x.pt")
    before, after = (torch.tensor([value]).numpy().tobytes() for value in (0.1, 0.25))
    content = (tmp_path / "x.pt").read_bytes()
    assert content.count(before) == 1
    (tmp_path / "x.pt").write_bytes(content.replace(before, after))
    assert torch.load(tmp_path / "x.pt", weights_only=True)["model"]["w"][0, 0] == 0.25  # torch says nothing
    assert refusal(tmp_path / "x.pt") == "Bad CRC-32 for file 'x/data/0'"


def test_no_flipped_bit_passes(tmp_path):
    path = tmp_path / "x.pt"
    torch.save(CONTENT, path)
    content = path.read_bytes()
    drawn = random.Random(0).sample(range(8 * len(content)), 400)
    # The central directory: 46 bytes for each entry, with the attributes that make of it an empty folder.
    start = content.index(b"PK\x01\x02")
    outcomes = [outcome(path, content, bit) for bit in (*drawn, *range(8 * start, 8 * (start + 46)))]
    assert outcomes.count("refused") > 300
    assert set(outcomes) == {
        "refused",
        "equal",
    }  # equal: the zip format's own time stamps, padding and the like


def test_of_a_file_of_ours_every_bit_is_covered(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(torch_bytes(CONTENT))
    assert same(read_torch(path), CONTENT)
    assert same(torch.load(path, weights_only=True), CONTENT)  # torch's own reader takes no notice
    content = path.read_bytes()
    ends = range(8 * (len(content) - 100), 8 * len(content))  # the archive's end, and the digest
    drawn = random.Random(1).sample(range(8 * len(content)), 400)
    assert {outcome(path, content, bit) for bit in (*drawn, *ends)} == {"refused"}


def outcome(path: Path, content: bytes, bit: int) -> str:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    try:
        return "equal" if same(read_torch(path), CONTENT) else f"bit {bit} passes"
    except TorchFileError:
        return "refused"


def same(found, expected) -> bool:
    if isinstance(expected, torch.Tensor):
        return found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    return type(found) is type(expected) and found == expected


def test_archive_without_checksums(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(CONTENT, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read_torch(tmp_path / "x.pt"), CONTENT)


class Intruder:
    def __init__(self, call, *arguments) -> None:
        self.call = call, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_named_and_not_run(tmp_path, zipped):
    content = {"step": 1, "x": Intruder(os.mkdir, str(tmp_path / "owned"))}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    assert refusal(tmp_path / "x.pt") == f"it holds {os.mkdir.__module__}.mkdir, which was not run"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"I1\n.", "Unsupported operand 73"),
        (b"PK\x03\x04 and no more", "File is not a zip file"),
        (b"\x80\x02}q\x00.", "Invalid magic number; corrupt file?"),
        (b"", "EOFError()"),
    ],
)
def test_no_file_of_torch(tmp_path, content, reason):
    (tmp_path / "x.pt").write_bytes(content)
    assert refusal(tmp_path / "x.pt") == reason


def test_a_compressed_archive_is_refused(tmp_path):
    torch.save({"w": torch.zeros(1 << 20)}, tmp_path / "x.pt")
    deflated = zipfile.ZipFile(tmp_path / "y.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "x.pt") as archive, deflated:
        for entry in archive.infolist():
            deflated.writestr(entry.filename, archive.read(entry))
    assert (tmp_path / "y.pt").stat().st_size < 10_000
    assert "its entries unpack to 4,19" in refusal(tmp_path / "y.pt")


def test_tensors_larger_than_what_is_stored(tmp_path):
    torch.save({"w": torch.ones(1).expand(1000, 1000)}, tmp_path / "x.pt")  # 4 MB: small enough
    assert read_torch(tmp_path / "x.pt")["w"].sum() == 1e6
    torch.save({"w": torch.ones(1).expand(1 << 40)}, tmp_path / "x.pt")
    assert refusal(tmp_path / "x.pt") == "its tensors repeat what is stored in 4,398,046,511,100 bytes more"
    torch.save({"w": torch.sparse_coo_tensor([[0]], [1.0], (1 << 40,))}, tmp_path / "x.pt")
    assert "a tensor of torch.sparse_coo on cpu" in refusal(tmp_path / "x.pt")


def test_containers_that_share_others(tmp_path):
    content: list = [1]
    for _ in range(60):
        content = [content, content]
    torch.save(content, tmp_path / "x.pt")
    assert "stand for 3e+18 values" in refusal(tmp_path / "x.pt")
