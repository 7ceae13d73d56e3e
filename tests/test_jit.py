"""Where compiled kernels are kept: the usual place, our own folder, nowhere; and when they are compiled again.

Each test runs a small package made for it, with the `_jit.py` of ours, in a process of its own. A folder that
cannot be written is one whose name is taken by a file: that stops root as well.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from table_tools import INTERPRETED

from fastfm_deep.kernels import _jit

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled under NUMBA_DISABLE_JIT=1")

WARNING = "fastfm_deep found no folder to keep compiled kernels in"
HELPER = """
from small._jit import row_function

@row_function
def added(x):
    return x + 1
"""
LOOPS = """
from small._jit import kernel
from small.helper import added

@kernel
def total(n):
    result = 0
    for i in range(n):
        result += added(i)
    return result

@kernel
def first(n):
    return added(n)
"""
RUN = """
from small.loops import first, total
print(total(3), first(1))
print(sum(total.stats.cache_hits.values()), sum(total.stats.cache_misses.values()), total.stats.cache_path)
"""


class Small:
    """The package and the folders around it."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.package = at / "small"
        self.home, self.temporary = at / "home", at / "tmp"
        for folder in (self.package, self.home, self.temporary):
            folder.mkdir()
        shutil.copy(_jit.__file__, self.package / "_jit.py")
        (self.package / "__init__.py").touch()
        (self.package / "helper.py").write_text(HELPER)
        (self.package / "loops.py").write_text(LOOPS)

    @property
    def own_folder(self) -> Path:
        return self.temporary / f"fastfm_deep-numba-{os.getuid()}"

    def forbid_usual_folders(self) -> None:
        (self.package / "__pycache__").touch()
        self.home.rmdir()
        self.home.touch()

    def run(self, before: str = "", **environment: str) -> tuple[list[str], str]:
        """Lines on stdout (result; hits, misses, cache folder) and stderr."""
        ours = ("NUMBA_CACHE", "NUMBA_BOUNDSCHECK", "XDG")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        kept |= {"HOME": str(self.home), "TMPDIR": str(self.temporary), **environment}
        command = [sys.executable, "-c", before + RUN]
        done = subprocess.run(command, cwd=self.at, env=kept, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0] == "6 2"
        return lines[1].split(" ", 2), done.stderr


@pytest.fixture
def small(tmp_path):
    return Small(tmp_path)


def test_second_process_takes_what_the_first_compiled(small):
    assert small.run() == (["0", "1", str(small.package / "__pycache__")], "")
    assert small.run() == (["1", "0", str(small.package / "__pycache__")], "")


def test_cache_folder_of_the_user_comes_first(small):
    chosen = small.at / "chosen"
    (_, misses, folder), errors = small.run(NUMBA_CACHE_DIR=str(chosen))
    assert (misses, errors) == ("1", "")
    assert Path(folder).parent == chosen


def test_own_folder_where_no_usual_one_can_be_written(small):
    small.forbid_usual_folders()
    (_, misses, folder), errors = small.run()
    assert (misses, errors) == ("1", "")
    assert Path(folder).parent == small.own_folder
    assert stat.S_IMODE(small.own_folder.stat().st_mode) == 0o700
    assert list(Path(folder).glob("*.nbi"))
    (hits, misses, _), errors = small.run()
    assert (hits, misses, errors) == ("1", "0", "")


@pytest.mark.parametrize("kind", ["open to others", "symbolic link", "file"])
def test_own_folder_is_refused_where_others_could_put_code_into_it(small, kind):
    small.forbid_usual_folders()
    if kind == "open to others":
        small.own_folder.mkdir()
        small.own_folder.chmod(0o777)
    elif kind == "symbolic link":
        (small.at / "elsewhere").mkdir(mode=0o700)
        small.own_folder.symlink_to(small.at / "elsewhere")
    else:
        small.own_folder.touch()
    (_, _, folder), errors = small.run()
    assert folder == "None"
    assert errors.count(WARNING) == 1  # for two kernels
    assert "set NUMBA_CACHE_DIR to a folder that can be written" in errors
    if small.own_folder.is_dir():
        assert not list(small.own_folder.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_own_folder_of_another_user_is_refused(small):
    small.forbid_usual_folders()
    small.own_folder.mkdir(mode=0o700)
    os.chown(small.own_folder, 65534, 65534)
    (_, _, folder), errors = small.run()
    assert folder == "None"
    assert errors.count(WARNING) == 1


def test_changed_helper_is_noticed(small):
    """Numba looks at the file of the kernel only; the digest in its name covers the other files."""
    small.run()
    loops = (small.package / "loops.py").stat()
    (small.package / "helper.py").write_text(HELPER.replace("x + 1", "1 + x"))
    assert (small.package / "loops.py").stat() == loops
    (hits, misses, _), _ = small.run()
    assert (hits, misses) == ("0", "1")
    names = {path.name.split("-")[0] for path in (small.package / "__pycache__").glob("loops.total_*.nbi")}
    assert len(names) == 2


def test_full_disk_costs_the_cache_only(small):
    """Writing stops after 200 bytes, in the midst of the first cache file."""
    before = (
        "import resource, signal, sys\n"
        "sys.dont_write_bytecode = True\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from numba import njit  # its own files are written before\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
    )
    (_, _, _), errors = small.run(before)
    assert errors.count(WARNING) == 1
    assert not list((small.package / "__pycache__").glob("*.nbc"))
    # With room again, the cache works: nothing half-written is in its way.
    (hits, misses, _), errors = small.run()
    assert (hits, misses, errors) == ("0", "1", "")
    assert small.run()[0][:2] == ["1", "0"]
