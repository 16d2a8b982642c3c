"""Whatever a server does, a file is whole and the one expected, or there is none and it is said."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from file_server import N_SENT, FileServer, file_server

from molnb.errors import InputError
from molnb.recipes.fetched import addresses
from molnb.recipes.fetched.addresses import AddressError
from molnb.recipes.fetched.downloads import RemoteFile, download_path, get_file

CONTENT = b"smiles,y\n" + b"CCO,1\n" * 50_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/mine.csv"  # nothing listens there


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server, and no waiting between the attempts."""
    monkeypatch.setattr("molnb.recipes.fetched.addresses.time.sleep", lambda _: None)
    with file_server() as running:
        yield running


def names(folder: Path) -> list[str]:
    """What lies in a folder, without the tags of addresses."""
    return sorted(re.sub(r"^[0-9a-f]{8}-", "", path.name) for path in folder.iterdir())


# ------------------------------------------------------------------------------ faults of servers


@pytest.mark.parametrize("fault", ["", "busy", "cut", "chunks cut", "no length cut", "no ranges"])
def test_a_fault_that_passes_is_overcome(server: FileServer, tmp_path: Path, fault: str) -> None:
    url = server.add("/mine.csv", CONTENT, fault)
    file = get_file(RemoteFile(url, n_byte=len(CONTENT)), tmp_path)
    assert file.path.read_bytes() == CONTENT
    assert file[1:] == (len(CONTENT), DIGEST, "fetched now")
    assert names(tmp_path) == ["mine.csv", "mine.csv.sha256"]
    starts = {"": ["0"], "cut": ["0", str(N_SENT)], "no ranges": ["0", str(N_SENT)]}
    expected = starts.get(fault)
    assert expected is None or [line.split()[1] for line in server.requests] == expected


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (404, "the server answers 404 Not Found"),
        (403, "the server answers 403 Forbidden"),
        (503, r"not fetched in 3 attempts \(the server answers 503 Service Unavailable\)"),
        ("page", "the server sent a page of HTML, 'Please log in', and no data"),
        ("empty", "the server sent an empty file"),
    ],
)
def test_a_server_without_the_file_leaves_nothing_and_says_why(
    server: FileServer, tmp_path: Path, fault: int | str, message: str
) -> None:
    url = server.add("/mine.csv", CONTENT, fault)
    with pytest.raises(InputError, match=f"{url}: {message}.*MOLNB_SOURCES.*--source FILE"):
        get_file(RemoteFile(url), tmp_path)
    assert names(tmp_path) == []


