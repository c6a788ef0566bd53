// Intensity windows: CT presets in HU (as promptseg/volume/intensity.py), percentiles for everything else.

import { percentiles, valueAt } from "./nifti.js";

export const CT = { "soft-tissue": [40, 400], lung: [-600, 1500], bone: [400, 1800], brain: [40, 80], liver: [30, 150], mediastinum: [50, 350] };
const PERCENTILES = [["default", 0.5, 99.5], ["contrast", 5, 98], ["bright", 0.5, 90], ["full", 0, 100]];

/** The presets of an image: [{id, low, high}], the file's own window first. */
export function presets(state, planes) {
  if (planes.image.samples === 3) return [];
  const own = state.window ? [{ id: "file", low: state.window.low, high: state.window.high }] : [];
  if (state.modality === "CT" || state.window?.source?.includes("soft-tissue"))
    return [...own, ...Object.entries(CT).map(([id, [level, width]]) => ({ id, low: level - width / 2, high: level + width / 2 }))];
  const found = percentiles(sample(planes.image), PERCENTILES.flatMap(([, low, high]) => [low, high]));
  return [...own, ...PERCENTILES.map(([id], i) => ({ id, low: found[2 * i], high: Math.max(found[2 * i + 1], found[2 * i] + 1e-6) }))];
}

export function startingWindow(state, planes, number = 0) {
  const found = presets(state, planes);
  return found[Math.min(number, found.length - 1)] ?? { low: 0, high: 255 };
}

export const isHounsfield = (state) => state.modality === "CT" || Boolean(state.window?.source?.includes("soft-tissue"));

/** About 200,000 values from all over an image. */
function sample(image) {
  const count = image.data.length / image.samples;
  const step = Math.max(1, Math.floor(count / 200_003));
  return Float32Array.from({ length: Math.floor(count / step) }, (_, i) => valueAt(image, i * step));
}
