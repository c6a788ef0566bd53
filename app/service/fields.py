"""The kinds of values that requests are made of, each with its bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Corners", "Id", "LabelName", "LabelValue", "Number", "Pair", "Plane", "Strict", "Triple", "Whole"]


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


class Strict(BaseModel):
    """Base of all requests: an unknown field is a mistake, not a wish to ignore."""

    model_config = ConfigDict(extra="forbid", strict=True)