def test_a_pointer_of_git_lfs_is_not_taken_for_the_file(server: FileServer, tmp_path: Path) -> None:
    url = server.add("/mine.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    with pytest.raises(InputError, match="a pointer of Git LFS"):
        get_file(RemoteFile(url), tmp_path)


def test_a_connection_that_always_breaks_leaves_a_part_that_the_next_call_goes_on_from(
    server: FileServer, tmp_path: Path
) -> None:
    content = CONTENT * 2
    url = server.add("/mine.csv", content, "cut for ever")
    with pytest.raises(InputError, match=r"3 attempts \(the connection ended.*300 kB of it are"):
        get_file(RemoteFile(url), tmp_path)
    assert names(tmp_path) == ["mine.csv.part", "mine.csv.part.version"], "nothing taken for whole"
    server.faults["/mine.csv"] = ""
    assert get_file(RemoteFile(url), tmp_path).path.read_bytes() == content
    assert server.requests[-1] == f"/mine.csv {3 * N_SENT}"


def test_redirects_are_followed_to_places_as_safe_as_the_first(
    server: FileServer, tmp_path: Path
) -> None:
    there = server.add("/there/mine.csv", CONTENT)
    url = server.add("/mine.csv", b"", there)
    file = get_file(RemoteFile(url), tmp_path)
    assert file.path.read_bytes() == CONTENT and file.path == download_path(url, None, tmp_path)
    url = server.add("/away.csv", b"", "http://example.org/mine.csv")
    with pytest.raises(InputError, match="leads to http://example.org/mine.csv, which is not http"):
        get_file(RemoteFile(url), tmp_path)
    url = server.add("/circle.csv", b"", f"{server.address}/circle.csv")
    with pytest.raises(InputError, match="the server answers 302"):
        get_file(RemoteFile(url), tmp_path)


def test_an_https_address_is_never_led_to_plain_http() -> None:
    handler = addresses._SafeRedirects()
    request = addresses.urllib.request.Request("https://example.org/a")
    for place in ("http://example.org/b", "http://localhost/b"):
        with pytest.raises(AddressError, match="which is not https"):
            handler.redirect_request(request, None, 302, "", {}, place)
    followed = handler.redirect_request(request, None, 302, "", {}, "https://example.com/b")
    assert followed.full_url == "https://example.com/b"


@pytest.mark.parametrize("url", ["ftp://example.org/x", "http://example.org/x", "file:///etc/x"])
def test_only_https_is_fetched(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only https addresses are downloaded"):
        get_file(RemoteFile(url), tmp_path)
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------- mirrors


def test_mirrors_are_tried_in_order_and_each_failure_is_told(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    gone = server.add("/gone/mine.csv", b"", 404)
    page = server.add("/page/mine.csv", b"", "page")
    damaged = server.add("/damaged/mine.csv", CONTENT[:-1])
    good = server.add("/good.csv", CONTENT)
    remote = RemoteFile(gone, (page, damaged, good, NOWHERE), DIGEST, recipe="mine")
    file = get_file(remote, tmp_path)
    assert file.path == download_path(gone, DIGEST, tmp_path) and names(tmp_path) == ["mine.csv"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition("; trying ")[2] for line in lines] == [page, damaged, good]
    assert "404" in lines[0] and "HTML" in lines[1] and f"expects {DIGEST}" in lines[2]
    assert list(server.counts()) == [
        "/gone/mine.csv",
        "/page/mine.csv",
        "/damaged/mine.csv",
        "/good.csv",
    ]


def test_where_no_address_works_the_message_has_each_with_its_reason(
    server: FileServer, tmp_path: Path
) -> None:
    gone = server.add("/gone.csv", b"", 404)
    other = server.add("/other.csv", b"other")
    with pytest.raises(InputError) as refusal:
        get_file(RemoteFile(gone, (other, NOWHERE), DIGEST, recipe="mine"), tmp_path)
    lines = str(refusal.value).splitlines()
    assert lines[0] == "gone.csv could not be fetched:"
    assert lines[1].startswith(f"  {gone}: the server answers 404")
    assert lines[2].startswith(f"  {other}: SHA-256 {hashlib.sha256(b'other').hexdigest()}")
    assert lines[3] == f"  {NOWHERE}: not fetched in 3 attempts (Connection refused)"
    assert "as mine/gone.csv or gone.csv" in lines[4] and "--source FILE" in lines[4]
    assert names(tmp_path) == []


def test_what_two_servers_sent_is_never_joined(server: FileServer, tmp_path: Path) -> None:
    cut = server.add("/cut.csv", CONTENT, "cut for ever")
    good = server.add("/good.csv", CONTENT)
    server.faults["/good.csv"] = 404
    with pytest.raises(InputError):
        get_file(RemoteFile(cut, (good,)), tmp_path)
    server.faults["/good.csv"] = ""
    server.faults["/cut.csv"] = 404
    assert get_file(RemoteFile(cut, (good,)), tmp_path).path.read_bytes() == CONTENT
    assert server.requests[-1] == "/good.csv 0" and names(tmp_path) == ["cut.csv", "cut.csv.sha256"]


# ---------------------------------------------------------------------------------------- hashes


def test_the_digest_of_the_first_use_is_recorded_and_held_to_on_disk(
    server: FileServer, tmp_path: Path
) -> None:
    remote = RemoteFile(server.add("/mine.csv", CONTENT))
    file = get_file(remote, tmp_path)
    record = file.path.with_name(file.path.name + ".sha256")
    assert record.read_text() == f"{DIGEST}  {file.path.name}\n"
    assert get_file(remote, tmp_path).origin == "fetched before"
    file.path.write_bytes(CONTENT + b"CCN,2\n")
    changed = hashlib.sha256(CONTENT + b"CCN,2\n").hexdigest()
    with pytest.raises(InputError) as refusal:
        get_file(remote, tmp_path)
    for part in (changed, DIGEST, f"delete {file.path}", f"delete {record}"):
        assert part in str(refusal.value)
    record.unlink()
    assert get_file(remote, tmp_path).sha256 == changed, "the new content is accepted"
    assert changed in record.read_text()


def test_a_file_that_changed_at_its_address_is_refused_until_it_is_accepted(
    server: FileServer, tmp_path: Path
) -> None:
    remote = RemoteFile(server.add("/mine.csv", CONTENT))
    file = get_file(remote, tmp_path)
    file.path.unlink()
    server.add("/mine.csv", b"another")
    changed = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(InputError, match=f"{changed}, {DIGEST} was recorded.*To accept.*delete"):
        get_file(remote, tmp_path)
    assert names(tmp_path) == ["mine.csv.sha256"]
    file.path.with_name(file.path.name + ".sha256").unlink()
    assert get_file(remote, tmp_path).path.read_bytes() == b"another"


def test_a_stated_digest_is_held_to_on_disk_too(server: FileServer, tmp_path: Path) -> None:
    remote = RemoteFile(server.add("/mine.csv", CONTENT), sha256=DIGEST, recipe="mine")
    file = get_file(remote, tmp_path)
    assert names(tmp_path) == ["mine.csv"], "nothing is recorded where it is stated"
    file.path.write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"recipe 'mine' expects {DIGEST}.*delete {file.path}"):
        get_file(remote, tmp_path)


def test_a_damaged_record_is_named(server: FileServer, tmp_path: Path) -> None:
    remote = RemoteFile(server.add("/mine.csv", CONTENT))
    path = get_file(remote, tmp_path).path
    path.with_name(path.name + ".sha256").write_text("")
    with pytest.raises(InputError, match="sha256 holds no SHA-256: delete it"):
        get_file(remote, tmp_path)


# ------------------------------------------------------------------------- size, room, other calls


def test_the_size_of_a_large_file_is_told_before_it_comes(
    server: FileServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = RemoteFile(server.add("/small.csv", CONTENT))
    get_file(small, tmp_path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(addresses, "LARGE_BYTES", 300_000)
    large = RemoteFile(server.add("/large.csv", CONTENT), n_byte=5)
    get_file(large, tmp_path)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("molnb: fetching large.csv, 300 kB, from 127.0.0.1 into")
    assert re.search(r"large.csv has 300,009 bytes, the recipe expects 5", second)


def test_a_disk_without_room_is_told_before_the_download(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=200_000))
    url = server.add("/mine.csv", CONTENT)
    with pytest.raises(InputError, match=r"room for 200 kB, 300 kB are.*MOLNB_HOME"):
        get_file(RemoteFile(url), tmp_path)
    assert names(tmp_path) == []


def test_a_disk_that_fills_is_no_fault_of_the_network(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_, **__) -> None:
        raise OSError(28, "No space left on device")

    url = server.add("/mine.csv", CONTENT)
    monkeypatch.setattr(addresses.Progress, "advance", fail)
    with pytest.raises(InputError, match="No space left on device. Free space"):
        get_file(RemoteFile(url), tmp_path)
    assert server.requests == ["/mine.csv 0"]


def test_a_file_that_another_process_fetches_is_left_to_it(
    server: FileServer, tmp_path: Path
) -> None:
    fcntl = pytest.importorskip("fcntl")
    url = server.add("/mine.csv", CONTENT)
    part = download_path(url, None, tmp_path)
    with part.with_name(part.name + ".part").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another process is fetching"):
            get_file(RemoteFile(url), tmp_path)
    assert get_file(RemoteFile(url), tmp_path).path.read_bytes() == CONTENT


def test_a_file_in_the_place_of_the_folder_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "downloads").touch()
    with pytest.raises(InputError, match="cannot write .*MOLNB_HOME"):
        get_file(RemoteFile(server.add("/mine.csv", CONTENT)), tmp_path / "downloads")
