"""Fuzz the text readers: `fuzz_text.py mutate --runs 1000000`, `NUMBA_DISABLE_JIT=1 fuzz_text.py atheris`.

An input that brings about anything but rows or an error of ours is kept in `data/text_seeds`, which
`test_text_fuzz.py` replays, and the run ends. A crash leaves its input in the file that is named at the start.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import os
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
SEEDS = TESTS / "data" / "text_seeds"
sys.path.insert(0, str(TESTS))
sys.path.insert(0, str(TESTS.parent))
_HANG = 60  # seconds that no input may take

GOOD = {
    "libsvm": [
        b"1 1:0.5 2:1e-3 7:-2.25 # note\n-1 qid:3 3:1 4:12345.678\n0\n\n2.5 5:.5 1:3.\r\n",
        b"\xef\xbb\xbf1 0:1 10:0.123456789 100:7\n# 1:1\n0 3:1.7976931348623157 2:16777217\n",
        b"3:1 4:0.25\n+1 qid:1 1:1\n1e2 123456789:1 4611686018427387904:1e-40\n5",
    ],
    "libffm": [
        b"1 0:1:0.5 1:2:1 2:7:-2.25 # note\n-1 qid:3 0:3:1 1:4:12345.678\n0\n\n2.5 12:5:.5 3:1:3.\r\n",
        b"1 0:0:1 100:10:0.123456789 7:5:7\n# 0:1:1\n0 0:3:1.7976931348623157 1:3:16777217\n",
        b"0:3:1 1:4:0.25\n+1 qid:1 2147483646:1:1\n1e2 0:12345:1\n5",
    ],
}


def random_number(draw: random.Random) -> str:
    """A decimal, now and then halfway between two doubles."""
    kind = draw.randrange(5)
    if kind == 0:
        return repr(draw.uniform(-10, 10) * 10.0 ** draw.randrange(-46, 38))
    if kind == 1:
        return (
            f"{draw.choice(['', '-', '+'])}{draw.randrange(10 ** draw.randrange(1, 41))}e{draw.randrange(-60, 61)}"
        )
    if kind == 2:
        whole, rest = draw.randrange(10 ** draw.randrange(1, 20)), draw.randrange(10 ** draw.randrange(1, 26))
        return f"{whole}.{rest}"
    if kind == 3:
        shift = draw.randrange(8)
        half = (2 * draw.randrange(2**52, 2**53) + 1) * 10**shift
        return f"{half}e-{shift}"
    return str(draw.randrange(100))


def random_piece(draw: random.Random) -> bytes:
    from text_tools import ODD_INTEGERS, ODD_NUMBERS, ODD_PIECES

    kind = draw.randrange(6)
    if kind == 0:
        return draw.choice(ODD_NUMBERS).encode()
    if kind == 1:
        return draw.choice(ODD_INTEGERS).encode()
    if kind == 2:
        return draw.choice(ODD_PIECES).encode()
    if kind == 3:
        return random_number(draw).encode()
    return draw.choice([b"0", b"1", b"9", b"-", b"+", b".", b"e", b"E", b":", b" ", b"\n", b"_", b"#", b"\r"])


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The content with some bytes flipped, taken out, put in, or lines and tokens repeated."""
    text = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 3, 6])):
        at = draw.randrange(len(text) + 1)
        kind = draw.randrange(7)
        if kind == 0 and at < len(text):
            text[at] ^= 1 << draw.randrange(8)
        elif kind == 1 and at < len(text):
            text[at] = draw.randrange(256)
        elif kind == 2:
            del text[at : at + draw.choice([1, 1, 2, 5, 20])]
        elif kind == 3:
            text[at:at] = text[at : at + draw.choice([1, 3, 10, 40])]
        elif kind == 4:
            # A whole token: what stands between two blanks or colons.
            end = at
            while at > 0 and text[at - 1] not in b" :\n\t\r#":
                at -= 1
            while end < len(text) and text[end] not in b" :\n\t\r#":
                end += 1
            text[at:end] = random_piece(draw)
        else:
            text[at:at] = random_piece(draw)
    return bytes(text)


def keep(content: bytes) -> Path:
    """Keep an input as a seed."""
    SEEDS.mkdir(parents=True, exist_ok=True)
    path = SEEDS / f"{hashlib.blake2b(content, digest_size=6).hexdigest()}.txt"
    path.write_bytes(content)
    return path


unraisable: list[str] = []


def note_unraisable(found: Any) -> None:
    """Remember what no caller hears of: files left open, errors of finalisers."""
    unraisable.append(f"{found.exc_value!r} in {found.object!r}")


