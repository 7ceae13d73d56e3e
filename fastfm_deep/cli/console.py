"""Where commands write to: results to standard output, errors to standard error in one line each.

An *outcome* is how a command ended: an exit code, and the line that goes with it.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fastfm_deep import validation
from fastfm_deep.cli.wording import in_options

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class Console:
    """Where a command shows what it does: nowhere with `--quiet`, and with `--json` only the result.

    Attributes
    ----------
    silent : bool
        Nothing but errors and the JSON object is shown.
    live : bool
        Standard output is a terminal, and may show lines that are overwritten.
    watched : bool
        Likewise standard error.
    """

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.silent = quiet or as_json
        self._as_json = as_json
        self._notes = not self.silent
        self.live = not self.silent and _is_terminal(sys.stdout)
        self.watched = not self.silent and _is_terminal(sys.stderr)

    def show(self, text: str) -> None:
        """Print text; when nobody reads it any more, the work goes on in silence."""
        if not self.silent:
            try:
                write_out(text)
            except BrokenPipeError:
                detach_stdout()
                self.silent = True

    def result(self, result: dict[str, Any]) -> None:
        """Print the JSON object, if there is to be one."""
        if self._as_json:
            write_out(json.dumps(_for_json(result)) + "\n")

    def note(self, text: str) -> None:
        """Say on standard error what is no error, unless nothing of the kind is wanted."""
        if self._notes:
            _write_line(f"note: {text}")


def _is_terminal(stream: Any) -> bool:
    return stream is not None and not stream.closed and bool(stream.isatty())


def write_out(text: str) -> None:
    """Write to standard output at once, so that a table grows while it is watched through a pipe."""
    if sys.stdout is not None:
        sys.stdout.write(text)
        sys.stdout.flush()


def complain(text: str) -> None:
    """Write one line on standard error."""
    _write_line(f"error: {text}")


def _write_line(text: str) -> None:
    with suppress(OSError, AttributeError, ValueError):
        sys.stderr.write(" ".join(text.split()) + "\n")
        sys.stderr.flush()


def detach_stdout() -> None:
    """Let what is still buffered go nowhere; the interpreter would complain of it at its end."""
    with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _for_json(value: Any) -> Any:
    """JSON has no NaN: the AUC of rows of one class is null."""
    if isinstance(value, dict):
        return {key: _for_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_for_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Ended(Exception):  # noqa: N818 - it may have ended well
    """Carries the exit code of a command out of it; all has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@contextmanager
def outcome(debug: bool) -> Iterator[None]:
    """Turn what a command raises into one line and an exit code."""
    try:
        yield
    except Ended:
        raise
    except BrokenPipeError:
        detach_stdout()
    except BaseException as error:
        told = tell_apart(error)
        if told is None:
            raise
        if debug:
            traceback.print_exception(error)
        if isinstance(error, OSError):
            detach_stdout()  # it may be standard output that is full
        complain(told[1])
        raise Ended(told[0]) from None


def tell_apart(error: BaseException) -> tuple[int, str] | None:
    """Exit code and line of an exception; None for those that are none of ours to handle."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, str(error) or "interrupted; nothing was saved"
    if isinstance(error, FileNotFoundError):  # it was there when the options were checked
        return FAILED, in_options(str(error)) if isinstance(error, validation.InputError) else _about_file(error)
    if isinstance(error, validation.InputError):  # a table too large for memory is one of these, too
        return BAD_INPUT, in_options(str(error))
    if isinstance(error, validation.FastFMError):
        return FAILED, in_options(str(error))
    if isinstance(error, MemoryError):
        return FAILED, str(error) or "out of memory"
    if isinstance(error, OSError):
        return FAILED, _about_file(error)
    if isinstance(error, Exception):
        return FAILED, f"unexpected {type(error).__name__}: {error}; --debug shows where"
    return None


def _about_file(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
