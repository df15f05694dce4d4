"""Members and their places as tarfile finds them, and damage that tarfile passes over."""

import io
import re
import tarfile

import pytest

from classification.data.tar_index import TarMember, list_members

LONG = "a/" + 60 * "folder/" + "ü" * 40 + ".jpg"  # too long for the header's 100 bytes


def write(path, names, format=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=format) as tar:
        folder = tarfile.TarInfo("n01")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for size, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = 400 * size
            tar.addfile(info, io.BytesIO(bytes([65 + size]) * info.size))
    return path


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_where_tarfile_finds_them(tmp_path, format):
    middle = f"{90 * 'p'}/{60 * 'n'}.jpg"  # ustar splits it into prefix and name
    names = ["n01/a.jpg", middle, "n01/b.cls", *([] if format == tarfile.USTAR_FORMAT else [LONG]), "c"]
    path = write(tmp_path / "a.tar", names, format)
    found = list(list_members(path))
    with tarfile.open(path) as tar:
        assert found == [TarMember(i.name, i.offset_data, i.size) for i in tar if i.isfile()]
    assert [member.name for member in found] == names
    member = found[2]
    assert path.read_bytes()[member.offset : member.offset + member.size] == b"C" * 800


def test_an_archive_without_files_has_no_members(tmp_path):
    assert list(list_members(write(tmp_path / "a.tar", []))) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:1700], "cut off at byte 1700"),  # in the content of b
        (lambda data: data[:2048], "no end mark at byte 2048: cut off"),  # where the header of c should be
        (lambda data: data[:2050] + b"?" + data[2051:], "no header at byte 2048"),
        (lambda data: data + b"more", "data after the end mark at byte 3584"),
        (lambda data: b"", "no end mark at byte 0"),
        (lambda data: b"no archive" * 100, "no header at byte 0"),
    ],
)
def test_damaged_archives_are_refused(tmp_path, damage, message):
    # Headers at 0 (folder), 512 (a, empty), 1024 (b, 400 bytes), 2048 (c, 800 bytes); the end mark at 3584.
    path = write(tmp_path / "a.tar", ["a", "b", "c"])
    assert [member.offset for member in list_members(path)] == [1024, 1536, 2560]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        list(list_members(path))


@pytest.mark.parametrize("length", [b"000", b"-01", b"999"])
def test_a_damaged_length_in_a_pax_header_is_refused(tmp_path, length):
    path = write(tmp_path / "a.tar", [LONG])
    data, records = re.subn(rb"\d{3}(?= path=)", length, path.read_bytes())
    assert records == 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"damaged: a pax record of {int(length)} bytes, where \d+"):
        list(list_members(path))


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_links_are_refused(tmp_path, kind):
    # Their pictures would be missing.
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("b.jpg")
        info.type, info.linkname = kind, "a.jpg"
        tar.addfile(info)
    with pytest.raises(ValueError, match="b.jpg is a link or no plain file"):
        list(list_members(tmp_path / "a.tar"))


def header(size: bytes, kind: bytes = b"5", name: bytes = b"d/") -> bytes:
    fields = {0: name, 100: b"0000755\0", 124: size, 148: b" " * 8, 156: kind, 257: b"ustar\0"}
    block = bytearray(512)
    for start, value in fields.items():
        block[start : start + len(value)] = value
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "size", [b"-0000001000", b"+0000000000", b"0000_000000", b"0x000000000", b"00000000 00"]
)
def test_a_size_that_is_no_octal_number_is_refused(tmp_path, size):
    (tmp_path / "a.tar").write_bytes(header(size) + bytes(1024))
    with pytest.raises(ValueError, match="no header at byte 0"):  # of -1000 it would come to byte 0 for ever
        list(list_members(tmp_path / "a.tar"))
    (tmp_path / "a.tar").write_bytes(header(b"  0 \0") + bytes(1024))  # as old tars wrote it
    assert list(list_members(tmp_path / "a.tar")) == []


def test_sizes_cost_nothing(tmp_path):
    path = tmp_path / "a.tar"
    for kind in (b"0", b"L", b"x", b"S"):
        path.write_bytes(header(b"77777777777", kind) + bytes(1024))  # 8 GiB
        with pytest.raises(ValueError, match="cut off at byte 1536"):
            list(list_members(path))
    path.write_bytes(header(b"77777777000", b"L"))
    with path.open("r+b") as file:  # a sparse file of that length
        file.truncate((8 << 30) + 2048)
    with pytest.raises(ValueError, match="damaged: a name of 8589934080 bytes at byte 512"):
        list(list_members(path))


def test_a_long_pax_header_is_read_in_time_of_its_length(tmp_path, bounded):
    records = b"5 a=\n" * 200_000
    path = tmp_path / "a.tar"
    path.write_bytes(
        header(b"%011o" % len(records), b"x") + records.ljust(-(-len(records) // 512) * 512, b"\0")
    )
    with path.open("ab") as file:
        file.write(header(b"00000000000", b"0", b"a.jpg") + bytes(1024))
    with bounded():
        assert [member.name for member in list_members(path)] == ["a.jpg"]
