"""The command `fastfm-deep`: train a model on text files, score others with it, see it learn on made data."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind the command; default: that of this process.

    Returns
    -------
    int
        Exit code: 0 done; 1 the work failed; 2 bad usage or input; 130 interrupted.
    """
    try:
        # Imported here, so that Ctrl-C meanwhile shows no traceback either.
        from fastfm_deep.cli.app import run

        return run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; nothing was saved\n")
        return 130
