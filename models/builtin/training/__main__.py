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
    verb = verbs.add_parser("train", help="train from nothing, or resume what lies in --out")
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--minutes", type=float, required=True)
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--processes", type=int, default=2, help="each trains the same weights on a core of its own")
    verb.add_argument("--rate", type=float, default=1.2e-3)
    verb.add_argument("--warm-start", type=Path, default=None, help="checkpoint whose weights to begin with")
    verb.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    verb = verbs.add_parser("export", help="write a checkpoint as ONNX")
    verb.add_argument("--checkpoint", type=Path, required=True)
    verb.add_argument("--out", type=Path, default=BUILTIN_ONNX)
    verb = verbs.add_parser("evaluate", help="measure an ONNX file on synthetic scenes kept out of training")
    verb.add_argument("--path", type=Path, default=BUILTIN_ONNX)
    verb.add_argument("--per-family", type=int, default=6)
    given = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = given.pop("verb")
    if chosen == "train":
        from promptseg.models.builtin.training.train import TrainConfig, train

        train(TrainConfig(**given))
    elif chosen == "export":
        from promptseg.models.builtin.training.export import export

        export(**given)
    else:
        from promptseg.models.builtin.training.evaluate import evaluate, table

        logging.getLogger(__name__).info("%s", "\n" + table(evaluate(**given)))


if __name__ == "__main__":
    main()
