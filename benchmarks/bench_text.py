"""Text files: parsing against scikit-learn, from a file to a model against xLearn, and memory while parsing.

    python benchmarks/bench_text.py parse [--kinds ones decimals reprs] [--threads 1 2] [--rounds 5]
    python benchmarks/bench_text.py train [--xlearn FOLDER] [--settings defaults tuned] [--factors 16] [--rounds 3]
    python benchmarks/bench_text.py memory [--threads 1 2]

All take --rows, --features (1000000) and --cache, a folder for the text files, which are made once: click
logs of 39 sorted ids a row (`make_ctr`), as libsvm and as libffm. Contestants run in turn, round after round, with
the files in the page cache; figures are medians. benchmarks/README.md says how to get xLearn.
"""

from __future__ import annotations

import argparse
import functools
import gc
import gzip
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_svmlight_file

from fastfm_deep import FMClassifier, load_model, read_text
from fastfm_deep.datasets import make_ctr

ROOT = Path(__file__).parents[1]
FORMATS = ("libsvm", "libffm")
KINDS = {"ones": "1", "decimals": "0.1234", "reprs": "float64 repr"}
N_FIELDS = 39

# For xLearn and for us. The tuned ones are the best that were found for each after one epoch, on another click log
# of 300,000 rows (another seed). --no-norm lets xLearn take rows as they are, as we do.
SETTINGS = {
    "defaults": ([], {}),
    "tuned": (
        ["--no-norm", "-r", "0.03", "-u", "0.02"],
        {"learning_rate": 0.03, "l2_reg_factors": 1e-5, "init_std": 0.003},
    ),
}

MEMORY_CHILD = """
import json, sys
sys.path.insert(0, {root!r})
from fastfm_deep import read_text

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

read_text({small!r}, n_jobs={threads})  # imports and loads what is compiled
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
X, y, fields, _ = read_text({path!r}, n_jobs={threads})
taken = status("VmHWM") - before
print(json.dumps([taken, sum(array.nbytes for array in (X.data, X.indices, X.indptr, y))]))
"""


# Text files, made once --------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def click_log(n_rows, n_features):
    return make_ctr(n_rows, n_fields=N_FIELDS, n_features=n_features, random_state=0)


