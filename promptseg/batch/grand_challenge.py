"""The contract of an algorithm container of grand-challenge.org: one case in /input, its mask in /output.

    /input/images/<interface>/<name>.mha      the image (``.tif``, ``.nii.gz`` too)
    /input/<anything>.json                    prompts: this project's log or list, or annotations of the
                                              platform: "Point", "Multiple points", "2D bounding box",
                                              "Multiple 2D bounding boxes"
    /output/images/<interface>/<name>.mha     the labels, on the image's grid
    /output/results.json                      one entry: files, volumes, model, error messages

The platform's annotations are in world millimetres (LPS, as in the MHA header). A point whose name is "background",
"negative" or "exclude" is a negative one; other names are labels' names, so that several objects come out as several
labels. ``/input/inputs.json`` (the platform's own list of what lies there) is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promptseg.errors import PromptError, ReadError, WriteError
from promptseg.prompts import Box, Point, Prompt

if TYPE_CHECKING:
    from promptseg.session.prompt_log import PromptLog
    from promptseg.session.session import Session
    from promptseg.volume import Geometry

__all__ = ["ChallengeRequest", "annotated", "run_case"]

IMAGE_ENDINGS = (".mha", ".tif", ".tiff", ".nii.gz", ".nii", ".nrrd")
NEGATIVE_NAMES = ("background", "negative", "exclude")
NOT_PROMPTS = ("inputs.json", "results.json")
KINDS = ("Point", "Multiple points", "2D bounding box", "Multiple 2D bounding boxes")
DEFAULT_LABEL = "segmentation"


@dataclass(frozen=True)
class ChallengeRequest:
    """Options of ``promptseg grand-challenge``; see its help."""

    input: Path = Path("/input")
    output: Path = Path("/output")
    interface: str = "segmentation"
    model: str = "builtin"
    device: str = "auto"


def run_case(request: ChallengeRequest) -> list[str]:
    """Segment the one case of a container's input; return a line per file.

    Raises:
        ReadError: not exactly one image, or no prompts.
        PromptError: prompts that do not fit the image.
        WriteError: the output cannot be written.
    """
    from promptseg.api import open_session
    from promptseg.io import read_volume, write_labelmap
    from promptseg.session.prompt_log import PromptLog
    from promptseg.session.restoring import predictor_of, restore

    image = _only_image(request.input)
    prompts = _prompts(request.input)
    volume = read_volume(image)
    if isinstance(prompts, PromptLog):
        log = replace(prompts, model_id=prompts.model_id or request.model)
        session = restore(volume, log, predictor_of(log, request.device))
    else:
        session = open_session(volume, request.model, request.device)
        _add_annotations(session, prompts)
    folder = request.output / "images" / request.interface
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WriteError(f"cannot make the folder {folder}: {exc.strerror}") from exc
    labelmap = session.labelmap
    mask = write_labelmap(labelmap, folder / f"{_stem(image)}.mha")[0]
    volumes = {label.name: labelmap.volume_ml(label.value) for label in labelmap.labels.values()}
    entry = {
        "image": image.name,
        "outputs": [{"type": "metaio_image", "filename": mask.name}],
        "model": session.model_id,
        "volume_ml": volumes,
        "findings": [str(finding) for finding in volume.findings],
        "error_messages": [],
    }
    return [f"wrote {mask}", f"wrote {_write_results([entry], request.output)}"]


def _write_results(entries: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    from promptseg.io.atomic import all_or_nothing

    path = folder / "results.json"
    with all_or_nothing(path) as partial:
        (partial / path.name).write_text(json.dumps(list(entries), indent=1) + "\n", encoding="utf-8")
    return path


def _only_image(folder: Path) -> Path:
    found = sorted(path for path in folder.glob("images/*/*") if path.name.lower().endswith(IMAGE_ENDINGS))
    if len(found) != 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found) or "none"
        raise ReadError(f"expected one image at {folder}/images/<interface>/, found {names}")
    return found[0]


def _stem(image: Path) -> str:
    return next(image.name[: -len(ending)] for ending in IMAGE_ENDINGS if image.name.lower().endswith(ending))


def _prompts(folder: Path) -> PromptLog | list[Mapping[str, Any]]:
    """Return the one prompt log, or the annotations of all JSON files.

    Raises:
        ReadError: none there, or a file that is neither.
    """
    from promptseg.session.prompt_log import read_log

    found: list[Mapping[str, Any]] = []
    files = [path for path in sorted(folder.glob("*.json")) if path.name not in NOT_PROMPTS]
    for path in files:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise ReadError(f"cannot read the prompts in {path}: expected JSON") from exc
        if isinstance(content, dict) and content.get("type") in KINDS:
            found.append(content)
        elif len(files) == 1:
            return read_log(path)
        else:
            raise ReadError(
                f"expected one prompt log, or annotations of type {', '.join(KINDS)}, at {folder}; got {path.name} "
                f"among {len(files)} JSON files"
            )
    if not found:
        raise ReadError(f"expected prompts as a JSON file at {folder}, found none: there is nothing to segment from")
    return found


def _add_annotations(session: Session, contents: Sequence[Mapping[str, Any]]) -> None:
    """Add every object's prompts as one label; negative points count for all labels."""
    objects: dict[str, list[Prompt]] = {}
    negative: list[Prompt] = []
    for content in contents:
        for name, prompt in annotated(content, session.volume.geometry):
            if isinstance(prompt, Point) and not prompt.positive:
                negative.append(prompt)
            else:
                objects.setdefault(name, []).append(prompt)
    if not objects:
        raise PromptError("expected at least one positive point or a box, got negative points only")
    for name, prompts in objects.items():
        session.new_label(name)
        session.add(*prompts, *negative)


def annotated(content: Mapping[str, Any], geometry: Geometry) -> list[tuple[str, Prompt]]:
    """Return the prompts of one annotation of the platform, each with its object's name.

    Args:
        content: a JSON object with "type" among "Point", "Multiple points", "2D bounding box" and "Multiple 2D bounding
            boxes"; coordinates are world mm (x, y, z), LPS.
        geometry: the image's frame.

    Raises:
        PromptError: a field is missing or malformed.
    """
    try:
        kind = content["type"]
        if kind in ("Point", "Multiple points"):
            items = content["points"] if kind == "Multiple points" else [content]
            return [_point(item, content) for item in items]
        items = content["boxes"] if kind.startswith("Multiple") else [content]
        return [(_name(item, content), _box(item["corners"], geometry)) for item in items]
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise PromptError(f"the annotation lacks a field or holds a wrong value: {exc}") from exc


def _name(item: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    return str(item.get("name") or content.get("name") or DEFAULT_LABEL)


def _point(item: Mapping[str, Any], content: Mapping[str, Any]) -> tuple[str, Prompt]:
    name = _name(item, content)
    x, y, z = (float(value) for value in item["point"])
    return name, Point(world=(x, y, z), positive=name.lower() not in NEGATIVE_NAMES)


def _box(corners: Sequence[Sequence[float]], geometry: Geometry) -> Box:
    """Return the smallest box of whole voxels around the corners' voxels; one slice thick where they lie on one."""
    voxels = geometry.world_to_voxel(np.asarray(corners, dtype=np.float64).reshape(-1, 3))
    low = np.maximum(np.rint(voxels.min(axis=0)), 0).astype(int)
    high = np.minimum(np.rint(voxels.max(axis=0)) + 1, geometry.shape).astype(int)
    (z0, y0, x0), (z1, y1, x1) = low.tolist(), high.tolist()
    return Box(voxel=((z0, y0, x0), (z1, y1, x1)))
