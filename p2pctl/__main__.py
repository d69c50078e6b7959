"""python -m p2pctl"""

from __future__ import annotations

import sys

from p2pctl.cli import main

if __name__ == "__main__":
    sys.exit(main())