def text_file(options, format, kind="ones", rows=None, name="all"):
    """The path of a text file of these rows of the click log (a slice; by default the first `options.rows`)."""
    options.cache.mkdir(parents=True, exist_ok=True)
    path = options.cache / f"{name}_{options.rows}x{options.features}_{kind}.{format}"
    if not path.exists():
        print(f"writing {path}", file=sys.stderr)
        X, y, sizes = click_log(options.rows * 6 // 5, options.features)
        rows = slice(options.rows) if rows is None else rows
        draft = path.with_suffix(".part")
        write_text(draft, X[rows], y[rows], sizes, format, kind)
        draft.replace(path)
    return path


def write_text(path, X, y, sizes, format, kind):
    """Write rows quickly: the text of each column is made once, and rows are joined from such texts."""
    rng = np.random.default_rng(0)
    values = {
        "ones": ["1"],
        "decimals": [f"{value / 10_000:.4f}" for value in range(10_000)],
        "reprs": [repr(value) for value in rng.random(50_000).tolist()],
    }[kind]
    columns = range(X.shape[1])
    if format == "libffm":
        fields = np.repeat(np.arange(len(sizes)), sizes).tolist()
        heads = [f"{field}:{column}:" for field, column in zip(fields, columns, strict=True)]
    else:
        heads = [f"{column}:" for column in columns]
    labels = ["0 ", "1 "]
    with path.open("w", encoding="ascii") as file:
        for start in range(0, X.shape[0], 10_000):
            part = X[start : start + 10_000]
            drawn = rng.integers(len(values), size=part.nnz).tolist()
            pairs = [
                heads[column] + values[value] for column, value in zip(part.indices.tolist(), drawn, strict=True)
            ]
            ends = itertools.pairwise(part.indptr.tolist())
            for label, (begin, end) in zip(y[start : start + 10_000].tolist(), ends, strict=True):
                file.write(labels[label] + " ".join(pairs[begin:end]) + "\n")


def head_of(path, n_lines=2000):
    """A small file with the first lines of a large one, compressed if that is."""
    small = path.with_name("head_" + path.name)
    if not small.exists():
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as source, opener(small, "wb") as target:
            target.writelines(itertools.islice(source, n_lines))
    return small


def compressed(path):
    target = path.with_name(path.name + ".gz")
    if not target.exists():
        draft = target.with_suffix(".part")
        with path.open("rb") as source, gzip.open(draft, "wb", compresslevel=1) as file:
            shutil.copyfileobj(source, file, 1 << 20)
        draft.replace(target)
    return target


# Parsing against scikit-learn -------------------------------------------------------------------------------


def seconds_of(read):
    gc.collect()
    started = time.perf_counter()
    found = read()
    seconds = time.perf_counter() - started
    del found
    return seconds


def check_equal(paths):
    """Both readers must see the same numbers, or their times mean nothing."""
    X, y = load_svmlight_file(str(paths["libsvm"]), dtype=np.float32)
    for path in paths.values():
        found = read_text(path)
        assert np.array_equal(found.X.indices, X.indices), path
        assert np.array_equal(found.X.data.view(np.int32), X.data.view(np.int32)), path
        assert np.array_equal(found.X.indptr, X.indptr), path
        assert np.array_equal(found.y, y), path


def run_parse(options):
    n_pairs = options.rows * N_FIELDS
    print(f"{options.rows:,} rows of {N_FIELDS} pairs; medians of {options.rounds} rounds")
    header = f"{'file':8} {'values':13} {'MB':>5}  {'reader':13} {'seconds':>8} {'MB/s':>7} {'Mpairs/s':>9}"
    print(f"{header} {'x sklearn':>10} {'x 1 thread':>11}")
    for kind in options.kinds:
        paths = {format: text_file(options, format, kind) for format in FORMATS}
        readers = {("libsvm", 0): functools.partial(load_svmlight_file, str(paths["libsvm"]), dtype=np.float32)}
        for format, n_threads in itertools.product(FORMATS, options.threads):
            readers[format, n_threads] = functools.partial(read_text, paths[format], n_jobs=n_threads)
        check_equal(paths)
        for (_, n_threads), read in readers.items():
            if n_threads:
                read()  # compiles
        runs = [{key: seconds_of(read) for key, read in readers.items()} for _ in range(options.rounds)]
        found = {key: float(np.median([run[key] for run in runs])) for key in readers}
        for (format, n_threads), seconds in found.items():
            megabytes = paths[format].stat().st_size / 1e6
            reader = f"{n_threads} thread{'s' if n_threads > 1 else ''}" if n_threads else "scikit-learn"
            one = found.get((format, 1)) if n_threads > 1 else None
            line = f"{format:8} {KINDS[kind]:13} {megabytes:5.0f}  {reader:13} {seconds:8.3f}"
            line += f" {megabytes / seconds:7.0f} {n_pairs / seconds / 1e6:9.1f}"
            line += f" {found['libsvm', 0] / seconds:10.1f}" if n_threads else ""
            print(line + (f" {one / seconds:11.2f}" if one else ""))
    print("scikit-learn cannot read libffm: that file is held against its time for the same rows as libsvm.")


# From a file to a model, against xLearn ---------------------------------------------------------------------


def find_xlearn(folder):
    """The folder with the programs of xLearn, or None."""
    if folder is None:
        program = shutil.which("xlearn_train")
        return Path(program).parent if program else None
    if not (folder / "xlearn_train").exists():
        raise SystemExit(f"there is no xlearn_train in {folder}")
    return folder


def run_program(command, written):
    """Wall seconds and output of a program that must leave a file; xLearn exits with 0 whatever happens."""
    written.unlink(missing_ok=True)
    # xLearn aborts without a USER.
    environment = {"USER": "user"} | os.environ | {"PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - started
    if done.returncode or not written.exists():
        raise SystemExit(f"{shlex.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds, done.stdout


def logloss(y, raw):
    return float(np.logaddexp(0, np.where(y > 0, -raw, raw)).mean())


def run_xlearn(folder, options, given, train, test, y, scratch):
    model, out, log = scratch / "xlearn.model", scratch / "xlearn.out", scratch / "xlearn_log"
    # xLearn keeps what it read as a binary file beside the text, which the next run would take instead.
    kept = [path.with_name(path.name + ".bin") for path in (train, test)]
    for path in kept:
        path.unlink(missing_ok=True)
    command = [folder / "xlearn_train", train, "-s", "1", "-k", str(options.factors), "-e", str(options.epochs)]
    command += ["-nthread", str(options.threads), "--dis-es", "--quiet", "-m", model, "-l", log, *given]
    process, said = run_program(command, model)
    reading, saving = (
        float(re.search(rf"Time cost for {name}: ([\d.]+)", said)[1])
        for name in ("reading problem", "saving model")
    )
    command = [folder / "xlearn_predict", test, model, "-o", out, "-l", log]
    run_program(command + ["--no-norm"] * ("--no-norm" in given), out)
    for path in kept:
        path.unlink(missing_ok=True)
    return {
        "read": reading,
        "fit": process - saving - reading,
        "read + fit": process - saving,
        "save": saving,
        "process": process,
        "logloss": logloss(y, np.loadtxt(out)),
    }


def run_python(options, given, train, X, y, scratch, seed):
    gc.collect()
    clock = [time.perf_counter()]
    data = read_text(train, n_jobs=options.threads)
    clock.append(time.perf_counter())
    model = FMClassifier(
        options.factors, n_epochs=options.epochs, n_jobs=options.threads, random_state=seed, **given
    ).fit(data.X, data.y)
    clock.append(time.perf_counter())
    model.save(scratch / "python.safetensors")
    clock.append(time.perf_counter())
    reading, fitting, saving = np.diff(clock)
    return {
        "read": reading,
        "fit": fitting,
        "read + fit": reading + fitting,
        "save": saving,
        "logloss": logloss(y, model.decision_function(X)),
    }


def run_command_line(options, given, train, X, y, scratch, seed):
    out = scratch / "command_line.safetensors"
    given = given | {"n_factors": options.factors, "n_epochs": options.epochs, "n_jobs": options.threads}
    command = [sys.executable, "-m", "fastfm_deep", "train", train, "--quiet", "-o", out, f"--random-state={seed}"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    process, _ = run_program(command, out)
    return {"process": process, "logloss": logloss(y, load_model(out).decision_function(X))}


def run_train(options):
    folder = find_xlearn(options.xlearn)
    if folder is None:
        print("Our figures alone: there is no xlearn_train on the PATH, and --xlearn names no folder.")
    train = text_file(options, "libffm")
    test = text_file(options, "libffm", rows=slice(options.rows, None), name="test")
    X, y, _, _ = read_text(test, id_map=read_text(train).id_map, unknown_ids="ignore")
    print(
        f"{options.rows:,} rows of {N_FIELDS} pairs, {train.stat().st_size / 1e6:.0f} MB of libffm; epochs: "
        f"{options.epochs}, factors: {options.factors}, threads: {options.threads}; {len(y):,} test rows; "
        f"seconds, medians of {options.rounds} rounds"
    )
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        small = head_of(train)
        run_python(options, {}, small, *read_text(small)[:2], scratch, 0)  # compiles
        run_command_line(options, {}, train, X, y, scratch, 0)
        for setting in options.settings:
            theirs, ours = SETTINGS[setting]
            runs = {"xLearn": [], "ours, process": [], "ours, in Python": []}
            for seed in range(options.rounds):
                if folder is not None:
                    runs["xLearn"].append(run_xlearn(folder, options, theirs, train, test, y, scratch))
                runs["ours, process"].append(run_command_line(options, ours, train, X, y, scratch, seed))
                runs["ours, in Python"].append(run_python(options, ours, train, X, y, scratch, seed))
            report_train(setting, {name: found for name, found in runs.items() if found})


def report_train(setting, runs):
    parts = ("read", "fit", "read + fit", "save", "process")
    print(f"\n{setting:15}" + "".join(f"{part:>11}" for part in parts) + f"{'logloss':>9}   times xLearn")
    medians = {
        name: {part: float(np.median([run[part] for run in found])) for part in found[0]}
        for name, found in runs.items()
    }
    theirs = medians.get("xLearn")
    for name, median in medians.items():
        times = "".join(f"{median[part]:11.3f}" if part in median else f"{'':11}" for part in parts)
        compared = "process" if "process" in median else "read + fit"
        ratio = (
            f"{theirs[compared] / median[compared]:8.1f} ({compared})" if theirs and median is not theirs else ""
        )
        print(f"{name:15}{times}{median['logloss']:9.4f}{ratio}")


# Memory while parsing ---------------------------------------------------------------------------------------


def run_memory(options):
    print(f"{options.rows:,} rows of {N_FIELDS} pairs; MB; taken: peak above the process before reading")
    print(f"{'file':12} {'threads':>7} {'taken':>7} {'CSR and y':>10} {'beyond':>7} {'bound':>6}")
    for format, kind in itertools.product(FORMATS, options.kinds):
        plain = text_file(options, format, kind)
        for path, n_threads in itertools.product((plain, compressed(plain)), options.threads):
            code = MEMORY_CHILD.format(root=str(ROOT), small=str(head_of(path)), path=str(path), threads=n_threads)
            taken, arrays = json.loads(subprocess.check_output([sys.executable, "-c", code]))
            print(
                f"{format if path is plain else format + '.gz':12} {n_threads:7} "
                f"{taken / 1e6:7.1f} {arrays / 1e6:10.1f} {(taken - arrays) / 1e6:7.1f} {64 * n_threads:6}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True, metavar="parse|train|memory")
    for name, run, rounds, kinds in (
        ("parse", run_parse, 5, list(KINDS)),
        ("train", run_train, 3, None),
        ("memory", run_memory, None, ["ones"]),
    ):
        part = parts.add_parser(name)
        part.set_defaults(run=run)
        part.add_argument("--rows", type=int, default=300_000 if kinds else 500_000)
        part.add_argument("--features", type=int, default=1_000_000)
        part.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fastfm_bench")
        if rounds:
            part.add_argument("--rounds", type=int, default=rounds)
        if kinds:
            part.add_argument("--kinds", nargs="+", choices=list(KINDS), default=kinds)
            part.add_argument("--threads", type=int, nargs="+", default=[1, 2])
        else:
            part.add_argument("--threads", type=int, default=2)
            part.add_argument("--factors", type=int, default=16)
            part.add_argument("--epochs", type=int, default=1)
            folder = os.environ.get("FASTFM_DEEP_XLEARN")
            part.add_argument("--xlearn", type=Path, default=folder and Path(folder), metavar="FOLDER")
            part.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
