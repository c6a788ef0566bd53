"""Everything for a machine without a network, in one folder: packages as wheels, weights, and what to type there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from promptseg.errors import ReadError, WriteError
from promptseg.models.transfer import import_weights, pack_weights
from promptseg.models.weights.store import Store

__all__ = ["BundleRequest", "bring", "bundle"]

WHEELS, WEIGHTS, TASKS, NOTE = "wheels", "weights.tar", "totalsegmentator", "INSTALL.txt"


@dataclass(frozen=True)
class BundleRequest:
    """What goes into a bundle.

    Attributes:
        extras: of promptseg ("app", "sam", ...).
        models: ids of models whose weights are here.
        tasks: whole-body tasks whose weights are here, as ``promptseg models pull`` calls them ("total_fast").
        wheel: promptseg's own wheel; None: made from where this promptseg was installed from.
    """

    extras: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    wheel: Path | None = None


def bundle(folder: Path, request: BundleRequest) -> list[Path]:
    """Fill a folder; return what lies in it.

    Packages come in the versions that are installed here, for this system and this Python.

    Args:
        folder: new or empty.
        request: what goes in.

    Raises:
        WriteError: the folder holds something, cannot be written, or pip failed; its last line is said.
        ModelError: weights that are not here.
    """
    folder = folder.expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WriteError(f"expected a new or empty folder, got {folder}")
    weights = [(task, _task_weights(task)) for task in request.tasks]
    folder.mkdir(parents=True, exist_ok=True)
    if request.models:
        pack_weights(list(request.models), folder / WEIGHTS, Store())
    for _, models in weights:
        for name, place in models:
            shutil.copytree(place, folder / TASKS / name / place.name, dirs_exist_ok=True)
    _wheels(folder / WHEELS, request)
    (folder / NOTE).write_text(_note(request), encoding="utf-8")
    return sorted(folder.iterdir())


def bring(folder: Path) -> list[str]:
    """Take a bundle's weights over, on the machine without a network; return what came.

    Raises:
        ReadError: the folder is no bundle.
        ModelError: weights that are damaged.
    """
    from promptseg.wholebody.weights import weights_folder

    folder = folder.expanduser()
    if not (folder / NOTE).is_file():
        raise ReadError(f"expected a folder that promptseg bundle made, with {NOTE} in it, got {folder}")
    came = list(import_weights(folder / WEIGHTS, Store())) if (folder / WEIGHTS).is_file() else []
    for place in sorted((folder / TASKS).glob("*")):
        shutil.copytree(place, weights_folder() / place.name, dirs_exist_ok=True)
        came.append(place.name)
    return came


def _task_weights(task: str) -> list[tuple[str, Path]]:
    """Return name and folder of every network that a whole-body task needs."""
    from promptseg.wholebody.pull import engine_of
    from promptseg.wholebody.weights import find_model, require_models

    engine = engine_of(task)
    require_models(engine.models, engine.task.name, engine.asked)
    return [(model.name, find_model(model)) for model in engine.models]


def _wheels(target: Path, request: BundleRequest) -> None:
    ours = str(request.wheel or _installed_from())
    with tempfile.TemporaryDirectory(prefix="promptseg-") as name:
        pins = Path(name, "constraints.txt")
        pins.write_text("".join(f"{line}\n" for line in _pins()), encoding="utf-8")
        wanted = f"{ours}[{','.join(request.extras)}]" if request.extras else ours
        _pip(["wheel", "--wheel-dir", str(target), "--constraint", str(pins), wanted])


def _installed_from() -> str:
    """Return the checkout or wheel that this promptseg came from, else its name and version for an index."""
    found = metadata.distribution("promptseg")
    told = json.loads(found.read_text("direct_url.json") or "{}").get("url", "")
    place = told.removeprefix("file://")
    return place if told.startswith("file://") and Path(place).exists() else f"promptseg=={found.version}"


def _pins() -> list[str]:
    """Return the versions that are installed here."""
    found = {one.metadata["Name"]: one.version for one in metadata.distributions() if one.metadata["Name"]}
    return [
        f"{name}=={version}" for name, version in sorted(found.items()) if name != "promptseg" and "+" not in version
    ]


def _pip(arguments: Sequence[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise WriteError(f"pip could not gather the packages: {last[0]}")


def _note(request: BundleRequest) -> str:
    extras = f"[{','.join(request.extras)}]" if request.extras else ""
    version = metadata.version("promptseg")
    system = f"{sys.platform}, Python {sys.version_info.major}.{sys.version_info.minor}"
    weights = ", ".join((*request.models, *request.tasks)) or "the built-in model alone"
    return (
        f"promptseg {version} for {system}. In this folder, without a network:\n\n"
        "    python -m venv promptseg\n"
        f'    promptseg/bin/pip install --no-index --find-links {WHEELS} "promptseg{extras}"\n'
        "    promptseg/bin/promptseg bundle --bring .\n"
        "    promptseg/bin/promptseg doctor\n\n"
        f"Weights: {weights}. Research use only: not a medical device.\n"
    )
