"""Output files: whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import stat
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastfm_deep
from fastfm_deep.data import output
from fastfm_deep.data.output import check_output_path, replace_file
from fastfm_deep.model.file import read_model_file, write_model_file
from fastfm_deep.validation import FastFMError, InputError, OutputError

ROOT = Path(fastfm_deep.__file__).parents[1]
as_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def write(path, content=b"new"):
    with replace_file(path) as file:
        file.write(content)


def in_child(code: str, folder: Path, *arguments: str):
    """What a new process prints as JSON; `code` runs in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ------------------------------------------------------------------------------------------------ where it can go


def test_a_new_file_gets_the_usual_permissions(tmp_path):
    mask = os.umask(0o027)
    try:
        write(tmp_path / "m")
    finally:
        os.umask(mask)
    assert (tmp_path / "m").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o755])
def test_a_replaced_file_keeps_its_permissions(tmp_path, mode):
    (tmp_path / "m").write_bytes(b"a longer previous content")
    (tmp_path / "m").chmod(mode)
    write(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_is_followed_and_kept(tmp_path, exists):
    folder = tmp_path / "folder"
    folder.mkdir()
    if exists:
        (folder / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("folder/target")
    assert check_output_path(tmp_path / "link") == folder / "target"
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (folder / "target").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["folder", "link"]
    assert os.listdir(folder) == ["target"]


def test_a_relative_name_and_a_long_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    longest = "ä" * 127
    for name in ("m", "./n", longest, Path("p")):
        write(name)
        assert Path(name).read_bytes() == b"new"
    assert sorted(os.listdir()) == sorted(["m", "n", longest, "p"])


def test_a_folder_that_does_not_exist(tmp_path):
    message = (
        f"The output '{tmp_path}/a/m' lies in the folder {tmp_path}/a, which does not exist; create it first."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        write(tmp_path / "a" / "m")


def bind_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"), [(os.mkdir, "a folder"), (os.mkfifo, "a FIFO"), (bind_socket, "a socket")]
)
def test_what_is_no_regular_file(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    make("m")
    before = os.lstat("m")
    with pytest.raises(
        InputError, match=f"^The output 'm' is {kind}, no regular file; give the name of a file\\.$"
    ):
        write("m")
    assert os.lstat("m") == before
    assert os.listdir() == ["m"]


def test_a_device():
    with pytest.raises(InputError, match="The output '/dev/null' is a character device, no regular file"):
        write("/dev/null")


@pytest.mark.parametrize("name", ["", "folder/", "a\0b"])
def test_what_is_no_name_of_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is no name of a file; end it with a name of your choice"):
        write(name)


def test_names_that_lead_nowhere(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"lies in .*/file, which is no folder; name a folder\.$"):
        write(tmp_path / "file" / "m")
    with pytest.raises(InputError, match=r"cannot be used: File name too long; take another name\.$"):
        write(tmp_path / ("m" * 300))
    assert os.listdir(tmp_path) == ["file"]


@as_user
def test_a_folder_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(
        InputError, match=r"in which no file can be made; allow writing there or take another folder"
    ):
        write(tmp_path / "m")
    tmp_path.chmod(0o700)


@as_user
def test_a_write_protected_file(tmp_path):
    (tmp_path / "m").write_bytes(b"old")
    (tmp_path / "m").chmod(0o400)
    with pytest.raises(InputError, match=r"is write-protected; allow writing or take another name\.$"):
        write(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == b"old"


def test_a_folder_that_takes_no_new_file(tmp_path, monkeypatch):
    """Permissions allow it, but the file system does not, as one that is mounted read-only."""

    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(output.os, "open", refuse)
    with pytest.raises(InputError, match=r"in which no file can be made \(Read-only file system\); allow writing"):
        write(tmp_path / "m")


# ---------------------------------------------------------------------------------------- what stops it on its way


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError, OSError])
def test_an_error_while_writing_leaves_the_previous_file(tmp_path, error):
    (tmp_path / "m").write_bytes(b"old")

    def fail():
        with replace_file(tmp_path / "m") as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "m").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_late(tmp_path, monkeypatch, step, number):
    (tmp_path / "m").write_bytes(b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(output.os, step, fail)
    if step == "fchmod":  # a file system without permissions: no reason to give up
        write(tmp_path / "m")
        assert (tmp_path / "m").read_bytes() == b"new"
        return
    with pytest.raises(OutputError, match=f"could not be written: {os.strerror(number)}. Make room") as caught:
        write(tmp_path / "m")
    assert caught.value.errno == number
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, FastFMError)
    assert not isinstance(caught.value, InputError)
    assert (tmp_path / "m").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m"]


def test_other_errors_keep_their_text(tmp_path):
    """A file that the block reads may be what fails: it is not blamed on the output."""
    with pytest.raises(FileNotFoundError, match="absent"), replace_file(tmp_path / "m"):
        open(tmp_path / "absent")  # noqa: SIM115
    assert os.listdir(tmp_path) == []


FULL_DISK = """
    import json, os, resource, sys
    import numpy as np
    from fastfm_deep.model.file import write_model_file
    from fastfm_deep.validation import OutputError

    size, limit = int(sys.argv[1]), int(sys.argv[2])
    write_model_file("m", {"a": np.ones(10)}, {"old": True})
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    found = []
    for name in ("m", "n"):
        try:
            write_model_file(name, {"a": np.zeros(size, np.uint8)}, {"old": False})
        except OutputError as error:
            found.append([str(error), error.errno])
    print(json.dumps([found, os.listdir()]))
"""


@pytest.mark.parametrize(
    ("size", "limit"),
    [(8_000_000, 3_000_000), (8_000_000, 100), (1000, 600)],
    ids=["late", "at once", "at the end"],
)
def test_a_full_disk(tmp_path, size, limit):
    found, names = in_child(FULL_DISK, tmp_path, str(size), str(limit))
    for name, (text, number) in zip(("m", "n"), found, strict=True):
        assert text == (
            f"The output '{name}' could not be written: File too large. Make room (or raise the limit) and try "
            "again; what stood under this name is as it was."
        )
        assert number == errno.EFBIG
    assert names == ["m"]
    header, arrays = read_model_file(tmp_path / "m")
    assert header == {"old": True}
    np.testing.assert_array_equal(arrays["a"], np.ones(10))


# One process that imports once and forks the victims, each of which saves over and over until it is killed.
KILL = """
    import json, os, random, signal, sys, time
    import numpy as np
    from fastfm_deep.model.file import read_model_file, write_model_file

    def save(version):
        write_model_file("m", {"a": np.full((50_000, 6), version, np.int64)[:, :5]}, {"version": version})

    random.seed(0)
    save(0)
    seen, version = [], 0
    for _ in range(30):
        pid = os.fork()
        if pid == 0:
            while True:
                version += 1
                save(version)
        time.sleep(random.uniform(0.001, 0.08))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        header, arrays = read_model_file("m")
        assert (arrays["a"] == header["version"]).all() and arrays["a"].shape == (50_000, 5)
        assert header["version"] >= version
        version = header["version"]
        seen.append(version)
    print(json.dumps([seen, os.listdir()]))
"""


def test_kill_9_at_any_moment_leaves_a_whole_file(tmp_path):
    seen, names = in_child(KILL, tmp_path)
    stale = [name for name in names if name != "m"]
    assert len(seen) == 30
    assert seen[-1] > 0, "no process lived long enough to save"
    assert stale, "no process was killed while it was writing"
    assert all(re.fullmatch(r"\.m\.[0-9a-f]{16}\.tmp", name) for name in stale)
    # What the killed ones left behind is hidden and in nobody's way.
    write_model_file(tmp_path / "m", {}, {"version": "last"})
    assert read_model_file(tmp_path / "m").header == {"version": "last"}
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    for name in stale:
        (tmp_path / name).unlink()


def test_many_writers_at_once(tmp_path):
    """The last one wins, and nobody sees a mixture."""

    def save_and_read(number):
        array = np.full(100_000, number)
        for _ in range(4):
            write_model_file(tmp_path / "m", {"a": array}, {"number": number})
            header, arrays = read_model_file(tmp_path / "m")
            assert (arrays["a"] == header["number"]).all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save_and_read, range(8)))
    assert os.listdir(tmp_path) == ["m"]
