// The image as the server sends it: one uncompressed NIfTI-1, little endian, int16, uint16, uint8, float32 or RGB24.

const HEADER = 352;
const KINDS = {
  2: { array: Uint8Array, name: "u8" },
  4: { array: Int16Array, name: "i16" },
  16: { array: Float32Array, name: "f32" },
  128: { array: Uint8Array, name: "rgb", samples: 3 },
  256: { array: Int8Array, name: "i8" },
  512: { array: Uint16Array, name: "u16" },
};

/** Parse into {dims [x,y,z], spacing, affine (3 rows of 4, voxel to RAS mm), slope, intercept, kind, data, header}. */
export function parseNifti(buffer) {
  const view = new DataView(buffer);
  if (view.getInt32(0, true) !== 348) throw new Error("expected a NIfTI-1 file, little endian");
  const dims = [1, 2, 3].map((i) => Math.max(1, view.getInt16(40 + 2 * i, true)));
  const kind = KINDS[view.getInt16(70, true)];
  if (!kind) throw new Error(`data type ${view.getInt16(70, true)} is not shown here`);
  const offset = view.getFloat32(108, true);
  const count = dims[0] * dims[1] * dims[2] * (kind.samples ?? 1);
  const aligned = offset % kind.array.BYTES_PER_ELEMENT === 0;
  const data = aligned ? new kind.array(buffer, offset, count) : new kind.array(buffer.slice(offset), 0, count);
  const slope = view.getFloat32(112, true);
  return {
    dims, kind: kind.name, data, samples: kind.samples ?? 1,
    spacing: [1, 2, 3].map((i) => view.getFloat32(76 + 4 * i, true) || 1),
    affine: [280, 296, 312].map((at) => [0, 4, 8, 12].map((i) => view.getFloat32(at + i, true))),
    slope: slope && Number.isFinite(slope) ? slope : 1,
    intercept: slope && Number.isFinite(slope) ? view.getFloat32(116, true) : 0,
    header: buffer.slice(0, HEADER),
  };
}

/**
 * A small stand-in of the same extent for NiiVue: its geometry, and what the 3D view renders. One sample per voxel.
 * Returns {buffer, dims}: a float32 NIfTI of at most `largest` voxels along an axis.
 */
export function standIn(image, largest) {
  const extent = image.dims.map((n, i) => n * image.spacing[i]);
  const finest = Math.max(...extent) / largest;
  const dims = image.dims.map((n, i) => Math.max(1, Math.min(n, Math.round(extent[i] / Math.max(finest, image.spacing[i])))));
  const steps = dims.map((n, i) => image.dims[i] / n);
  const at = dims.map((n, i) => Array.from({ length: n }, (_, j) => Math.min(image.dims[i] - 1, Math.floor((j + 0.5) * steps[i]))));
  const values = new Float32Array(dims[0] * dims[1] * dims[2]);
  const [nx, ny] = image.dims;
  let k = 0;
  for (const z of at[2]) for (const y of at[1]) for (const x of at[0]) values[k++] = valueAt(image, x + nx * (y + ny * z));
  return { buffer: withHeader(image, dims, steps, values), dims };
}

export function valueAt(image, index) {
  if (image.samples === 3) {
    const at = 3 * index;
    return 0.299 * image.data[at] + 0.587 * image.data[at + 1] + 0.114 * image.data[at + 2];
  }
  return image.data[index] * image.slope + image.intercept;
}

function withHeader(image, dims, steps, values) {
  const buffer = new ArrayBuffer(HEADER + values.byteLength);
  new Uint8Array(buffer).set(new Uint8Array(image.header));
  const view = new DataView(buffer);
  view.setInt16(40, 3, true);
  [0, 1, 2].forEach((i) => view.setInt16(42 + 2 * i, dims[i], true));
  [3, 4, 5, 6].forEach((i) => view.setInt16(42 + 2 * i, 1, true));
  view.setInt16(68, 0, true); // intent: none
  view.setInt16(70, 16, true);
  view.setInt16(72, 32, true);
  [0, 1, 2].forEach((i) => view.setFloat32(80 + 4 * i, image.spacing[i] * steps[i], true));
  view.setFloat32(108, HEADER, true);
  view.setFloat32(112, 1, true);
  view.setFloat32(116, 0, true);
  view.setInt16(252, 0, true); // one frame of reference only: the sform
  view.setInt16(254, 1, true);
  image.affine.forEach((row, r) => {
    const shift = [0, 1, 2].reduce((sum, i) => sum + row[i] * (steps[i] - 1) / 2, 0); // first centre of a larger voxel
    [0, 1, 2].forEach((i) => view.setFloat32(280 + 16 * r + 4 * i, row[i] * steps[i], true));
    view.setFloat32(280 + 16 * r + 12, row[3] + shift, true);
  });
  view.setUint32(344, 0x0031_2b6e, true); // "n+1"
  new Float32Array(buffer, HEADER).set(values);
  return buffer;
}

/** Percentiles (0..100) of a sample of finite values that are not the smallest one (padding, air set to one value). */
export function percentiles(values, wanted) {
  const step = Math.max(1, Math.floor(values.length / 200_000));
  const sample = [];
  for (let i = 0; i < values.length; i += step) if (Number.isFinite(values[i])) sample.push(values[i]);
  if (!sample.length) return wanted.map(() => 0);
  sample.sort((a, b) => a - b);
  const first = sample.findIndex((v) => v > sample[0]);
  const inside = first > 0 && sample.length - first >= 100 ? sample.slice(first) : sample;
  return wanted.map((p) => inside[Math.round((p / 100) * (inside.length - 1))]);
}
