"""``python -m promptseg.models.builtin.training``: train, export and evaluate the built-in network."""

from __future__ import annotations

import argparse
import logging
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
    given = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = given.pop("verb")
    if chosen == "train":
        _train(given["recipe"], given["out"], given["device"])
    elif chosen == "export":
        from promptseg.models.builtin.training.export import export
        from promptseg.models.builtin.training.network import MEMBERS

        members = {name: given[name] for name in MEMBERS if given[name] is not None}
        export(members, BUILTIN_ONNX, given["out"])
    else:
        from promptseg.models.builtin.training.evaluate import evaluate, table

        logging.getLogger(__name__).info("%s", "\n" + table(evaluate(**given)))


def _train(one: Path | None, out: Path, device: str) -> None:
    """Train one member in ``out``, or every member of the shipped file in a folder of its own and then the file."""
    from promptseg.models.builtin.training.export import export
    from promptseg.models.builtin.training.recipe import RECIPES, read_recipe
    from promptseg.models.builtin.training.train import train

    if one is not None:
        train(read_recipe(one), out, device)
        return
    trained = {member: train(read_recipe(path), out / member, device) for member, path in RECIPES.items()}
    export(trained, BUILTIN_ONNX, out / BUILTIN_ONNX.name)


if __name__ == "__main__":
    main()
