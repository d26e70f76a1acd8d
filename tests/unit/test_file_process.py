"""The file_process handler does what it is asked inside its root, and nothing anywhere else."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import threading
import time

import pytest

from taskrig import Reject
from taskrig.errors import UsageError
from taskrig.handlers import files
from taskrig.testing import run_task

LINES = b"one\ntwo\nthree"


@pytest.fixture
def root(tmp_path, settings):
    """A root with a file, beside a file that must stay out of reach."""
    folder = tmp_path / "root"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.txt").write_bytes(LINES)
    (tmp_path / "secret.txt").write_bytes(b"secret")
    files.configure(settings.load(sets=["files={root: root, max_bytes: 1KiB}"]))
    yield folder
    files.configure(settings.load())


@pytest.fixture
def result(caplog):
    """Run one task; the result that it logged."""
    caplog.set_level("INFO", "taskrig.handlers")

    async def run(**data):
        caplog.clear()
        assert (await run_task(files.file_process, data)).ok
        return json.loads(caplog.messages[-1].partition(": ")[2])

    return run


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def test_checksum_and_line_count_are_those_of_the_file(root, result):
    summed = await result(path="in/a.txt", operation="checksum")
    assert (summed["sha256"], summed["bytes"]) == (hashlib.sha256(LINES).hexdigest(), 13)
    assert (await result(path="in/a.txt", operation="count_lines"))["lines"] == 3
    (root / "empty").touch()
    assert (await result(path="empty", operation="count_lines"))["lines"] == 0
    (root / "ended").write_bytes(b"a\nb\n")
    assert (await result(path="ended", operation="count_lines"))["lines"] == 2


@pytest.mark.parametrize("files_without_name", [True, False])
async def test_copy_and_compress_write_below_the_root_and_may_be_repeated(
    root, result, monkeypatch, files_without_name
):
    if not files_without_name:  # as on systems and file systems that have none
        monkeypatch.setattr("taskrig.handlers._rooted._NAMELESS", os.O_CREAT | os.O_EXCL)
    for _ in range(2):
        assert (await result(path="in/a.txt", operation="copy", to="b.txt"))["bytes"] == 13
        assert (await result(path="in/a.txt", operation="compress"))["to"] == "in/a.txt.gz"
    assert (root / "b.txt").read_bytes() == LINES
    assert gzip.decompress((root / "in/a.txt.gz").read_bytes()) == LINES
    assert everything(root) == ["b.txt", "in", "in/a.txt", "in/a.txt.gz"]


async def rejected(data, why):
    """Run a task that must fail for good, and for this reason."""
    ran = await run_task(files.file_process, data)
    assert (ran.outcome, ran.reason) == ("failed", "rejected")
    assert why in ran.error


async def test_a_file_with_other_bytes_is_not_overwritten(root):
    (root / "b.txt").write_bytes(b"precious")
    await rejected({"path": "in/a.txt", "operation": "copy", "to": "b.txt"}, "exists already")
    assert (root / "b.txt").read_bytes() == b"precious"
    assert everything(root) == ["b.txt", "in", "in/a.txt"]


WAYS_OUT = [
    "../secret.txt",
    "in/../../secret.txt",
    "in/..",
    "..",
    ".",
    "",
    "/etc/passwd",
    "//etc/passwd",
    "in//a.txt",
    "./in/a.txt",
    "link.txt",
    "linked/secret.txt",
    "linked/../secret.txt",
    "hard.txt",
    "in/a.txt/",
    "in/a.txt/x",
    "in\0",
    "absent",
    "in",
    "pipe",
    "x" * 300,
    "x/" * 3000 + "x",
    "chain/in/a.txt",
]


@pytest.fixture
def traps(root, tmp_path):
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "linked").symlink_to(tmp_path, target_is_directory=True)
    (root / "chain").symlink_to(".", target_is_directory=True)
    (tmp_path / "other.txt").write_bytes(b"secret")
    os.link(tmp_path / "other.txt", root / "hard.txt")
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.parametrize("path", WAYS_OUT)
@pytest.mark.parametrize("operation", ["checksum", "count_lines", "compress"])
def test_no_path_leads_out_of_the_root(traps, tmp_path, path, operation):
    before = everything(tmp_path)
    with pytest.raises(Reject):
        files.file_process({"path": path, "operation": operation})
    assert everything(tmp_path) == before


@pytest.mark.parametrize("to", [way for way in WAYS_OUT if way not in ("absent", "x" * 300)])
def test_nothing_is_written_outside_or_over_what_is_there(traps, tmp_path, to):
    before = everything(tmp_path)
    with pytest.raises(Reject):
        files.file_process({"path": "in/a.txt", "operation": "copy", "to": to})
    assert everything(tmp_path) == before
    assert (tmp_path / "secret.txt").read_bytes() == b"secret"


def test_a_folder_swapped_for_a_link_while_we_look_gains_nothing(root, tmp_path, caplog):
    """A racer swaps in/ for a link to a folder with a file of the same name; each stays a while,
    or we would hardly ever meet it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_bytes(b"secret")
    ended = threading.Event()

    def swap():
        while not ended.is_set():
            os.rename(root / "in", root / "away")
            os.symlink(tmp_path / "outside", root / "in")
            ended.wait(0.0005)
            os.unlink(root / "in")
            os.rename(root / "away", root / "in")
            ended.wait(0.0005)

    racer = threading.Thread(target=swap)
    racer.start()
    caplog.set_level("INFO", "taskrig.handlers")
    done, tries, deadline = 0, 0, time.monotonic() + 60
    try:
        while (tries < 1000 or not done) and time.monotonic() < deadline:
            tries += 1
            try:
                files.file_process({"path": "in/a.txt"})
                done += 1
            except Reject:
                pass
    finally:
        ended.set()
        racer.join()
    assert done
    assert hashlib.sha256(b"secret").hexdigest() not in caplog.text


async def test_a_file_larger_than_the_bound_is_refused(root):
    (root / "big").write_bytes(b"x" * 1025)
    await rejected({"path": "big"}, "larger than the bound")


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {},
        {"path": 1},
        {"path": "in/a.txt", "operation": "delete"},
        {"path": "in/a.txt", "operation": "copy"},
        {"path": "in/a.txt", "to": "b"},
        {"path": "in/a.txt", "mode": "fast"},
        {"path": "in/a.txt", "result_key": "r:1"},
    ],
)
async def test_a_task_that_makes_no_sense_is_rejected(root, data):
    await rejected(data, "file_process")


async def test_without_a_root_it_is_a_dry_run_that_says_so(settings, caplog):
    files.configure(settings.load())
    caplog.set_level("INFO", "taskrig.handlers")
    assert (await run_task(files.file_process, {"path": "a", "operation": "compress"})).ok
    assert "dry run, files.root is not set: would compress 'a'" in caplog.text


def test_a_root_that_is_no_folder_is_an_error_at_start(settings):
    with pytest.raises(UsageError, match=r"files\.root: .*nowhere is not a folder"):
        files.configure(settings.load(sets=["files.root=nowhere"]))


def test_a_relative_root_counts_from_the_config_file(settings, monkeypatch):
    (settings.folder / "data").mkdir()
    config = settings.load("files: {root: data}\n")
    assert config.files.root == str(settings.folder / "data")
