"""Check the page's code: names and types by tsc, style by eslint, both as app/viewer's lock file pins them.

``python tests/dev/check_page.py`` (part of ``make check``). The tools lie in build/viewer, away from what is packaged.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

from promptseg.app.viewer.build import npm_command
from promptseg.errors import PromptsegError

ROOT = Path(__file__).resolve().parents[2]
PAGE, TOOLS = ROOT / "app" / "viewer", ROOT / "build" / "viewer"
LOCK, SAID = "package-lock.json", "package.json"
INSTALL = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
CHECKS = (["typescript/bin/tsc", "--project", str(PAGE)], ["eslint/bin/eslint.js", str(PAGE)])


def main() -> int:
    """Return the worst exit status."""
    npm = npm_command()
    modules = TOOLS / "node_modules"
    path = f"{Path(npm[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "NODE_PATH": str(modules)}  # where eslint.config.js finds its own
    if not (modules / ".package-lock.json").is_file() or not filecmp.cmp(PAGE / LOCK, TOOLS / LOCK, shallow=False):
        TOOLS.mkdir(parents=True, exist_ok=True)
        for name in (SAID, LOCK):
            shutil.copy(PAGE / name, TOOLS)
        subprocess.run([*npm, *INSTALL], env=environment, check=True, cwd=TOOLS)
    runs = (["node", str(modules / script), *arguments] for script, *arguments in CHECKS)
    return max(subprocess.run(run, env=environment, check=False, cwd=PAGE).returncode for run in runs)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PromptsegError, OSError, subprocess.CalledProcessError) as exc:
        sys.exit(f"the page's code could not be checked: {exc}")
