"""Where a view lies in a volume, and the way of values from voxels to its cells and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["Corner", "Region", "ViewGrid", "moved", "sample", "spread"]

FloatArray = NDArray[np.float32]
Region: TypeAlias = tuple[slice, slice, slice]
Triple: TypeAlias = tuple[float, float, float]
Corner: TypeAlias = Sequence[float] | NDArray[np.float64]

SLAB_VOXELS = 4_000_000  # read at a time: 16 MB of float32
SAMPLES_A_CELL = 2  # along an axis, at least: where cells hold many voxels, every k-th is read


@dataclass(frozen=True)
class ViewGrid:
    """Cells of equal size along the volume's axes (z, y, x).

    Attributes:
        low: the lower corner in voxels; voxel i spans i ... i + 1. It may lie outside the volume.
        step: voxels per cell.
        shape: number of cells.
    """

    low: Triple
    step: Triple
    shape: tuple[int, int, int]

    @staticmethod
    def between(low: Corner, high: Corner, shape: tuple[int, int, int]) -> ViewGrid:
        """Return the grid of ``shape`` that spans two corners, in voxels."""
        z0, y0, x0 = (float(v) for v in low)
        dz, dy, dx = ((float(b) - float(a)) / n for a, b, n in zip(low, high, shape, strict=True))
        return ViewGrid((z0, y0, x0), (dz, dy, dx), shape)

    @property
    def high(self) -> Triple:
        """The upper corner in voxels."""
        z, y, x = (a + s * n for a, s, n in zip(self.low, self.step, self.shape, strict=True))
        return (z, y, x)

    def to_cells(self, voxel: Sequence[float]) -> Triple:
        """Return where a voxel's position (z, y, x), centres at integers, lies in cells, centres at integers too."""
        z, y, x = ((v + 0.5 - a) / s - 0.5 for v, a, s in zip(voxel, self.low, self.step, strict=True))
        return (z, y, x)

    def edge_to_cells(self, axis: int, edge: float) -> float:
        """Return where a half-open limit (a voxel's index) lies as a half-open limit in cells."""
        return (edge - self.low[axis]) / self.step[axis]

    def region(self, volume_shape: Sequence[int]) -> Region:
        """Return the voxels whose centres lie in the view."""
        cuts = [
            slice(min(max(0, int(np.ceil(a - 0.5))), n), max(0, min(n, int(np.ceil(b - 0.5)))))
            for a, b, n in zip(self.low, self.high, volume_shape, strict=True)
        ]
        return (cuts[0], cuts[1], cuts[2])

    def inside(self, volume_shape: Sequence[int]) -> NDArray[np.bool_]:
        """Return bool (cells): whose centres lie in the volume."""
        along = []
        for a, s, n, count in zip(self.low, self.step, self.shape, volume_shape, strict=True):
            centres = a + (np.arange(n) + 0.5) * s
            along.append((centres > 0) & (centres < count))
        return np.asarray(along[0][:, None, None] & along[1][None, :, None] & along[2][None, None, :])


