"""What goes over the wire, typed: the OpenAPI description is made from this (and from ``steps``)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from promptseg.app.service.fields import Id, LabelName, LabelValue, Plane, Strict, Whole

__all__ = [
    "ConfigOut",
    "Delta",
    "EntryOut",
    "FrameIn",
    "JobOut",
    "LabelIn",
    "LabelPatch",
    "MaskSeriesIn",
    "MergeIn",
    "ModelOut",
    "OverlapIn",
    "PullIn",
    "RestoreIn",
    "SessionIn",
    "SessionPatch",
    "SessionState",
    "SessionSummary",
    "ShareIn",
    "SliceReviewOut",
    "StudyIn",
    "StudyOut",
    "TextIn",
    "WholeBodyIn",
]

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


class OverlapIn(Strict):
    """What happens where a label's new voxels belong to another one; ``spared`` with "visible": labels not shown."""

    rule: Literal["keep", "overwrite", "visible"]
    spared: Annotated[list[LabelValue], Field(max_length=255)] = Field(default_factory=list)


class WholeBodyIn(Strict):
    """What to segment by itself; without a task everything that the engine knows for the image's modality."""

    task: Id | None = None
    fast: bool = True


class TextIn(Strict):
    """The name of a structure, English or Chinese; it becomes a new label, or the mask of ``label``."""

    text: LabelName
    fast: bool = True
    label: LabelValue | None = None


class MergeIn(Strict):
    """The label that takes the other one's voxels."""

    into: LabelValue


# --- studies and sessions -----------------------------------------------------------------------------------------


class StudyIn(Strict):
    """A study that is on the server (below one of its roots, or the example) or on a DICOMweb server it knows.

    ``dicomweb`` is ``<source>/studies/<UID>`` or ``<source>/studies/<UID>/series/<UID>``.
    """

    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    dicomweb: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    example: bool = False


class SessionIn(Strict):
    """What to open."""

    study: Id
    series: Id | None = None
    frame: Annotated[Whole, Field(ge=0, le=100_000)] | None = None
    model: Id = "builtin"


class SessionPatch(Strict):
    """What to change of a session in the list of work; what is left out stays."""

    title: LabelName | None = None
    state: Literal["new", "work", "done", "rejected"] | None = None
    note: Annotated[str, Field(max_length=4000, pattern=r"^[^\x00]*$")] | None = None


class FrameIn(Strict):
    """How another frame of a 4D image is opened; ``carry``: with this frame's masks."""

    carry: bool = False


class MaskSeriesIn(Strict):
    """Which file of the session's study is a mask."""

    series: Id


class RestoreIn(Strict):
    """How a session comes back that has changed: "stored", its labels as stored; "again", what its prompts give now."""

    how: Literal["stored", "again"]


class FindingOut(BaseModel):
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
    description: str
    labels: bool


class ShareIn(Strict):
    """What a colleague may do with a study."""

    role: Literal["reader", "editor"]


class StudyOut(BaseModel):
    """A study and its series."""

    id: str
    created: float
    title: str
    series: list[SeriesOut]
    findings: list[FindingOut]


class WindowOut(BaseModel):
    """The intensities that are black and white."""

    low: float
    high: float
    source: str


class Size(BaseModel):
    """How large an object is: ml, mm2 of a single slice, voxels or px where the file states no voxel size."""

    value: float
    unit: str


class LabelOut(BaseModel):
    """A label as it stands. ``volume_ml``: null where the file states no voxel size."""

    value: int
    name: str
    colour: str
    visible: bool
    opacity: float
    locked: bool
    pending: bool
    volume_ml: float | None
    size: Size
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
    overlap: Literal["keep", "overwrite", "visible", "allow"]
    prompts: list[PromptItem]
    can_undo: bool
    can_redo: bool


class Delta(Shown):
    """What a step changed: ``voxels`` is base64(zlib(uint8 (z, y, x) in C order)) of the half-open box ``changed``."""

    changed: list[list[int]] | None
    voxels: str | None
    seconds: float


class SessionState(Shown):
    """A session. ``spacing_mm`` and ``origin`` are (x, y, z), LPS mm; ``direction`` is a row-major 3x3 matrix.

    ``measured`` is false for an image that states no pixel size: its lengths are pixels.
    """

    id: str
    study: str
    series: str
    frame: int | None
    frames: int
    title: str
    model: str
    shape: list[int]
    spacing_mm: list[float]
    origin: list[float]
    direction: list[float]
    measured: bool
    colour: bool
    modality: str | None
    window: WindowOut
    findings: list[FindingOut]
    state: Literal["new", "work", "done", "rejected"]
    note: str
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
    frame: int | None
    modality: str | None
    description: str
    labels: list[str]
    state: Literal["new", "work", "done", "rejected"]
    note: str
    created: float
    changed_at: float


# --- the rest -----------------------------------------------------------------------------------------------------


class SliceReviewOut(BaseModel):
    """A slice to look at, and why."""

    plane: Plane
    index: int
    confidence: float
    reason: str
    measured: dict[str, Any] | None


class JobOut(BaseModel):
    """Long work; of a failed one ``code`` is the error's kind and ``detail`` its sentence."""

    id: str
    kind: str
    session: str | None
    state: Literal["waiting", "running", "done", "cancelled", "failed"]
    created: float
    code: str
    detail: str
    done: int | None
    total: int | None
    left_s: float | None


class ModelOut(BaseModel):
    """A model that can be chosen; a pull of ``unchecked`` files (no published hash) needs ``trust_on_first_use``."""

    id: str
    title: str
    licence: str
    commercial_use: bool
    speed_note: str
    downloaded: bool
    size_bytes: int
    prompts: list[str]
    unchecked: list[str]


class ConfigOut(BaseModel):
    """What this server can do, and for whom."""

    version: str
    user: str
    auth: str
    max_upload_bytes: int
    folders: bool
    dicom_sources: list[str]
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
