"""The host's own time per slice around an encoder: what a GPU waits for, measured where there is none.

    python benchmarks/encode_host_time.py                 # a 512 x 512 slice into SAM's 1,024 px, batches of 32
    python benchmarks/encode_host_time.py --shape 256 256 --batch 8

The network is a stand-in that answers at once, so everything that is left is ours: the cache's key, the slice as bytes,
the copy that is sent, the features that come back. "by torch on the CPU" and "by the host" are what resampling and
normalising cost where no GPU does them. Processor time, medians of ``--runs`` batches, milliseconds a slice.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

GOAL_MS = 1.5


class Answering:
    """A runner whose network takes no time: it copies what would be sent, and gives features of ViT's size."""

    has_single, takes_mask, any_size, input_px, low_px, nbytes = True, True, True, 1024, 256, 0
    described = "a stand-in"

    def __init__(self) -> None:
        self._features = np.zeros((256, 64, 64), np.float32)

    def encode(self, batch: Sequence) -> list[dict[str, np.ndarray]]:
        """Planes -> as many times the same features."""
        sent = np.empty((len(batch), *batch[0].levels.shape), batch[0].levels.dtype)
        for one, planes in zip(sent, batch, strict=True):
            one[...] = planes.levels
        return [{"image": self._features} for _ in batch]

    def decode(self, *_: object) -> tuple[np.ndarray, np.ndarray]:
        """Never asked."""
        raise NotImplementedError


def measure(work: Callable[[], object], batch: int, runs: int) -> float:
    """Median processor milliseconds a slice, a first run left out."""
    work()
    found = []
    for _ in range(runs):
        start = time.process_time()
        work()
        found.append(1000 * (time.process_time() - start) / batch)
    return statistics.median(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=2, default=(512, 512))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    import torch

    from promptseg.models.embeddings import EmbeddingCache
    from promptseg.models.families.sam.frames import prepare
    from promptseg.models.families.sam.planes import inputs
    from promptseg.models.families.sam.planes_on_torch import made_on
    from promptseg.models.families.sam.predictor import SamPredictor
    from promptseg.models.predictor import SliceImage

    torch.set_num_threads(1)
    y, x = np.mgrid[: args.shape[0], : args.shape[1]].astype(np.float32)
    pixels = 0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 7)
    images = [SliceImage(np.roll(pixels, i, 0)) for i in range(args.batch)]
    predictor, cache = SamPredictor(Answering(), "stand-in"), EmbeddingCache("stand-in")
    planes = [prepare("sam", image.pixels, 1024)[0] for image in images]
    rows = {
        "key of the cache": lambda: [cache.key(image) for image in images],
        "slices to features": lambda: predictor.embed_batch(images),
        "resampled and normalised by the host": lambda: inputs(planes),
        "resampled and normalised by torch on the CPU": lambda: made_on(torch.device("cpu"), planes),
    }
    found = {what: measure(work, args.batch, args.runs) for what, work in rows.items()}
    for what, ms in found.items():
        print(f"{what:45} {ms:6.2f} ms")
    total = found["key of the cache"] + found["slices to features"]
    print(
        f"{'host work a slice, network and device at no time':45} {total:6.2f} ms (goal {GOAL_MS}: {total <= GOAL_MS})"
    )


if __name__ == "__main__":
    main()
