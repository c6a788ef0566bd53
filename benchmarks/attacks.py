"""Every attack of tests/app/test_attacks.py with its outcome, as a list: ``python benchmarks/attacks.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the attacks; print a line for each."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/app/test_attacks.py",
        "-v",
        "-v",
        "--no-header",
        "--tb=line",
        "-p",
    ]
    done = subprocess.run([*command, "no:cacheprovider"], cwd=ROOT, capture_output=True, text=True, check=False)
    held = 0
    for line in done.stdout.splitlines():
        if "::test_attack[" in line and ("PASSED" in line or "FAILED" in line):
            name = line.split("::test_attack[", 1)[1].rsplit("]", 1)[0]
            name = line.split("::test_attack[", 1)[1].split("] ", 1)[0] if "] " in line else name
            passed = "PASSED" in line
            held += passed
            print(f"{'refused ' if passed else 'OPEN    '} {name}")
    print(f"{held} attacks met with the answer that they must have")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
