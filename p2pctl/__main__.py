"""python -m p2pctl"""

from __future__ import annotations

from p2pctl.cli import program

if __name__ == "__main__":
    program()
