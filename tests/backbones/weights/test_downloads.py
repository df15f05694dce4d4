"""Downloads from a server on this machine: whole, verified and once, or one message."""

import errno
import hashlib
import logging
import os
from pathlib import Path

import pytest

from backbones.weights import downloads
from backbones.weights.downloads import cache_folder, digest, fetch, place_of
from foundation.errors import WeightsError

CONTENT = bytes(range(256)) * 8192  # 2 MiB, two reads
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_file_is_fetched_once_and_recorded(publisher, caplog):
    publisher.files["/models/net.pth"] = CONTENT
    url = f"{publisher.url}/models/net.pth"
    with caplog.at_level(logging.INFO):
        path = fetch(url, sha256=SHA256[:8])
    assert path == place_of(url) and path.read_bytes() == CONTENT
    assert path.is_relative_to(publisher.cache / "downloads") and path.parts[-2:] == ("models", "net.pth")
    assert path.with_name("net.pth.sha256").read_text() == f"{SHA256}  net.pth\n"
    assert caplog.messages == [f"downloading {url} to {path}"]
    assert fetch(url) == path and publisher.asked == ["/models/net.pth"]


def test_what_was_fetched_must_stay_the_same(publisher):
    publisher.files["/R-50.pkl"] = CONTENT
    url = f"{publisher.url}/R-50.pkl"
    path = fetch(url)  # nothing is published of it
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match=f"SHA-256 is .*, expected {SHA256}; delete it and repeat"):
        fetch(url)
    path.unlink()
    publisher.files["/R-50.pkl"] = CONTENT + b"x"
    with pytest.raises(WeightsError, match=f"published .* {SHA256} as {path}.sha256 has recorded"):
        fetch(url)
    assert files_in(publisher.cache) == {"R-50.pkl.sha256"}


def test_a_cut_connection_leaves_nothing(publisher):
    publisher.files["/net.pth"] = CONTENT
    publisher.cut.add("/net.pth")
    url = f"{publisher.url}/net.pth"
    cut = r"was not downloaded \(the connection was cut after 1,048,576 of 2,097,152 bytes\)"
    with pytest.raises(WeightsError, match=cut) as failed:
        fetch(url)
    assert str(failed.value).endswith(f"without network, put that file at {place_of(url)} by hand")
    assert files_in(publisher.cache) == set()
    publisher.cut.clear()
    assert fetch(url).read_bytes() == CONTENT


def test_swapped_content_is_refused(publisher):
    publisher.files["/net.pth"] = b"\1" + CONTENT[1:]
    with pytest.raises(WeightsError, match=rf"\(its SHA-256 is [0-9a-f]{{64}}, expected {SHA256[:8]}…\)"):
        fetch(f"{publisher.url}/net.pth", sha256=SHA256[:8])
    assert files_in(publisher.cache) == set()


