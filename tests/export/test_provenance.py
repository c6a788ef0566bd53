"""What a prompt log tells about who made a mask."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

import pytest

from promptseg.errors import SettingsError
from promptseg.export import Provenance, provenance_of
from promptseg.export.provenance import PROMPT_CHARACTERS, model_hash
from promptseg.session.prompt_log import PromptLog

POINT = {"type": "point", "voxel": [1, 2, 3], "positive": True}
BOX = {"type": "box", "voxel": [[1, 2, 3], [2, 9, 9]]}


def test_prompts_go_to_their_labels() -> None:
    entries = (
        {"op": "label", "value": 1, "name": "liver"},
        {"op": "prompt", "label": 1, "prompts": [POINT, BOX]},
        {"op": "prompt", "label": 2, "prompts": [POINT]},
        {"op": "edit", "label": 1, "edit": {"kind": "smooth"}},
        {"op": "lock", "label": 2},
    )
    made = provenance_of(PromptLog(entries, model_id="builtin", image_sha256="ab"))
    first, second, third = (made.parameters(value) for value in (1, 2, 3))
    assert first["prompt_kinds"] == "box:1 point:1 smooth:1"
    assert json.loads(second["prompts"]) == [POINT]
    assert "prompts" not in third
    assert third["model_id"] == "builtin"
    assert made.algorithm == "SEMIAUTOMATIC"
    assert first["log_sha256"] == second["log_sha256"] != provenance_of(PromptLog(entries[:2])).log_sha256


def test_long_prompts_are_hashed() -> None:
    many = tuple(dict(POINT, voxel=[i, i, i]) for i in range(2000))
    found = Provenance(prompts={1: many}).parameters(1)
    assert "prompts" not in found
    assert found["prompts_sha256"] == hashlib.sha256(json.dumps(many, separators=(",", ":")).encode()).hexdigest()
    assert len(json.dumps(many)) > PROMPT_CHARACTERS


def test_model_hashes() -> None:
    networks = [item for item in files("promptseg.models.builtin").iterdir() if item.name.endswith(".onnx")]
    digest = hashlib.sha256()
    for item in sorted(networks, key=lambda item: item.name):
        digest.update(item.read_bytes())
    assert model_hash("builtin") == (f"sha256:{digest.hexdigest()}" if networks else "")
    assert model_hash("no such model") == ""
    assert model_hash("classical") == ""
    with pytest.raises(SettingsError, match="MANUAL"):
        Provenance("BY HAND")
