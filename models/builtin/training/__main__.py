"""``python -m promptseg.models.builtin.training``: train, export and evaluate the built-in network."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from promptseg.models.builtin import BUILTIN_ONNX

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run one verb."""
    parser = argparse.ArgumentParser(prog="python -m promptseg.models.builtin.training", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("train", help="make the shipped file from nothing, or go on with what lies in --out")
    verb.add_argument(
        "--recipe",
        type=Path,
        default=None,
        help="train this member alone; all members of the shipped file, and the file, when not given",
    )
    verb.add_argument("--images", type=Path, default=None, help="folder of real images, instead of the recipe's")
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    verb = verbs.add_parser("export", help="write both members as one ONNX file")
    verb.add_argument(
        "--wide", type=Path, default=None, help="checkpoint of that member; the shipped one's when left out"
    )
    verb.add_argument("--thin", type=Path, default=None, help="likewise")
    verb.add_argument("--out", type=Path, default=BUILTIN_ONNX)
    verb = verbs.add_parser("evaluate", help="measure an ONNX file on synthetic scenes kept out of training")
    verb.add_argument("--path", type=Path, default=BUILTIN_ONNX)
    verb.add_argument("--per-family", type=int, default=6)
    verb = verbs.add_parser("attribution", help="write whose images a folder of real images holds")
    verb.add_argument("--images", type=Path, required=True)
    verb.add_argument("--out", type=Path, default=BUILTIN_ONNX.with_name("ATTRIBUTION.csv"))
    given = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = given.pop("verb")
    if chosen == "train":
        _train(given["recipe"], given["images"], given["out"], given["device"])
    elif chosen == "export":
        from promptseg.models.builtin.training.export import export
        from promptseg.models.builtin.training.network import MEMBERS

        members = {name: given[name] for name in MEMBERS if given[name] is not None}
        export(members, BUILTIN_ONNX, given["out"])
    elif chosen == "attribution":
        from promptseg.models.builtin.training.attribution import write_attribution

        write_attribution(given["images"], given["out"])
    else:
        from promptseg.models.builtin.training.evaluate import evaluate, table

        logging.getLogger(__name__).info("%s", "\n" + table(evaluate(**given)))


def _train(one: Path | None, images: Path | None, out: Path, device: str) -> None:
    """Train one member in ``out``, or every member of the shipped file in a folder of its own and then the file."""
    from promptseg.models.builtin.training.export import export
    from promptseg.models.builtin.training.network import MEMBERS
    from promptseg.models.builtin.training.recipe import RECIPES, Recipe, read_recipe
    from promptseg.models.builtin.training.train import train

    def recipe(path: Path) -> Recipe:
        found = read_recipe(path)
        return found if images is None else replace(found, images=str(images))

    if one is not None:
        train(recipe(one), out, device)
        return
    trained = {member: train(recipe(RECIPES[member]), out / member, device) for member in MEMBERS}
    export(trained, BUILTIN_ONNX, out / BUILTIN_ONNX.name)


if __name__ == "__main__":
    main()