def sample(read: Callable[[Region], NDArray[np.generic]], volume_shape: Sequence[int], grid: ViewGrid) -> FloatArray:
    """Return float32 (cells): means where a cell holds several voxels, linear in between where it holds less than one.

    Beyond the volume's border the nearest voxel goes on. At most ``SLAB_VOXELS`` are held at a time.

    Args:
        read: gives the voxels of a part of the volume, float or bool; slices may have steps.
        volume_shape: (z, y, x).
        grid: the view's.
    """
    strides = [max(1, int(step / SAMPLES_A_CELL)) for step in grid.step]
    cuts, weights = [], []
    for axis, (stride, count) in enumerate(zip(strides, volume_shape, strict=True)):
        low, high = grid.low[axis], grid.high[axis]
        first = min(max(0, int(np.floor(low)) - stride), count - 1)
        last = max(first + 1, min(count, int(np.ceil(high)) + stride + 1))
        cuts.append(slice(first, last, stride))
        centres = (low + (np.arange(grid.shape[axis]) + 0.5) * grid.step[axis] - first + (stride - 1) / 2) / stride
        weights.append(_means(centres, grid.step[axis] / stride, len(range(first, last, stride))))
    out = np.zeros(grid.shape, np.float32)
    across = len(range(*cuts[1].indices(volume_shape[1]))) * len(range(*cuts[2].indices(volume_shape[2])))
    along = weights[0].tocsc()
    for part in _slabs(cuts[0], max(1, SLAB_VOXELS // across)):
        voxels = np.asarray(read((part, cuts[1], cuts[2])), np.float32)
        for number, plane in enumerate(voxels, start=(part.start - cuts[0].start) // strides[0]):
            cells, shares = _column(along, number)
            if len(cells):
                out[cells] += shares[:, None, None] * (weights[2] @ (weights[1] @ plane).T).T
    return out


def spread(cells: FloatArray, grid: ViewGrid, region: Region) -> Iterator[tuple[int, FloatArray]]:
    """Carry a view's values back: yield (z index, float32 (rows, columns)) of every slice of ``region``, in order.

    Linear between the cells' centres; means where a voxel holds several cells.
    """
    weights = []
    for axis, cut in enumerate(region):
        centres = (np.arange(cut.start, cut.stop) + 0.5 - grid.low[axis]) / grid.step[axis]
        weights.append(_means(centres, 1 / grid.step[axis], grid.shape[axis]))
    for number, index in enumerate(range(region[0].start, region[0].stop)):
        slab, shares = _row(weights[0], number)
        plane = np.tensordot(shares, cells[slab], axes=1)
        yield index, np.ascontiguousarray((weights[2] @ (weights[1] @ plane).T).T, np.float32)


def moved(values: FloatArray, of: ViewGrid, to: ViewGrid) -> FloatArray:
    """Return one view's values in the cells of another; 0 where it does not reach."""
    if of == to:
        return values
    low, high = ([of.edge_to_cells(axis, edge) for axis, edge in enumerate(corner)] for corner in (to.low, to.high))
    there = ViewGrid.between(low, high, to.shape)
    return np.where(there.inside(of.shape), sample(lambda part: values[part], of.shape, there), np.float32(0))


def _means(centres: NDArray[np.float64], width: float, count: int) -> sparse.csr_matrix:
    """Return weights (centres, values): the mean over ``width`` (at least 1) around each centre.

    The values are taken as constant over unit steps, so that a width of 1 is linear interpolation.
    """
    from scipy import sparse  # late: only sessions with a volume model need it

    width = max(1.0, width)
    low = np.clip(centres - width / 2, 0, count - 1e-6)
    high = np.clip(centres + width / 2, 1e-6, count)
    low = np.minimum(low, high - 1e-6)
    first, last = np.floor(low).astype(int), np.ceil(high).astype(int)
    rows, columns, shares = [], [], []
    for offset in range(int((last - first).max())):
        at = first + offset
        share = np.minimum(high, at + 1) - np.maximum(low, at)
        used = (at < last) & (at < count) & (share > 0)
        rows.append(np.flatnonzero(used))
        columns.append(at[used])
        shares.append(share[used] / (high - low)[used])
    pairs = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix((np.concatenate(shares).astype(np.float32), pairs), (len(centres), count))


def _column(matrix: sparse.csc_matrix, index: int) -> tuple[NDArray[np.int32], FloatArray]:
    held = slice(matrix.indptr[index], matrix.indptr[index + 1])
    return matrix.indices[held], matrix.data[held]


def _row(matrix: sparse.csr_matrix, index: int) -> tuple[NDArray[np.int32], FloatArray]:
    held = slice(matrix.indptr[index], matrix.indptr[index + 1])
    return matrix.indices[held], matrix.data[held]


def _slabs(cut: slice, most: int) -> Iterator[slice]:
    """Cut a slice with a step into pieces of at most ``most`` indices."""
    for start in range(cut.start, cut.stop, most * cut.step):
        yield slice(start, min(cut.stop, start + most * cut.step), cut.step)
