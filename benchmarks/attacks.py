"""Every attack of tests/app/test_attacks.py with the server's answer, as the table of docs/security.md.

python benchmarks/attacks.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def outcome(status: int) -> str:
    """Return what an answer means for the attack."""
    if status == 0:
        return "connection closed"
    return f"refused ({status})" if status >= 400 else f"answered ({status}), harmless: the test looks at what happened"


def main() -> int:
    """Run the attacks; print a line of a table for each."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "tests/app/test_attacks.py", "--no-cov", f"--junitxml={report}"]
        command += ["-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        cases = ElementTree.parse(report).getroot().iter("testcase")  # our own pytest wrote it a moment ago
        held = 0
        print("| attack | outcome |\n|---|---|")
        for case in cases:
            told = {one.get("name"): str(one.get("value")) for one in case.iter("property")}
            if "attack" not in told:
                continue
            passed = case.find("failure") is None
            held += passed
            name = told["attack"].replace("|", "\\|")
            print(f"| {name} | {outcome(int(told['status'])) if passed else 'OPEN'} |")
    print(f"\n{held} attacks met with the answer that they must have", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
