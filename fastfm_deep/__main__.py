"""`python -m fastfm_deep` is the command `fastfm-deep`."""

from __future__ import annotations

import sys

from fastfm_deep.cli import main

if __name__ == "__main__":
    sys.exit(main())
