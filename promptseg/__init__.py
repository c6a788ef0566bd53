"""promptseg: clicks, boxes and scribbles into 3D masks, slice by slice.

    import promptseg

    session = promptseg.open_session("scan.nii.gz")
    session.add(promptseg.Point(voxel=(40, 120, 200)))
    session.save("mask.nii.gz")

Research use only: not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptseg import errors as errors
    from promptseg import export as export
    from promptseg import measure as measure
    from promptseg import report as report
    from promptseg.api import open_session as open_session
    from promptseg.api import replay as replay
    from promptseg.api import resume as resume
    from promptseg.api import segment as segment
    from promptseg.engine import edits as edits
    from promptseg.engine.options import EngineOptions as EngineOptions
    from promptseg.engine.progress import Progress as Progress
    from promptseg.errors import Cancelled as Cancelled
    from promptseg.errors import PromptsegError as PromptsegError
    from promptseg.io import read_labelmap as read_labelmap
    from promptseg.io import read_volume as read_volume
    from promptseg.io import write_labelmap as write_labelmap
    from promptseg.io import write_volume as write_volume
    from promptseg.prompts import Box as Box
    from promptseg.prompts import Lasso as Lasso
    from promptseg.prompts import MaskPrompt as MaskPrompt
    from promptseg.prompts import Plane as Plane
    from promptseg.prompts import Point as Point
    from promptseg.prompts import Scribble as Scribble
    from promptseg.prompts import TextPrompt as TextPrompt
    from promptseg.remote.client import Client as Client
    from promptseg.score.evaluate import evaluate as evaluate
    from promptseg.session.session import Session as Session
    from promptseg.session.verbs import SessionVerbs as SessionVerbs
    from promptseg.volume import Geometry as Geometry
    from promptseg.volume import Label as Label
    from promptseg.volume import Labelmap as Labelmap
    from promptseg.volume import Volume as Volume
    from promptseg.volume import Window as Window
    from promptseg.wholebody.engine import WholeBody as WholeBody
    from promptseg.wholebody.engine import segment_whole_body as segment_whole_body

# Public name -> the module it lives in. Imported at first use, so that `import promptseg` costs next to nothing.
_HOME = {
    "Box": "promptseg.prompts",
    "Cancelled": "promptseg.errors",
    "Client": "promptseg.remote.client",
    "EngineOptions": "promptseg.engine.options",
    "Geometry": "promptseg.volume",
    "Label": "promptseg.volume",
    "Labelmap": "promptseg.volume",
    "Lasso": "promptseg.prompts",
    "MaskPrompt": "promptseg.prompts",
    "Plane": "promptseg.prompts",
    "Point": "promptseg.prompts",
    "Progress": "promptseg.engine.progress",
    "PromptsegError": "promptseg.errors",
    "Scribble": "promptseg.prompts",
    "Session": "promptseg.session.session",
    "SessionVerbs": "promptseg.session.verbs",
    "TextPrompt": "promptseg.prompts",
    "Volume": "promptseg.volume",
    "WholeBody": "promptseg.wholebody.engine",
    "Window": "promptseg.volume",
    "edits": "promptseg.engine.edits",
    "errors": "promptseg.errors",
    "evaluate": "promptseg.score.evaluate",
    "export": "promptseg.export",
    "measure": "promptseg.measure",
    "open_session": "promptseg.api",
    "read_labelmap": "promptseg.io",
    "read_volume": "promptseg.io",
    "replay": "promptseg.api",
    "report": "promptseg.report",
    "resume": "promptseg.api",
    "segment": "promptseg.api",
    "segment_whole_body": "promptseg.wholebody.engine",
    "write_labelmap": "promptseg.io",
    "write_volume": "promptseg.io",
}

_MODULES = ("edits", "errors", "export", "measure", "report")

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("promptseg")
    if name not in _HOME:
        raise AttributeError(f"module 'promptseg' has no attribute {name!r}")
    module = import_module(_HOME[name])
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
