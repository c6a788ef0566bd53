"""``python -m promptseg.example OUTDIR``: make the example volume and its truth again."""

from __future__ import annotations

import argparse
import sys

from promptseg.errors import PromptsegError
from promptseg.example import write_example


def main() -> int:
    """Write the example; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m promptseg.example", description="Make the example volume again.")
    parser.add_argument("folder", metavar="OUTDIR", help="where the files go; made when missing")
    try:
        written = write_example(parser.parse_args().folder)
    except PromptsegError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
