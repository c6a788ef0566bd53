"""A case list for ``promptseg bench`` from a folder of labelled 2D sets, so that means can be given per set.

    python benchmarks/labelled_sets.py FOLDER -o cases.toml [--per-set 4]
    promptseg bench --cases cases.toml --root FOLDER --model builtin --model grabcut --model classical

FOLDER has the form that training takes (``promptseg.models.builtin.training.real``): ``SET/NAME_image.png`` beside
``SET/NAME_mask.png`` and ``LICENCES.csv``. Of every set, images spread evenly over it; in each one object, drawn by the
image's name: a label's largest connected piece, a thin tree (vessels) whole.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from promptseg.bench.cases import THIN_VESSEL
from promptseg.bench.scribble import seed_of
from promptseg.bench.simulate import largest_component
from promptseg.models.builtin.training.real import is_tree, read_licences

SMALLEST_PX = 40  # objects of fewer pixels are left out


def cases_of(folder: Path, per_set: int) -> Iterator[dict[str, Any]]:
    """The tables of a case list, set by set."""
    modalities = {row["set"]: row["modality"] for row in read_licences(folder)}
    for set_name, modality in modalities.items():
        images = sorted((folder / set_name).glob("*_image.png"))
        taken = dict.fromkeys(images[(number * len(images)) // per_set] for number in range(per_set))
        for image in taken:
            case = _case(image, set_name, modality)
            if case is not None:
                yield case


def _case(image: Path, set_name: str, modality: str) -> dict[str, Any] | None:
    """One object of one image; None without one of a fitting size."""
    label = image.with_name(image.name.replace("_image", "_mask"))
    labels = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    labels = labels if labels.ndim == 2 else labels[..., 0]
    name = f"{set_name}/{image.name.removesuffix('_image.png')}"
    pieces = {int(v): largest_component(labels == v) for v in np.unique(labels) if v > 0}
    fitting = [value for value, piece in pieces.items() if piece.sum() >= SMALLEST_PX]
    if not fitting:
        return None
    value = fitting[seed_of(name) % len(fitting)]
    tree = is_tree(labels == value)
    return {
        "name": name,
        "image": f"{set_name}/{image.name}",
        "label": f"{set_name}/{label.name}",
        "value": value,
        "modality": modality,
        "set": set_name,
        "kind": THIN_VESSEL if tree and "vessel" in set_name else "object",
        "largest": not tree,
    }


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--per-set", type=int, default=4)
    given = parser.parse_args()
    tables = list(cases_of(given.folder, given.per_set))
    texts = ["[[image]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in t.items()) for t in tables]
    given.output.write_text("\n".join(texts), encoding="utf-8")
    print(f"wrote {given.output}: {len(tables)} cases of {len({table['set'] for table in tables})} sets")


if __name__ == "__main__":
    main()
