"""From an official address to unpacked clips: download, resume, checksum, unpacking; and what is refused."""

import functools
import hashlib
import http.server
import multiprocessing
import re
import resource
import shutil
import stat
import subprocess
import tarfile
import threading
from pathlib import Path

import archives
import pytest
from refusals import refusal_of

from squeezebench.base.errors import InputError
from squeezebench.data import archives as unpack
from squeezebench.data import download as fetching
from squeezebench.data.download import fetch, matches, mirrored
from squeezebench.data.video import catalogue

BODY = bytes(range(256)) * 9000  # 2.3 MB: three chunks
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()


class Server:
    """A loopback web server of one file. `cuts`: bytes after which each of the next answers breaks off."""

    def __init__(self):
        self.body, self.ranges, self.length, self.tag, self.status = BODY, True, True, '"v1"', None
        self.cuts: list[int] = []
        self.requests: list[str | None] = []  # the Range header of each
        handler = type("Handler", (_Handler,), {"site": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/deep/film.rar"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    site: Server

    def do_GET(self):
        site, asked = self.site, self.headers.get("Range")
        site.requests.append(asked)
        if site.status:
            self.send_error(site.status)
            return
        start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked and site.ranges else 0
        if self.headers.get("If-Range") not in (None, site.tag):
            start = 0
        if start and start >= len(site.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(site.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.body) - 1}/{len(site.body)}")
        if site.length:
            self.send_header("Content-Length", str(len(site.body) - start))
        self.send_header("ETag", site.tag)
        self.end_headers()
        end = start + site.cuts.pop(0) if site.cuts else len(site.body)
        self.wfile.write(site.body[start:end])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(fetching, "WAIT", 0.001)
    monkeypatch.delenv("SQUEEZEBENCH_MIRROR", raising=False)
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "film.rar"


# Download


def test_a_file_arrives_once_and_is_not_asked_for_again(site, target):
    assert fetch(site.address, target, SHA256) == target and target.read_bytes() == BODY
    fetch(site.address, target, SHA256)
    assert site.requests == [None]
    assert sorted(path.name for path in target.parent.iterdir()) == ["film.rar", "film.rar.lock"]


def test_md5_counts_too(site, target):
    fetch(site.address, target, "md5:" + hashlib.md5(BODY).hexdigest())
    with pytest.raises(InputError, match="sha256:HEX or md5:HEX"):
        matches(target, "crc:1234")


def test_a_cut_connection_goes_on_from_where_it_stopped(site, target):
    site.cuts = [500_000, 1_000_000]
    fetch(site.address, target, SHA256)
    assert target.read_bytes() == BODY
    assert site.requests == [None, "bytes=500000-", "bytes=1500000-"]


def test_a_later_call_goes_on_from_where_the_last_one_gave_up(site, target):
    site.cuts = [500_000] + [0] * fetching.TRIES
    with pytest.raises(InputError, match=r"500,000 bytes are in .*film\.rar\.part, call again"):
        fetch(site.address, target, SHA256)
    assert not target.exists()
    fetch(site.address, target, SHA256)
    assert target.read_bytes() == BODY and site.requests[-1] == "bytes=500000-"


def test_a_server_without_ranges_sends_all_of_it_again(site, target):
    site.ranges, site.cuts = False, [500_000]
    fetch(site.address, target, SHA256)
    assert target.read_bytes() == BODY and len(site.requests) == 2


def test_a_server_that_never_tells_the_length_of_an_answer(site, target):
    archives.write(fetching.beside(target, ".part"), BODY[:100_000])
    site.length, site.cuts = False, [500_000]  # the whole size is still in Content-Range
    fetch(site.address, target)
    assert target.read_bytes() == BODY and site.requests == ["bytes=100000-", "bytes=600000-"]


def test_another_version_on_the_server_is_not_glued_to_what_was_kept(site, target):
    site.cuts = [500_000] + [0] * fetching.TRIES
    with pytest.raises(InputError):
        fetch(site.address, target)
    site.body, site.tag = BODY[::-1], '"v2"'
    fetch(site.address, target)
    assert target.read_bytes() == BODY[::-1]


@pytest.mark.parametrize(("tag", "kept"), [('"v1"', True), ('W/"v1"', False)])
def test_a_weak_tag_is_no_promise_of_equal_bytes(site, target, tag, kept):
    site.tag, site.cuts = tag, [500_000] + [0] * fetching.TRIES
    with pytest.raises(InputError):
        fetch(site.address, target)
    assert fetching.beside(target, ".part.tag").exists() == kept


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("kept", [BODY, BODY + b"more"])
def test_a_part_that_is_whole_already_or_too_long(site, target, kept, ranges):
    site.ranges = ranges
    archives.write(fetching.beside(target, ".part"), kept)
    fetch(site.address, target, SHA256)
    assert target.read_bytes() == BODY


def test_wrong_content_is_refused_and_kept_aside(site, target):
    site.body = b"a login page"
    line = refusal_of(fetch, site.address, target, SHA256)
    assert "not what is expected" in line and SHA256 in line
    assert not target.exists() and fetching.beside(target, ".bad").read_bytes() == b"a login page"
    site.body = BODY
    assert fetch(site.address, target, SHA256).read_bytes() == BODY  # and the next call starts afresh


def test_a_damaged_copy_is_refused_and_can_be_accepted_knowingly(site, target):
    archives.write(target, b"my own build of it")
    with pytest.raises(InputError, match="its content is not what is expected"):
        fetch(site.address, target, SHA256)
    digest = subprocess.run(["sha256sum", target.name], cwd=target.parent, capture_output=True, check=True).stdout
    fetching.beside(target, ".sha256").write_bytes(digest)
    fetch(site.address, target, SHA256)
    assert site.requests == []


def test_without_a_published_checksum_the_first_one_is_recorded(site, target, caplog):
    fetch(site.address, target)
    assert caplog.text.count("\n") == 1 and "no checksum is published" in caplog.text
    subprocess.run(["sha256sum", "--check", "film.rar.sha256"], cwd=target.parent, check=True, capture_output=True)
    caplog.clear()
    fetch(site.address, target)
    assert not caplog.text
    target.unlink()
    site.body = BODY + b"!"
    with pytest.raises(InputError, match="not what is expected"):
        fetch(site.address, target)


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (403, "403 Forbidden"), (503, "503 Service")])
def test_a_server_that_refuses(site, target, status, words):
    site.status = status
    assert words in refusal_of(fetch, site.address, target, SHA256)
    assert len(site.requests) == (fetching.TRIES if status == 503 else 1)  # only what may pass is tried again