def mutate(args: argparse.Namespace) -> None:
    """Read mutated text, with a share of it compared with the reference."""
    from text_tools import ARGUMENTS, assert_as_reference, assert_sound

    from fastfm_deep.data import text_blocks
    from fastfm_deep.data.text import TextData, read_text
    from fastfm_deep.validation import TextFormatError

    warnings.simplefilter("error")
    sys.unraisablehook = note_unraisable
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    usual = text_blocks.BLOCK_BYTES
    for format in args.format:
        draw = random.Random(f"{args.seed} {format}")
        with tempfile.NamedTemporaryFile(dir=folder, prefix="fuzz_text_") as file:
            print(f"{format}: inputs in {file.name}", flush=True)
            sources = GOOD[format] + [path.read_bytes() for path in sorted(SEEDS.glob("*"))]
            start, shown, n_read, n_compared = time.monotonic(), time.monotonic(), 0, 0
            for run in range(args.runs):
                content = mutated(draw.choice(sources), draw)
                arguments: dict[str, Any] = dict(draw.choice(ARGUMENTS))
                arguments["format"] = draw.choice(["auto", format, format])
                if draw.random() < args.threads:
                    arguments["n_jobs"] = 2
                text_blocks.BLOCK_BYTES = draw.choice([1, 5, 16, 40, 4096, usual])
                file.seek(0)
                file.truncate()
                file.write(content)
                file.flush()
                faulthandler.dump_traceback_later(_HANG, exit=True)
                try:
                    if draw.random() < args.compare:
                        n_compared += 1
                        assert_as_reference([file.name], [content], **arguments)
                    else:
                        # Of wide tables each column would take memory.
                        if not arguments.keys() & {"n_features", "hash_features", "compact"}:
                            arguments["keep_fields"] = False
                        try:
                            found = read_text(file.name, **arguments)
                        except TextFormatError:
                            pass
                        else:
                            n_read += 1
                            assert isinstance(found, TextData)
                            assert_sound(found)
                except BaseException:
                    print(
                        f"run {run}: {arguments}, BLOCK_BYTES={text_blocks.BLOCK_BYTES}, kept as {keep(content)}"
                    )
                    if args.go_on and sys.exc_info()[0] is not KeyboardInterrupt:
                        print(str(sys.exc_info()[1])[:600], flush=True)
                        continue
                    raise
                if time.monotonic() - shown > 30:
                    shown = time.monotonic()
                    print(f"{run + 1} runs, {shown - start:.0f} s", flush=True)
            faulthandler.cancel_dump_traceback_later()
            seconds = time.monotonic() - start
            print(
                f"{format}: {args.runs} inputs, {n_compared} compared, {n_read} others read, {seconds:.0f} s; "
                f"{len(unraisable)} unraisable {unraisable[:1]}"
            )


def fuzz_by_coverage(args: argparse.Namespace) -> None:
    """Let atheris search for inputs that reach new code, and compare each with the reference."""
    if os.environ.get("NUMBA_DISABLE_JIT") != "1":
        sys.exit("coverage is that of Python code: set NUMBA_DISABLE_JIT=1")
    import atheris

    with atheris.instrument_imports(include=["fastfm_deep.data", "fastfm_deep.kernels", "fastfm_deep.validation"]):
        from fastfm_deep.data import text_blocks

    from text_tools import ARGUMENTS, assert_as_reference

    warnings.simplefilter("error")
    folder = Path(tempfile.mkdtemp(prefix="fuzz_text_", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    corpus = folder / "corpus"
    corpus.mkdir()
    sources = [*GOOD["libsvm"], *GOOD["libffm"], *(path.read_bytes() for path in sorted(SEEDS.glob("*")))]
    for number, content in enumerate(sources):
        for first in range(0, len(ARGUMENTS) * 12, 7):
            if len(content) < args.max_len:
                (corpus / f"{number}_{first}").write_bytes(bytes([first % 256]) + content)
    path = folder / "rows.txt"

    def run(data: bytes) -> None:
        if not data:
            return
        which, content = data[0], data[1:]
        arguments = ARGUMENTS[which % len(ARGUMENTS)]
        text_blocks.BLOCK_BYTES = [1, 7, 40, 1 << 12][which // len(ARGUMENTS) % 4]
        path.write_bytes(content)
        try:
            assert_as_reference([str(path)], [content], **arguments)
        except BaseException:
            print(f"{arguments}, BLOCK_BYTES={text_blocks.BLOCK_BYTES}, kept as {keep(content)}", flush=True)
            raise

    options = [f"-max_total_time={args.seconds}", f"-max_len={args.max_len}", f"-timeout={_HANG}"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(corpus)], run)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("mutate", help=mutate.__doc__)
    command.add_argument("--runs", type=int, default=1_000_000, help="inputs for each parser")
    command.add_argument("--format", nargs="+", default=list(GOOD), choices=list(GOOD))
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--compare", type=float, default=0.2, help="share that is compared with the reference")
    command.add_argument("--threads", type=float, default=0.1, help="share that is read by two threads")
    command.add_argument("--go-on", action="store_true", help="go on after a failure")
    command.set_defaults(function=mutate)
    command = commands.add_parser("atheris", help=fuzz_by_coverage.__doc__)
    command.add_argument("--seconds", type=int, default=600)
    command.add_argument("--max-len", type=int, default=200)
    command.set_defaults(function=fuzz_by_coverage)
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
