"""The prompt log on disk: what was asked, of which model, on which image. One JSON format for every face.

    {"format": "promptseg prompt log", "version": 1, "software": "promptseg 0.1.0",
     "model": "builtin", "weights": "<sha256>", "image": "<sha256 of voxels and frame>",
     "window": {"low": -160.0, "high": 240.0, "source": "preset:soft-tissue"},
     "engine": {"range_mm": 1000.0, ...},
     "entries": [{"op": "label", "value": 1, "name": "liver", "time": ...},
                 {"op": "prompt", "label": 1, "propagate": true, "prompts": [{"type": "point", ...}],
                  "changed": [[z0, y0, x0], [z1, y1, x1]], "digest": "<sha256 of the changed box>", "time": ...}]}

A plain JSON list of prompts is read too. No name of a person or file is ever written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from promptseg.engine.options import EngineOptions
from promptseg.errors import PromptsegError, ReplayError
from promptseg.prompts import Prompt, prompt_from_dict
from promptseg.session.replaying import check_entry
from promptseg.volume import Window

__all__ = ["PromptLog", "entry_prompts", "logged_prompts", "read_log", "write_log"]

FORMAT = "promptseg prompt log"
VERSION = 1
RESULT = ("changed", "digest", "time")  # what an entry says of how it was answered


@dataclass(frozen=True)
class PromptLog:
    """A log's content.

    Attributes:
        entries: see the module's docstring.
        model_id: the model that answered, or None in a plain list.
        image_sha256: ``Volume.content_hash`` of the image, or None.
        window: the intensity window used, or None.
        options: the engine's numbers, or None.
        weights: ``promptseg.models.loading.weights_hash`` of the model, or "" where that is not known.
    """

    entries: tuple[Mapping[str, Any], ...]
    model_id: str | None = None
    image_sha256: str | None = None
    window: Window | None = None
    options: EngineOptions | None = None
    weights: str = ""

    @property
    def is_list(self) -> bool:
        """True for a plain list of prompts: nothing is known of how they were answered."""
        return self.model_id is None and self.image_sha256 is None and all(e["op"] == "prompt" for e in self.entries)

    def header(self) -> dict[str, Any]:
        """Return what stands beside the entries in a log's or a journal's file, as plain JSON types."""
        return {
            "model": self.model_id,
            "weights": self.weights,
            "image": self.image_sha256,
            "window": None if self.window is None else vars(self.window),
            "engine": None if self.options is None else self.options.to_dict(),
        }

    @staticmethod
    def of(header: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> PromptLog:
        """Return the log of what ``header`` gave.

        Raises:
            KeyError, TypeError, AttributeError, PromptsegError: a missing or impossible value.
        """
        window, engine = header.get("window"), header.get("engine")
        return PromptLog(
            tuple(entries),
            model_id=header.get("model"),
            image_sha256=header.get("image"),
            window=None if window is None else Window(**window),
            options=None if engine is None else EngineOptions.from_log(engine),
            weights=str(header.get("weights") or ""),
        )

    def prompts_alone(self) -> PromptLog:
        """Return the log without its model and what that made of the prompts: another model may answer them."""
        bare = tuple({key: entry[key] for key in entry if key not in RESULT} for entry in self.entries)
        return replace(self, entries=bare, model_id=None, weights="")


def write_log(log: PromptLog, path: Path) -> Path:
    """Write the log whole or not at all; return the path.

    Raises:
        WriteError: the file cannot be written.
    """
    from promptseg.io.atomic import all_or_nothing

    data = {
        "format": FORMAT,
        "version": VERSION,
        "software": f"promptseg {version('promptseg')}",
        **log.header(),
        "entries": list(log.entries),
    }
    with all_or_nothing(path) as folder:
        (folder / path.name).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return path


def read_log(path: Path) -> PromptLog:
    """Read a prompt log or a plain list of prompts.

    Raises:
        ReplayError: not JSON, another format or a newer version, an unknown entry.
        PromptError: a malformed prompt.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ReplayError(f"expected a prompt log at {path}, but it cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ReplayError(f"expected a prompt log in JSON at {path}; it is not JSON: {exc}") from exc
    if isinstance(data, list):
        return PromptLog(({"op": "prompt", "label": 1, "propagate": True, "prompts": _checked(data)},))
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ReplayError(f"expected a {FORMAT!r} or a JSON list of prompts at {path}, got something else")
    if data.get("version") != VERSION:
        raise ReplayError(f"expected prompt log version {VERSION}, got {data.get('version')!r}; update promptseg")
    try:
        return _from_dict(data)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ReplayError(f"the prompt log at {path} lacks a field or holds a wrong value: {exc}") from exc


def _from_dict(data: Mapping[str, Any]) -> PromptLog:
    entries = tuple(data["entries"])
    for entry in entries:
        check_entry(entry)
        if entry["op"] == "prompt":
            _checked(entry["prompts"])
    return PromptLog.of(data, entries)


def _checked(prompts: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the list after reading every prompt once, so that a bad one is reported before any work."""
    if not prompts:
        raise ReplayError("expected at least one prompt, got an empty list")
    for number, item in enumerate(prompts, start=1):
        try:
            prompt_from_dict(item)
        except PromptsegError as exc:
            raise type(exc)(f"prompt {number} of {len(prompts)}: {exc}") from exc
    return prompts


def logged_prompts(entries: Iterable[Mapping[str, Any]]) -> list[Prompt]:
    """Return all prompts of a log, in order."""
    return [prompt for entry in entries if entry["op"] == "prompt" for prompt in entry_prompts(entry)]


def entry_prompts(entry: Mapping[str, Any]) -> list[Prompt]:
    """Return the prompts of a "prompt" entry."""
    return [prompt_from_dict(item) for item in entry["prompts"]]
