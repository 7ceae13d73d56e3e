"""Mapped files that somebody changes: an answer is that of a model or an error, and the process lives on.

Whatever may end a process happens in one of its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scorer_tools import random_matrix
from table_tools import INTERPRETED

import fastfm_deep
from fastfm_deep import FMClassifier, ModelFileError, Scorer
from fastfm_deep.model.mapped import CAN_MAP, MappedFile

pytestmark = pytest.mark.skipif(not CAN_MAP, reason="files are not mapped here")

PACKAGE = Path(fastfm_deep.__file__).parent
WIDTH = 4_000
BACKENDS = pytest.mark.parametrize("backend", ["numpy"] if INTERPRETED else ["numba", "numpy"])

START = """
import faulthandler, mmap, os, shutil, signal, sys, threading, time
import numpy as np
import scipy.sparse as sp
from fastfm_deep import ModelFileError, Scorer

path, other, longer, backend = sys.argv[1:]
size = os.path.getsize(path)
rng = np.random.default_rng(0)
width = {width}
X = sp.csr_array((np.ones(4000, np.float32), rng.integers(0, width, 4000).astype(np.int32),
                  20 * np.arange(201, dtype=np.int32)), shape=(200, width))
ids = np.arange(0, width, 50, dtype=np.int32)

def refused(call):
    try:
        call()
    except ModelFileError as error:
        assert path in str(error), error
        return True
    return False

def overwrite(source):
    with open(source, "rb") as file:
        content = file.read()
    with open(path, "r+b") as file:
        file.write(content)

def all_refused():
    row = {{int(at): 1.0 for at in ids}}
    calls = [lambda: scorer.score(X), lambda: scorer.score(X.astype(np.float64)), lambda: scorer.score(X.tocsc()),
             lambda: scorer.score_into(X, np.empty(200)), lambda: scorer.score_row(ids),
             lambda: scorer.score_dict(row),
             lambda: scorer.rank(row, X), lambda: scorer.prepare(X), lambda: scorer.warm_up(),
             lambda: scorer.score_row(ids.tolist())]
    return [refused(call) for call in calls] == [True] * len(calls)
"""
LOAD = """
scorer = Scorer.load(path, backend=backend).warm_up()
expected, alone = scorer.score(X), scorer.score_row(ids)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of the same size and a larger one, of some hundred pages each."""
    folder, found = tmp_path_factory.mktemp("models"), []
    for seed, width in ((0, WIDTH), (1, WIDTH), (2, 2 * WIDTH)):
        X = random_matrix(20, seed, density=0.05, width=width)
        model = FMClassifier(8, n_epochs=1, init_std=0.1, learning_rate=0.01, random_state=seed).fit(
            X, np.arange(20) % 2
        )
        model.save(folder / str(seed))
        found.append(folder / str(seed))
    assert os.path.getsize(found[0]) > 120_000
    return found


@pytest.fixture
def outcome(models, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(models[0].read_bytes())

    def run(code, backend="numpy"):
        arguments = [str(path), str(models[1]), str(models[2]), backend]
        return subprocess.run(
            [sys.executable, "-c", START.format(width=WIDTH) + code, *arguments],
            capture_output=True,
            text=True,
            cwd=PACKAGE.parent,
            timeout=120,
        )

    return run


def assert_fine(done):
    assert (done.returncode, done.stdout) == (0, "fine\n"), (done.returncode, done.stdout, done.stderr)


@BACKENDS
@pytest.mark.parametrize("n_bytes", ["0", "5000", "size // 2", "size - 1"])
def test_a_file_that_was_cut_off(outcome, backend, n_bytes):
    """Of whatever is read then the process is told; a new file is taken by reload."""
    code = f"""
os.truncate(path, {n_bytes})
assert all_refused()
assert refused(scorer.reload)
assert all_refused()
shutil.copy(other, path + ".new")
os.replace(path + ".new", path)
found = scorer.reload().score(X)
assert not np.isclose(found, expected).any()
assert (found == Scorer.load(other, backend=backend).score(X)).all()
print("fine")
"""
    assert_fine(outcome(LOAD + code, backend))


@BACKENDS
def test_a_file_that_was_cut_off_and_put_back_as_it_was(outcome, backend):
    """Pages that were touched in between are zeros for good, though size and time are what they were."""
    code = """
