"""A PostgreSQL of Debian's package, started for the tests on a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def binaries() -> Path | None:
    """Return the folder with initdb and postgres, None where PostgreSQL is not installed."""
    found = [Path(one).resolve().parent for name in ("initdb", "postgres") if (one := shutil.which(name))]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").is_file() and (folder / "postgres").is_file()), None)


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a server with its data in a new folder; give the folder of its socket."""
    home = Path(tempfile.mkdtemp(prefix="pspg"))
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        os.chown(home, pwd.getpwnam("postgres").pw_uid, -1)
    data = home / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": home}
    subprocess.run(
        [*as_user, str(folder / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N", "--no-instructions"],
        check=True,
        timeout=300,
        **quiet,  # type: ignore[call-overload]
    )
    options = ["-c", "listen_addresses=", "-k", str(home), "-c", "fsync=off", "-c", "max_connections=200"]
    server = subprocess.Popen([*as_user, str(folder / "postgres"), "-D", str(data), *options], **quiet)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 120
        ready = [str(folder / "pg_isready"), "-q", "-h", str(home), "-U", "postgres"]
        while subprocess.run(ready, check=False).returncode:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start")
            time.sleep(0.05)
        yield str(home)
    finally:
        server.terminate()
        server.wait(timeout=60)
        shutil.rmtree(home, ignore_errors=True)