def test_a_stalled_connection_ends(publisher, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    publisher.files["/net.pth"] = CONTENT
    publisher.pauses["/net.pth"] = 2
    with pytest.raises(WeightsError, match=r"was not downloaded \(no byte in 0.2 seconds\)"):
        fetch(f"{publisher.url}/net.pth")
    assert files_in(publisher.cache) == set()


def test_absent_files_and_servers(publisher):
    with pytest.raises(WeightsError, match=r"was not downloaded \(HTTP 404 Not Found\)"):
        fetch(f"{publisher.url}/none.pth")
    with pytest.raises(WeightsError, match=r"was not downloaded \(Connection refused\)") as failed:
        fetch("http://127.0.0.1:9/net.pth")
    assert str(failed.value).count("\n") == 0


def test_redirects_are_followed_and_say_what_the_hub_knows(publisher):
    publisher.files["/blob"] = CONTENT
    linked = {"Location": "/blob", "X-Linked-Etag": f'"{SHA256}"'}
    publisher.headers["/timm/net/resolve/main/model.safetensors"] = linked
    url = f"{publisher.url}/timm/net/resolve/main/model.safetensors"
    path = fetch(url)
    assert path.read_bytes() == CONTENT and path.parts[-3:] == ("timm", "net", "model.safetensors")
    path.unlink()
    path.with_name("model.safetensors.sha256").unlink()
    linked["X-Linked-Etag"] = f'"{"0" * 64}"'
    with pytest.raises(WeightsError, match=f"is {SHA256}, expected {'0' * 64}"):
        fetch(url)


def test_a_redirect_must_stay_encrypted(monkeypatch):
    handler, request = downloads._Redirects(), downloads.Request("https://one.example/net.pth")
    with pytest.raises(downloads.URLError, match="http://two.example, which is not encrypted"):
        handler.redirect_request(request, None, 302, "Found", {}, "http://two.example")


FETCH = """
import json, sys
from backbones.weights.downloads import fetch
print(json.dumps(str(fetch(sys.argv[1]))))
"""


def test_two_processes_download_once(publisher, in_processes):
    publisher.files["/net.pth"], publisher.pauses["/net.pth"] = CONTENT, 1.0
    url = f"{publisher.url}/net.pth"
    assert in_processes(FETCH, url) == [str(place_of(url))] * 2
    assert publisher.asked == ["/net.pth"]


def test_files_of_torch_are_used_where_they_lie(publisher, caplog):
    theirs = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints" / "net.pth"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(CONTENT)
    url = f"{publisher.url}/net.pth"
    assert fetch(url, sha256=SHA256[:8]) == theirs
    theirs.write_bytes(b"damaged")
    publisher.files["/net.pth"] = CONTENT
    assert fetch(url, sha256=SHA256[:8]) == place_of(url)
    assert f"{theirs} is not used: its SHA-256 is {digest(theirs)}, expected" in caplog.text


def test_files_of_hugging_face_are_used_where_they_lie(publisher):
    repository = Path(os.environ["HF_HOME"]) / "hub" / "models--timm--net.a1"
    for folder in ("refs", "snapshots/abc", "blobs"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "blobs" / SHA256).write_bytes(CONTENT)
    linked = repository / "snapshots" / "abc" / "model.safetensors"
    linked.symlink_to(repository / "blobs" / SHA256)
    assert fetch("https://huggingface.co/timm/net.a1/resolve/main/model.safetensors") == linked


def test_a_file_put_there_by_hand_is_verified_and_recorded(publisher):
    url = f"{publisher.url}/net.pth"
    place = place_of(url)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"another")
    with pytest.raises(WeightsError, match=f"delete it and repeat, or put another copy of {url} there"):
        fetch(url, sha256=SHA256[:8])
    place.write_bytes(CONTENT)
    assert fetch(url, sha256=SHA256[:8]) == place and publisher.asked == []
    assert place.with_name("net.pth.sha256").is_file()
    with pytest.raises(WeightsError, match=f"its SHA-256 is {SHA256}, expected {'0' * 8}…"):
        fetch(url, sha256="0" * 8)  # what is published counts, whatever was recorded


def test_a_cache_that_cannot_be_written(publisher, monkeypatch):
    publisher.cache.write_text("a file in place of the folder")
    told = f"the cache of weights {publisher.cache} cannot be written"
    with pytest.raises(WeightsError, match=f"^{told}.*RESIDUAL_CACHE$"):
        fetch(f"{publisher.url}/net.pth")
    publisher.cache.unlink()

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    publisher.files["/net.pth"] = CONTENT
    monkeypatch.setattr("foundation.atomic_files.sync", full)
    with pytest.raises(WeightsError, match=rf"^{told} \(No space left on device"):
        fetch(f"{publisher.url}/net.pth")


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("RESIDUAL_CACHE", "~/weights")
    assert cache_folder() == Path.home() / "weights"
    monkeypatch.delenv("RESIDUAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/caches")
    assert cache_folder() == Path("/var/caches/residual_backbones")