def test_nobody_listens(site, target):
    site.server.server_close()
    line = refusal_of(fetch, site.address, target, SHA256)
    assert "Connection refused" in line and "0 bytes" in line


def test_a_mirror_replaces_all_but_the_name(site, target, tmp_path, monkeypatch):
    archives.write(tmp_path / "own copies" / "film.rar", BODY)
    for mirror in (str(tmp_path / "own copies"), (tmp_path / "own copies").as_uri() + "/"):
        monkeypatch.setenv("SQUEEZEBENCH_MIRROR", mirror)
        fetch("https://nowhere.invalid/film.rar", target, SHA256)
        assert target.read_bytes() == BODY
        target.unlink()
    assert mirrored("https://a.invalid/b/c.rar", "http://mirror.invalid/x/") == "http://mirror.invalid/x/c.rar"
    with pytest.raises(InputError, match="no such file"):
        fetch("https://nowhere.invalid/other.rar", target, SHA256)
    fetch("https://nowhere.invalid/film.rar", target, SHA256, mirror=site.address.rsplit("/", 1)[0])
    assert len(site.requests) == 1


def test_a_disk_that_cannot_hold_it_is_told_before_the_download(site, target, monkeypatch):
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(InputError, match=r"2,304,000 more bytes are needed, 1,000 are free"):
        fetch(site.address, target, SHA256)


