"""What goes over the wire, typed: the OpenAPI description is made from this."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "AcceptIn",
    "Carried",
    "ConfigOut",
    "Delta",
    "EditIn",
    "EntryOut",
    "Error",
    "JobOut",
    "LabelIn",
    "LabelPatch",
    "MergeIn",
    "ModelOut",
    "PromptsIn",
    "PropagateIn",
    "PullIn",
    "ReplaceIn",
    "SessionIn",
    "SessionState",
    "SessionSummary",
    "StudyIn",
    "StudyOut",
]


def _whole(value: Any) -> Any:
    """Return 77.0 as 77: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole: TypeAlias = Annotated[int, BeforeValidator(_whole)]
Plane: TypeAlias = Literal["axial", "coronal", "sagittal"]
Number: TypeAlias = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Triple: TypeAlias = Annotated[list[Number], Field(min_length=3, max_length=3)]
Pair: TypeAlias = Annotated[list[Number], Field(min_length=2, max_length=2)]
Corners: TypeAlias = Annotated[list[Triple], Field(min_length=2, max_length=2)]
LabelName: TypeAlias = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
LabelValue: TypeAlias = Annotated[Whole, Field(ge=1, le=255)]
Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.#-]+$")]
MOST_VOXELS = 200_000  # of one scribble, stroke or polygon
MOST_RUNS = 4_000_000  # of one mask


class Strict(BaseModel):
    """Base of all requests: an unknown field is a mistake, not a wish to ignore."""

    model_config = ConfigDict(extra="forbid", strict=True)


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
    polygon: Annotated[list[Pair], Field(min_length=3, max_length=MOST_VOXELS)]
    positive: bool = True


class MaskIn(Strict):
    """A whole mask as run lengths in C order, the first run False."""

    type: Literal["mask"]
    shape: Annotated[list[Annotated[Whole, Field(ge=1, le=100_000)]], Field(min_length=3, max_length=3)]
    runs: Annotated[list[Annotated[Whole, Field(ge=0, le=2**40)]], Field(max_length=MOST_RUNS)]
    plane: Plane = "axial"


PromptIn: TypeAlias = Annotated[
    PointIn | BoxIn | ScribbleIn | LassoIn | MaskIn, Field(discriminator="type", title="Prompt")
]


class PromptsIn(Strict):
    """Prompts for one label, applied as one step."""

    label: LabelValue | None = None
    prompts: Annotated[list[PromptIn], Field(min_length=1, max_length=1000)]
    propagate: bool = False


class ReplaceIn(Strict):
    """The prompt that takes the place of another."""

    prompt: PromptIn


class PropagateIn(Strict):
    """Which label to propagate; the selected one by default."""

    label: LabelValue | None = None


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


AnyEdit: TypeAlias = Annotated[
    PaintIn | FillHolesIn | RemoveIslandsIn | GrowIn | SmoothIn | ThresholdIn | InterpolateIn,
    Field(discriminator="kind", title="Edit"),
]


class EditIn(Strict):
    """An edit by hand of one label."""

    label: LabelValue | None = None
    edit: AnyEdit


# --- labels -------------------------------------------------------------------------------------------------------


class LabelIn(Strict):
    """A new label."""

    name: LabelName | None = None


class LabelPatch(Strict):
    """What to change of a label; what is left out stays."""

    name: LabelName | None = None
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None
    locked: bool | None = None
    visible: bool | None = None
    opacity: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    selected: Literal[True] | None = None


class MergeIn(Strict):
    """The label that takes the other one's voxels."""

    into: LabelValue


# --- studies and sessions -----------------------------------------------------------------------------------------


class StudyIn(Strict):
    """A study that is on the server: below one of its roots, or the example."""

    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    example: bool = False


class SessionIn(Strict):
    """What to open."""

    study: Id
    series: Id | None = None
    frame: Annotated[Whole, Field(ge=0, le=100_000)] | None = None
    model: Id = "builtin"


class Finding(BaseModel):
    """A sentence that a person should see."""

    code: str
    severity: Literal["info", "warning", "error"]
    sentence: str
    done: str = ""


class SeriesOut(BaseModel):
    """One image of a study; ``shape`` (z, y, x) and ``spacing_mm`` (x, y, z) are null where ``error`` says why."""

    id: str
    title: str
    modality: str | None
    shape: list[int] | None
    spacing_mm: list[float] | None
    frames: int
    colour: bool
    error: str


class StudyOut(BaseModel):
    """A study and its series."""

    id: str
    created: float
    title: str
    series: list[SeriesOut]
    findings: list[Finding]


class WindowOut(BaseModel):
    """The intensities that are black and white."""

    low: float
    high: float
    source: str


class LabelOut(BaseModel):
    """A label as it stands."""

    value: int
    name: str
    colour: str
    visible: bool
    opacity: float
    locked: bool
    volume_ml: float
    voxels: int


class PromptItem(BaseModel):
    """A prompt in force."""

    id: int
    label: int
    prompt: dict[str, Any]


class Shown(BaseModel):
    """What is shown beside the voxels."""

    revision: int
    labels: list[LabelOut]
    selected: int
    prompts: list[PromptItem]
    can_undo: bool
    can_redo: bool


class Delta(Shown):
    """What a step changed: ``voxels`` is base64(zlib(uint8 (z, y, x) in C order)) of the half-open box ``changed``."""

    changed: list[list[int]] | None
    voxels: str | None
    seconds: float


class SessionState(Shown):
    """A session."""

    id: str
    study: str
    series: str
    frame: int | None
    frames: int
    title: str
    model: str
    shape: list[int]
    spacing_mm: list[float]
    colour: bool
    modality: str | None
    window: WindowOut
    findings: list[Finding]
    job: str | None
    created: float
    changed_at: float


class SessionSummary(BaseModel):
    """A session in a list; opening it brings it back."""

    id: str
    study: str
    series: str
    title: str
    model: str
    created: float
    changed_at: float


# --- the rest -----------------------------------------------------------------------------------------------------


class Error(BaseModel):
    """What went wrong, in one sentence."""

    detail: str


class Carried(BaseModel):
    """A slice to look at, and why."""

    plane: Plane
    index: int
    confidence: float
    reason: str


class JobOut(BaseModel):
    """Long work."""

    id: str
    kind: str
    session: str | None
    state: Literal["waiting", "running", "done", "cancelled", "failed"]
    created: float
    detail: str
    done: int | None
    total: int | None
    left_s: float | None


class ModelOut(BaseModel):
    """A model that can be chosen."""

    id: str
    title: str
    licence: str
    commercial_use: bool
    speed_note: str
    downloaded: bool
    size_bytes: int
    prompts: list[str]


class ConfigOut(BaseModel):
    """What this server can do, and for whom."""

    version: str
    user: str
    auth: str
    max_upload_bytes: int
    folders: bool
    extras: dict[str, bool]
    install: dict[str, str]
    formats: list[str]


class EntryOut(BaseModel):
    """A file or folder below the server's roots; ``path`` is what POST /studies takes."""

    name: str
    path: str
    kind: Literal["folder", "file"]


class PullIn(Strict):
    """What a download needs a person's word for."""

    accept_licence: bool = False
    trust_on_first_use: bool = False