content, times = open(path, "rb").read(), os.stat(path)
os.truncate(path, 0)
assert all_refused()
with open(path, "r+b") as file:
    file.write(content)
os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
assert all_refused()
assert (scorer.reload().score(X) == expected).all()
print("fine")
"""
    assert_fine(outcome(LOAD + code, backend))


@BACKENDS
def test_a_file_that_was_only_touched(outcome, backend):
    code = """
os.utime(path)
assert (scorer.score(X) == expected).all()
assert scorer.score_row([1]) == scorer.score_row([1])
print("fine")
"""
    assert_fine(outcome(LOAD + code, backend))


@BACKENDS
def test_a_file_that_is_cut_off_while_threads_read_it(outcome, backend):
    code = """
counts, wrong = [0, 0], []
is_over = threading.Event()

def ask():
    while not is_over.is_set():
        try:
            if (scorer.score(X) != expected).any() or scorer.score_row(ids) != alone:
                wrong.append("other scores")
            counts[0] += 1
        except ModelFileError:
            counts[1] += 1
        except BaseException as error:
            wrong.append(error)

content = open(path, "rb").read()
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
for turn in range(8):
    time.sleep(0.05)
    os.truncate(path, size * turn // 8)
    time.sleep(0.05)
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.replace(path + ".new", path)
    scorer.reload()
time.sleep(0.05)
is_over.set()
for thread in threads:
    thread.join()
assert not wrong, wrong
assert min(counts) > 0, counts
assert (scorer.score(X) == expected).all()
print("fine")
"""
    assert_fine(outcome(LOAD + code, backend))


@BACKENDS
@pytest.mark.parametrize("source", ["other", "longer"])
def test_a_file_that_was_written_over(outcome, backend, source):
    """In place, by a model of the same size and by a larger one: never the scores of a mixture."""
    code = f"""
assert (os.path.getsize({source}) == size) == ({source} == other)
time.sleep(0.02)
overwrite({source})
assert all_refused()
found = scorer.reload()
assert scorer.score_row(ids) == Scorer.load({source}, backend=backend).score_row(ids)
print("fine")
"""
    assert_fine(outcome(LOAD + code, backend))


@BACKENDS
def test_a_file_that_was_replaced_or_deleted(outcome, backend):
    """It stays as it was for who has mapped it."""
    code = """
shutil.copy(other, path + ".new")
os.replace(path + ".new", path)
assert (scorer.score(X) == expected).all()
assert scorer.score_row(ids) == alone
os.remove(path)
assert (scorer.score(X) == expected).all()
assert scorer.score_row(ids) == alone
try:
    scorer.reload()
except FileNotFoundError:
    print("fine")
assert (scorer.score(X) == expected).all()
"""
    assert_fine(outcome(LOAD + code, backend))


def test_a_file_that_was_read_may_be_changed(outcome):
    code = """
scorer = Scorer.load(path, mmap=False, backend=backend)
expected = scorer.score(X)
os.truncate(path, 0)
assert (scorer.score(X) == expected).all()
print("fine")
"""
    assert_fine(outcome(code))


# ------------------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize("enable", ["faulthandler.enable()", "", "signal.signal(signal.SIGBUS, signal.SIG_IGN)"])
def test_handlers_of_others_from_before(outcome, enable):
    assert_fine(outcome(enable + LOAD + "os.truncate(path, 0)\nassert all_refused()\nprint('fine')"))


def test_a_faulthandler_of_later_may_end_the_process_but_says_so(outcome):
    """The last handler that is installed is the one that is called: then as without ours."""
    done = outcome(LOAD + "faulthandler.enable()\nos.truncate(path, 0)\nassert all_refused()\nprint('fine')")
    if done.returncode != 0:
        assert done.returncode == -signal.SIGBUS
        assert "Fatal Python error: Bus error" in done.stderr


FOREIGN = """
with open(path + ".foreign", "wb") as file:
    file.write(bytes(1 << 16))
with open(path + ".foreign", "rb") as file:
    pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
os.truncate(path + ".foreign", 0)
print("before", flush=True)
print(pages[40_000])
"""


@pytest.mark.parametrize(
    "code",
    [FOREIGN, "print('before', flush=True); os.kill(os.getpid(), signal.SIGBUS); time.sleep(5)"],
    ids=["a fault elsewhere", "a signal that was sent"],
)
@pytest.mark.parametrize("with_faulthandler", [False, True])
def test_what_is_not_ours_ends_the_process(outcome, code, with_faulthandler):
    done = outcome("faulthandler.enable()\n" * with_faulthandler + LOAD + code)
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, "before\n"), done.stderr
    assert ("Fatal Python error: Bus error" in done.stderr) == with_faulthandler


def test_handlers_of_python_still_hear_of_signals(outcome):
    code = """
heard = []
signal.signal(signal.SIGBUS, lambda *found: heard.append(found))
scorer = Scorer.load(path, backend=backend)
os.kill(os.getpid(), signal.SIGBUS)
time.sleep(0.05)
assert len(heard) == 1
print("fine")
"""
    assert_fine(outcome(code))


# ------------------------------------------------------------------------------------------- memory and folders


def test_a_folder_and_a_file_that_cannot_be_written(models, tmp_path):
    (tmp_path / "model").write_bytes(models[0].read_bytes())
    (tmp_path / "model").chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        found = Scorer.load(tmp_path / "model", backend="numpy").score_row([1, 2])
    finally:
        tmp_path.chmod(0o755)
    assert found == Scorer.load(models[0], backend="numpy").score_row([1, 2])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_tables_are_pages_of_the_file(outcome, tmp_path):
    """They count as pages of files, which processes share, not as the process's own."""
    X = random_matrix(4, density=0.0001, width=600_000)
    FMClassifier(16, n_epochs=1, random_state=0).fit(X, np.arange(4) % 2).save(tmp_path / "large")
    code = """
def kilobytes():
    lines = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Rss"))
    return int(lines["RssFile"].split()[0]), int(lines["RssAnon"].split()[0])

large = os.path.dirname(path) + "/large"
Scorer.load(path, backend=backend).score(X)
before = kilobytes()
scorer = Scorer.load(large, backend=backend)
touched = int(np.asarray(scorer._loaded.stored.factors).view(np.uint8)[:, ::64].sum())
after = kilobytes()
n_file, n_own = after[0] - before[0], after[1] - before[1]
table = os.path.getsize(large) // 1024
assert table > 38_000
assert n_file > 0.9 * table, (n_file, n_own, table)
assert n_own < 0.2 * table, (n_file, n_own, table)
read = Scorer.load(large, mmap=False, backend=backend)
assert kilobytes()[1] - after[1] > 0.9 * table
print("fine")
"""
    assert_fine(outcome(code))


# ------------------------------------------------------------------------------------------ the class by itself


def test_memory_shows_the_file(tmp_path):
    (tmp_path / "f").write_bytes(bytes(range(256)) * 40)
    with open(tmp_path / "f", "rb") as file:
        mapped = MappedFile(file, "f")
    assert mapped.memory.tobytes() == bytes(range(256)) * 40
    assert not mapped.memory.flags.writeable
    mapped.check()
    os.utime(tmp_path / "f", ns=(1, 1))
    with pytest.raises(ModelFileError, match=re.escape("'f'")):
        mapped.check()


def test_nothing_is_left_open(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 5000)

    def n_open():
        return len(os.listdir("/proc/self/fd"))

    before = n_open()
    for _ in range(20):
        with open(tmp_path / "f", "rb") as file:
            memory = MappedFile(file, "f").memory
        assert memory[4999] == ord("x")  # pages live as long as arrays of them
    del memory
    assert n_open() <= before
    before = n_open()
    for _ in range(20):
        Scorer.load(MODEL_FILE, backend="numpy").score_row([1])
    assert n_open() <= before + 1


MODEL_FILE = PACKAGE.parent / "tests" / "data" / "fm_classifier_2.safetensors"