def _limited(call, limit: int, answers) -> None:
    """In a process whose files may not grow over `limit` bytes: the system then refuses the write, as a full disk."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        call()
        answers.put("no error")
    except InputError as error:
        answers.put(str(error))


def on_a_full_disk(call, limit: int) -> str:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=_limited, args=(call, limit, answers))
    process.start()
    answer = answers.get(timeout=600)
    process.join(600)
    return answer


def test_a_disk_that_fills_up_keeps_what_arrived(site, target):
    answer = on_a_full_disk(functools.partial(fetch, site.address, target, SHA256), 1_500_000)
    assert "disk is full" in answer and "call again" in answer
    assert fetching.beside(target, ".part").stat().st_size == 1_500_000
    fetch(site.address, target, SHA256)
    assert target.read_bytes() == BODY and site.requests == [None, "bytes=1500000-"]


def test_many_processes_download_once(site, target):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fetch, args=(site.address, target, SHA256)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
    assert [process.exitcode for process in processes] == [0] * 4 and site.requests == [None]


# Unpacking

needs_libarchive = pytest.mark.skipif(not unpack._Libarchive.present(), reason="libarchive is not installed")
needs_unar = pytest.mark.skipif(not unpack._Unar.present(), reason="unar is not installed")
READERS = [pytest.param(unpack._Libarchive, marks=needs_libarchive), pytest.param(unpack._Unar, marks=needs_unar)]


def leave_only(reader, monkeypatch):
    """As on a machine that has no other reader."""
    other = unpack._Unar if reader is unpack._Libarchive else unpack._Libarchive

    def absent(*arguments):
        raise unpack._Unreadable("not installed")

    monkeypatch.setattr(other, "members", staticmethod(absent))


@pytest.fixture(params=READERS)
def reader(request, monkeypatch):
    leave_only(request.param, monkeypatch)
    return request.param


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


FILMS = archives.ucf101({"Archery": 4, "Biking": 3})
FILES = {name: content for name, content in FILMS if content is not None}


def test_rar_by_each_reader(tmp_path, reader):
    archive = archives.write(tmp_path / "UCF101.rar", archives.rar(FILMS))
    assert tree(unpack.unpack(archive, tmp_path / "clips")) == FILES
    assert left_over(tmp_path) == ["UCF101.rar", "clips"]
    assert stat.S_IMODE((tmp_path / "clips").stat().st_mode) == 0o755


@needs_unar
def test_a_solid_rar_needs_the_second_reader(tmp_path):
    archive = archives.write(tmp_path / "solid.rar", archives.rar(FILMS, solid=True))
    assert tree(unpack.unpack(archive, tmp_path / "clips")) == FILES


@needs_libarchive
def test_a_solid_rar_without_unar_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    archive = archives.write(tmp_path / "solid.rar", archives.rar(FILMS, solid=True))
    line = refusal_of(unpack.unpack, archive, tmp_path / "clips")
    assert "solid" in line and "Not installed: unar (Debian: apt install" in line


def test_no_reader_at_all_says_what_to_install(tmp_path, monkeypatch):
    def missing():
        raise unpack._Unreadable("not installed")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(unpack, "_libarchive", missing)
    archive = archives.write(tmp_path / "a.rar", archives.rar(FILMS))
    with pytest.raises(InputError, match="Not installed: libarchive and unar"):
        unpack.unpack(archive, tmp_path / "clips")


@needs_libarchive
def test_zip_and_tar(tmp_path):
    archives.write(tmp_path / "a.zip", archives.zipped(FILMS))
    assert tree(unpack.unpack(tmp_path / "a.zip", tmp_path / "zip")) == FILES
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
        file.add(tmp_path / "zip" / "UCF-101", "UCF-101")
    assert tree(unpack.unpack(tmp_path / "a.tar.gz", tmp_path / "tar")) == FILES


@pytest.mark.parametrize("solid", [False, pytest.param(True, marks=needs_unar)])
@needs_libarchive
def test_archives_within_an_archive(tmp_path, solid):
    outer = archives.hmdb51({"wave": 3, "climb_stairs": 2})
    archive = archives.write(tmp_path / "hmdb51_org.rar", archives.rar(outer, solid=solid))
    found = tree(unpack.unpack(archive, tmp_path / "clips", nested=True))
    assert len(found) == 5 and not [name for name in found if name.endswith(".rar")]
    assert found["wave/Film#0_(cut)_wave_u_nm_np1_fr_med_0.avi"] == archives.clip(0)


@needs_libarchive
def test_an_archive_that_holds_archives_without_end_is_refused(tmp_path):
    data = archives.rar([("a.avi", b"film")])
    for level in range(unpack.DEEPEST + 1):
        data = archives.rar([(f"{level}.rar", data)])
    archive = archives.write(tmp_path / "deep.rar", data)
    with pytest.raises(InputError, match="archives within one another"):
        unpack.unpack(archive, tmp_path / "clips", nested=True)
    assert left_over(tmp_path) == ["deep.rar"]


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.6, 0.99])
def test_a_truncated_rar_leaves_nothing(tmp_path, reader, keep):
    whole = archives.rar(FILMS)
    archive = archives.write(tmp_path / "cut.rar", whole[: int(len(whole) * keep)])
    assert "cut.rar: cannot be unpacked" in refusal_of(unpack.unpack, archive, tmp_path / "clips")
    assert left_over(tmp_path) == ["cut.rar"]


@pytest.mark.parametrize(
    ("only", "make"),
    [  # libarchive does not check stored RAR members, see unpack.py
        pytest.param(unpack._Libarchive, archives.zipped, marks=needs_libarchive),
        pytest.param(unpack._Unar, archives.zipped, marks=needs_unar),
        pytest.param(unpack._Unar, archives.rar, marks=needs_unar),
    ],
)
def test_a_damaged_byte_is_found(tmp_path, monkeypatch, only, make):
    leave_only(only, monkeypatch)
    whole = bytearray(make(FILMS))
    whole[whole.index(archives.clip(0)) + 3000] ^= 1
    archive = archives.write(tmp_path / "bad.archive", bytes(whole))
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack.unpack(archive, tmp_path / "clips")
    assert left_over(tmp_path) == ["bad.archive"]


def test_two_members_of_one_name_are_refused(tmp_path, reader):
    archive = archives.write(tmp_path / "twice.rar", archives.rar([("a.avi", b"one"), ("a.avi", b"two")]))
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack.unpack(archive, tmp_path / "clips")
    assert left_over(tmp_path) == ["twice.rar"]


@needs_libarchive
def test_a_truncated_archive_within_an_archive_leaves_nothing(tmp_path):
    inner = archives.rar([("wave/a.avi", archives.clip())])
    archive = archives.write(tmp_path / "hmdb51_org.rar", archives.rar([("wave.rar", inner[:-2000])]))
    with pytest.raises(InputError, match=r"wave\.rar: cannot be unpacked"):
        unpack.unpack(archive, tmp_path / "clips", nested=True)
    assert left_over(tmp_path) == ["hmdb51_org.rar"]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "{}/evil", "..\\evil", "C:/evil", "\\evil"])
@pytest.mark.parametrize("make", [archives.rar, archives.zipped])
def test_a_member_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path, reader, name, make):
    members = [("good.avi", b"film"), (name.format(tmp_path), b"evil")]
    archive = archives.write(tmp_path / "in" / "evil.archive", make(members))
    assert "refused" in refusal_of(unpack.unpack, archive, tmp_path / "in" / "clips")
    assert left_over(tmp_path) == ["in"] and left_over(tmp_path / "in") == ["evil.archive"]


def test_a_link_in_a_rar_is_refused(tmp_path, reader):
    members = [("out", str(tmp_path).encode()), ("out/evil", b"evil")]
    archive = archives.write(tmp_path / "in" / "link.rar", archives.rar(members, links=["out"]))
    with pytest.raises(InputError, match="is a link"):
        unpack.unpack(archive, tmp_path / "in" / "clips")
    assert left_over(tmp_path) == ["in"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, reader, kind):
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "link.tar", "w") as file:
        member = tarfile.TarInfo("out")
        member.type, member.linkname = kind, str(tmp_path)
        file.addfile(member)
    with pytest.raises(InputError, match=r"is a link|cannot be unpacked"):
        unpack.unpack(tmp_path / "in" / "link.tar", tmp_path / "in" / "clips")
    assert left_over(tmp_path) == ["in"] and left_over(tmp_path / "in") == ["link.tar"]


@needs_libarchive
def test_a_full_disk_while_unpacking_leaves_nothing(tmp_path):
    archive = archives.write(tmp_path / "a.zip", archives.zipped([("film.avi", BODY)]))
    answer = on_a_full_disk(functools.partial(unpack.unpack, archive, tmp_path / "clips"), 1_000_000)
    assert "disk is full" in answer and left_over(tmp_path) == ["a.zip"]


def test_the_writer_of_rar_files_agrees_with_the_system_tools(tmp_path):
    if shutil.which("bsdtar") is None:
        pytest.skip("bsdtar is not installed")
    archives.write(tmp_path / "a.rar", archives.rar(FILMS))
    subprocess.run(["bsdtar", "-xf", "a.rar"], cwd=tmp_path, check=True)
    (tmp_path / "a.rar").unlink()
    assert tree(tmp_path) == FILES


def test_every_archive_of_the_catalogue_is_well_formed():
    for entry in catalogue.VIDEO_SETS.values():
        assert entry.clips == sum(entry.counts.values()) or not any(entry.counts.values())
        for archive in entry.archives:
            assert archive.address.startswith("https://") and archive.file.endswith(unpack.ENDINGS)
            assert archive.digest is None or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", archive.digest)
    assert [len(entry.classes) for entry in catalogue.VIDEO_SETS.values()] == [11, 101, 51]
    with pytest.raises(InputError, match="ucf11, ucf101, hmdb51"):
        catalogue.video_set("ucf50")
