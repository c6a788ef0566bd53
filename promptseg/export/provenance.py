"""Who made a mask: which model with which weights, from which prompts. Plain facts; no name of a person or file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Protocol, TypedDict

from promptseg.errors import SettingsError

__all__ = [
    "ALGORITHMS",
    "CONTENT_DESCRIPTION",
    "MANUFACTURER",
    "Provenance",
    "equipment",
    "model_hash",
    "provenance_of",
    "software",
]

ALGORITHMS = ("MANUAL", "SEMIAUTOMATIC", "AUTOMATIC")  # Segment Algorithm Type (0062,0008)
MANUFACTURER = "promptseg"
CONTENT_DESCRIPTION = "Research use only: not a medical device"  # (0070,0081), at most 64 characters
PROMPT_CHARACTERS = 8000  # of one label's prompts as JSON; Algorithm Parameters (0066,0032) holds 10240


def software() -> str:
    """Return name and version of this program."""
    return f"promptseg {version('promptseg')}"


class Equipment(TypedDict):
    """The General and Enhanced General Equipment modules (PS3.3 C.7.5), by highdicom's names."""

    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str


def equipment() -> Equipment:
    """Return what every DICOM object says of the program that wrote it; there are no serial numbers."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MANUFACTURER,
        "software_versions": version("promptseg"),
        "device_serial_number": "0",
    }


class Logged(Protocol):
    """What a ``PromptLog`` tells here."""

    @property
    def entries(self) -> tuple[Mapping[str, Any], ...]:
        """The log's entries, oldest first."""
        ...

    @property
    def model_id(self) -> str | None:
        """The model that answered."""
        ...

    @property
    def image_sha256(self) -> str | None:
        """``Volume.content_hash`` of the image."""
        ...


@dataclass(frozen=True)
class Provenance:
    """How the labels of a mask came about.

    Attributes:
        algorithm: "MANUAL", "SEMIAUTOMATIC" (prompts of a person) or "AUTOMATIC" (no prompt).
        model_id: the model's id, "" for none.
        model_hash: "algorithm:hex" of its weights, "" where unknown.
        image_sha256: ``Volume.content_hash`` of the image, "" where unknown.
        log_sha256: hash of the prompt log's entries, "" where there is none.
        prompts: for each label value its prompts and edits, as the log has them.
    """

    algorithm: str = "SEMIAUTOMATIC"
    model_id: str = ""
    model_hash: str = ""
    image_sha256: str = ""
    log_sha256: str = ""
    prompts: Mapping[int, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise SettingsError(f"expected an algorithm among {', '.join(ALGORITHMS)}, got {self.algorithm!r}")

    def parameters(self, value: int) -> dict[str, str]:
        """Return what made one label, as short texts by name; see Algorithm Parameters (0066,0032)."""
        found = {"label_value": str(value)}
        for name in ("model_id", "model_hash", "image_sha256", "log_sha256"):
            if text := getattr(self, name):
                found[name] = text
        items = self.prompts.get(value, ())
        if items:
            kinds = Counter(str(item.get("type", item.get("kind", "edit"))) for item in items)
            found["prompt_kinds"] = " ".join(f"{kind}:{count}" for kind, count in sorted(kinds.items()))
            text = json.dumps(list(items), separators=(",", ":"), default=str)
            found["prompts_sha256"] = hashlib.sha256(text.encode()).hexdigest()
            if len(text) <= PROMPT_CHARACTERS:
                found["prompts"] = text
        return found


def provenance_of(log: Logged) -> Provenance:
    """Return the provenance that a prompt log tells.

    Labels that were only edited by hand count as semi-automatic too: the log's model answered for the whole.
    """
    prompts: dict[int, tuple[Mapping[str, Any], ...]] = {}
    for entry in log.entries:
        if entry["op"] == "prompt":
            items = tuple(entry["prompts"])
        elif entry["op"] == "edit":
            items = (entry["edit"],)
        else:
            continue
        value = int(entry.get("label", 1))
        prompts[value] = (*prompts.get(value, ()), *items)
    digest = hashlib.sha256(json.dumps(list(log.entries), sort_keys=True, default=str).encode()).hexdigest()
    return Provenance(
        "SEMIAUTOMATIC",
        model_id=log.model_id or "",
        model_hash=model_hash(log.model_id) if log.model_id else "",
        image_sha256=log.image_sha256 or "",
        log_sha256=digest,
        prompts=prompts,
    )


def model_hash(model_id: str) -> str:
    """Return "algorithm:hex" of a registered model's weights; "" for an unknown model or one without a known hash."""
    from promptseg.errors import UnknownModelError
    from promptseg.models.weights.registry import model_card

    try:
        card = model_card(model_id)
    except UnknownModelError:
        return ""
    hashes = [digest for file in card.files for digest in file.hashes]
    if hashes:
        return next((digest for digest in hashes if digest.startswith("sha256:")), hashes[0])
    return _builtin_hash() if card.family == "builtin" else ""


def _builtin_hash() -> str:
    """Return the hash over the network files that the package ships, in order of name."""
    digest = hashlib.sha256()
    found = sorted(
        (item for item in files("promptseg.models.builtin").iterdir() if item.name.endswith(".onnx")),
        key=lambda item: item.name,
    )
    for item in found:
        digest.update(item.read_bytes())
    return f"sha256:{digest.hexdigest()}" if found else ""
