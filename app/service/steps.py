"""The steps of a session as requests: prompts and edits in the JSON of the prompt log, typed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field

from promptseg.app.service.fields import Corners, LabelName, LabelValue, Number, Pair, Plane, Strict, Triple, Whole

__all__ = [
    "AcceptIn",
    "AnyEdit",
    "BoxIn",
    "EditIn",
    "FillHolesIn",
    "FoundIn",
    "GrowIn",
    "ImportedIn",
    "InterpolateIn",
    "IslandIn",
    "KeepSlicesIn",
    "LabelsIn",
    "LassoIn",
    "MaskIn",
    "PaintIn",
    "PointIn",
    "PromptIn",
    "PromptsIn",
    "PropagateIn",
    "RemoveIslandsIn",
    "ReplaceIn",
    "RunsIn",
    "ScribbleIn",
    "SmoothIn",
    "ThresholdIn",
]

MOST_VOXELS = 200_000  # of one scribble or stroke
MOST_CORNERS = 20_000  # of one polygon
MOST_RUNS = 4_000_000  # of one mask


# --- prompts: the JSON of the prompt log --------------------------------------------------------------------------


ONE_FRAME: dict[str, Any] = {"oneOf": [{"required": ["voxel"]}, {"required": ["world"]}]}


def _no_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class PointIn(Strict):
    """A click; exactly one of ``voxel`` (z, y, x) and ``world`` (x, y, z) LPS mm."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=ONE_FRAME)
    type: Literal["point"]
    voxel: Triple = Field(default=None, json_schema_extra=_no_default)  # type: ignore[arg-type]  # absent, never null
    world: Triple = Field(default=None, json_schema_extra=_no_default)  # type: ignore[arg-type]
    positive: bool = True
    plane: Plane = "axial"


class BoxIn(Strict):
    """Half-open box [[z0, y0, x0], [z1, y1, x1]] in voxels, or two opposite corner points in LPS mm."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=ONE_FRAME)
    type: Literal["box"]
    voxel: Corners = Field(default=None, json_schema_extra=_no_default)  # type: ignore[arg-type]  # absent, never null
    world: Corners = Field(default=None, json_schema_extra=_no_default)  # type: ignore[arg-type]


class ScribbleIn(Strict):
    """Painted voxels [[z, y, x], ...]."""

    type: Literal["scribble"]
    voxels: Annotated[list[Triple], Field(min_length=1, max_length=MOST_VOXELS)]
    positive: bool = True
    plane: Plane | None = None


class LassoIn(Strict):
    """A closed outline on one slice, corners in the slice's (row, column)."""

    type: Literal["lasso"]
    plane: Plane
    index: Annotated[Whole, Field(ge=0, le=100_000)]
    polygon: Annotated[list[Pair], Field(min_length=3, max_length=MOST_CORNERS)]
    positive: bool = True


Shape: TypeAlias = Annotated[list[Annotated[Whole, Field(ge=1, le=100_000)]], Field(min_length=3, max_length=3)]
Runs: TypeAlias = Annotated[list[Annotated[Whole, Field(ge=0, le=2**40)]], Field(max_length=MOST_RUNS)]


class RunsIn(Strict):
    """A whole mask as run lengths in C order, the first run False."""

    shape: Shape
    runs: Runs


class MaskIn(RunsIn):
    """A whole mask: the label's as it is."""

    type: Literal["mask"]
    plane: Plane = "axial"


class FoundIn(Strict):
    """What a text engine found for words, as run lengths; words alone are POST /sessions/{id}/text."""

    type: Literal["text"]
    text: LabelName
    mask: RunsIn


PromptIn: TypeAlias = Annotated[
    PointIn | BoxIn | ScribbleIn | LassoIn | MaskIn | FoundIn, Field(discriminator="type", title="Prompt")
]


class PromptsIn(Strict):
    """Prompts for one label, applied as one step."""

    label: LabelValue | None = None
    prompts: Annotated[list[PromptIn], Field(min_length=1, max_length=1000)]
    propagate: bool = False
    predict: bool = True


class ImportedIn(Strict):
    """A label that is imported."""

    value: LabelValue
    name: LabelName
    color: Annotated[list[Annotated[Whole, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]


class LabelsIn(Strict):
    """A labelmap as one step: labels, and their values as run lengths in C order; ``only`` names those to take."""

    labels: Annotated[list[ImportedIn], Field(max_length=255)]
    shape: Shape
    runs: Runs
    values: Annotated[list[Annotated[Whole, Field(ge=0, le=255)]], Field(max_length=MOST_RUNS)]
    only: Annotated[list[LabelName], Field(max_length=255)] = Field(default_factory=list)


class ReplaceIn(Strict):
    """The prompt that takes the place of another."""

    prompt: PromptIn


class PropagateIn(Strict):
    """Which label to propagate (the selected one by default); ``afresh``: from its prompts alone (3D networks)."""

    label: LabelValue | None = None
    afresh: bool = False


class AcceptIn(Strict):
    """A slice that is right as it is."""

    label: LabelValue | None = None
    plane: Plane = "axial"
    index: Annotated[Whole, Field(ge=0, le=100_000)]


# --- edits: the JSON of the prompt log ----------------------------------------------------------------------------


class PaintIn(Strict):
    """Paint or erase along a stroke."""

    kind: Literal["paint"]
    centres: Annotated[list[Triple], Field(min_length=1, max_length=MOST_VOXELS)]
    radius_mm: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.0
    erase: bool = False
    plane: Plane | None = None
    low: Number | None = None
    high: Number | None = None
    within: LabelValue | None = None


class FillHolesIn(Strict):
    """Fill holes, in 3D or slice by slice."""

    kind: Literal["fill holes"]
    plane: Plane | None = None


class RemoveIslandsIn(Strict):
    """Keep the largest part, or all parts of at least this size."""

    kind: Literal["remove islands"]
    below_mm3: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] | None = None


class GrowIn(Strict):
    """Grow, or shrink where negative."""

    kind: Literal["grow"]
    by_mm: Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]


class SmoothIn(Strict):
    """Smooth the outline."""

    kind: Literal["smooth"]
    sigma_mm: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class ThresholdIn(Strict):
    """Keep voxels with an intensity in this range."""

    kind: Literal["threshold"]
    low: Number | None = None
    high: Number | None = None


class InterpolateIn(Strict):
    """Fill the slices between segmented ones."""

    kind: Literal["interpolate"]
    plane: Plane = "axial"


class IslandIn(Strict):
    """Take the part that a voxel lies in away, or keep it alone."""

    kind: Literal["island"]
    at: Triple
    keep: bool = False


class KeepSlicesIn(Strict):
    """Keep the slices from ``first`` to ``last`` and clear all others of their plane."""

    kind: Literal["keep slices"]
    first: Annotated[Whole, Field(ge=0, le=100_000)]
    last: Annotated[Whole, Field(ge=0, le=100_000)]
    plane: Plane = "axial"


AnyEdit: TypeAlias = Annotated[
    PaintIn | FillHolesIn | RemoveIslandsIn | GrowIn | SmoothIn | ThresholdIn | InterpolateIn | IslandIn | KeepSlicesIn,
    Field(discriminator="kind", title="Edit"),
]


class EditIn(Strict):
    """An edit by hand of one label."""

    label: LabelValue | None = None
    edit: AnyEdit
