"""A MONAI dictionary transform that segments images from prompts: MetaTensors in, MetaTensors out.

LoadImaged("image"), EnsureChannelFirstd("image"), PromptSegd("image"), SaveImaged("image_seg")
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

import promptseg

__all__ = ["PromptSegd"]


class PromptSegd(MapTransform):
    """Segment images from the prompts that stand beside them.

    Args:
        keys: of the images: MetaTensors of one channel, with their affine.
        prompts: key of the prompts: promptseg's, or dictionaries as in a prompt log. Voxels are promptseg's (z, y, x),
            the reverse of MONAI's; ``world`` is LPS mm (x, y, z), where MONAI's affine leads to RAS.
        suffix: behind an image's key: where its mask goes, (1, x, y, z) uint8.
        model: id of a model, or an object of your own.
        device: "auto", "cpu", "cuda" or "cuda:N".
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prompts: str = "prompts",
        *,
        suffix: str = "_seg",
        model: Any = "builtin",
        device: str = "auto",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.prompts, self.suffix, self.model, self.device = prompts, suffix, model, device

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with a mask beside each image."""
        made = dict(data)
        given = [_prompt(one) for one in made[self.prompts]]
        for key in self.key_iterator(made):
            found = promptseg.segment(made[key], given, self.model, self.device)
            made[f"{key}{self.suffix}"] = found.to_torch()
        return made


def _prompt(given: Any) -> Any:
    from promptseg.prompts import prompt_from_dict

    return prompt_from_dict(given) if isinstance(given, Mapping) else given
