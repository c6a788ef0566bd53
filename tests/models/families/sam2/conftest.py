"""A tiny SAM 2, whose weights are drawn."""

from collections.abc import Iterator

import pytest

from promptseg.models.runtime import Device
from promptseg.models.weights.registry import ModelCard

EDGE = 128  # of what the network sees, in pixels


def draw_weights(model, spread: float) -> None:
    """Draw all weights but norms' so that a layer's output is about ``spread`` times as wide as its input."""
    for name, value in model.named_parameters():
        if "norm" not in name:
            value.normal_(std=0.3 if value.ndim == 1 else spread / value[0].numel() ** 0.5)
    model.no_memory_embedding.normal_()
    # one table in the original, two copies here
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(model.shared_image_embedding.positional_embedding)


@pytest.fixture(scope="module")
def tiny(request) -> Iterator[str]:
    """Make an architecture of a few channels known to the family; skips without transformers."""
    request.getfixturevalue("segment_anything")  # repairs torchvision, which transformers looks at
    pytest.importorskip("transformers", reason="transformers is not installed")
    from promptseg.models.families.sam2 import shapes

    kept = dict(shapes.HIERA)
    shapes.HIERA["tiny"] = shapes.HieraShape(16, 1, (1, 2, 3, 2), (4,))
    yield "tiny"
    shapes.HIERA.clear()
    shapes.HIERA.update(kept)


@pytest.fixture
def card() -> ModelCard:
    row = ("tiny2", "sam2", "t", 2, ("point",), "Apache-2.0", True, "x")
    return ModelCard(*row, arch="tiny", input_px=EDGE, preprocess="sam2")


@pytest.fixture
def predictor(card, checkpoint):
    from promptseg.models.families.sam2.predictor import load_sam2

    return load_sam2(card, checkpoint, Device("cpu"), "fp32")
