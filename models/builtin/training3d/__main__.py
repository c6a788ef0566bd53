"""``python -m promptseg.models.builtin.training3d``: train and export the built-in 3D network."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from promptseg.models.builtin import BUILTIN_3D_ONNX
from promptseg.models.builtin.training3d.recipe import RECIPES

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run one verb."""
    parser = argparse.ArgumentParser(prog="python -m promptseg.models.builtin.training3d", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("train", help="run a recipe, or go on with what lies in --out, and write the ONNX file")
    verb.add_argument("--recipe", default="first", help=f"{', '.join(RECIPES)}, or a file")
    verb.add_argument(
        "--label-maps", type=Path, help=".npz of uint8 label maps a0, a1, ...; random shapes alone without"
    )
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    verb = verbs.add_parser("export", help="write a checkpoint's averaged weights as an ONNX file")
    verb.add_argument("--checkpoint", type=Path, required=True)
    verb.add_argument("--out", type=Path, default=BUILTIN_3D_ONNX)
    given = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    from promptseg.models.builtin.training3d.export import export, load_average

    if given.pop("verb") == "train":
        checkpoint = _train(**given)
        export(load_average(checkpoint), given["out"] / BUILTIN_3D_ONNX.name)
    else:
        export(load_average(given["checkpoint"]), given["out"])


def _train(recipe: str, label_maps: Path | None, out: Path, device: str) -> Path:
    from promptseg.models.builtin.training3d.anatomy import read_label_maps
    from promptseg.models.builtin.training3d.recipe import read_recipe
    from promptseg.models.builtin.training3d.train import train

    maps = None if label_maps is None else read_label_maps(label_maps, device)
    return train(read_recipe(RECIPES.get(recipe, Path(recipe))), out, device, maps)


if __name__ == "__main__":
    main()
