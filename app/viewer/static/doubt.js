// Which slices of a label to look at: those that the model is less sure of than of the rest of this very object, and
// those whose intensities are not those of the slices that a person prompted. A percentage would say more than is known.

const FLOOR = 0.5; // confidence below which a slice is doubtful whatever the others are
const GAP = 0.1; // below the object's own median that is worth a look
const SDS = 2; // of the prompted slices' intensities that a slice's mean may lie away
const LEAST_SD = 0.05; // of the window: homogeneous tissue has a small deviation of its own

/** The object's own usual confidence: the median of its slices. */
export function usual(values) {
  const known = values.filter((v) => v !== null && v < 1).sort((a, b) => a - b);
  return known.length ? known[Math.floor(known.length / 2)] : 1;
}

export const isDoubtful = (value, typical) => value < FLOOR || value < typical - GAP;

/** Axial slices (array plane 0) whose mean intensity is far from the prompted ones': index to {mean, prompted}. */
export function oddSlices(planes, value, anchors) {
  const { image, labels, window } = planes;
  if (!anchors.length || image.samples === 3) return new Map();
  const [nx, ny, nz] = image.dims;
  const sums = Array.from({ length: nz }, () => [0, 0, 0]);
  for (let z = 0; z < nz; z++)
    for (let y = z % 2; y < ny; y += 2) // every other row: a mean needs no more
      for (let at = nx * (y + ny * z), end = at + nx; at < end; at++) {
        if (labels[at] !== value) continue;
        const v = image.data[at] * image.slope + image.intercept;
        sums[z][0] += 1;
        sums[z][1] += v;
        sums[z][2] += v * v;
      }
  const [count, sum, squares] = anchors.reduce((all, z) => all.map((v, i) => v + (sums[z]?.[i] ?? 0)), [0, 0, 0]);
  if (!count) return new Map();
  const prompted = sum / count;
  const limit = SDS * Math.max(Math.sqrt(Math.max(0, squares / count - prompted ** 2)), LEAST_SD * (window.high - window.low));
  const odd = new Map();
  sums.forEach(([n, total], z) => { if (n && Math.abs(total / n - prompted) > limit) odd.set(z, { mean: total / n, prompted }); });
  return odd;
}
