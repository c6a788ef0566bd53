// A prompt that was dragged: the same one elsewhere.

import { flipOrder } from "./geometry.js";

/** A prompt after its mark, or one corner of its box, was dragged. */
export function moved(prompt, from, to, corner, frame, view) {
  const shift = flipOrder(to.map((v, i) => v - from[i]));
  const add = (v) => v.map((x, i) => Math.min(frame.dims[2 - i] - 0.5, Math.max(-0.5, x + shift[i])));
  if (prompt.type === "point") return { ...prompt, voxel: add(prompt.voxel) };
  if (prompt.type === "scribble") return { ...prompt, voxels: prompt.voxels.map((v) => add(v).map((x, i) => Math.min(frame.dims[2 - i] - 1, Math.max(0, Math.round(x))))) };
  if (prompt.type === "lasso") {
    const rest = [0, 1, 2].filter((i) => i !== ["axial", "coronal", "sagittal"].indexOf(prompt.plane));
    return { ...prompt, polygon: prompt.polygon.map(([r, c]) => [r + shift[rest[0]], c + shift[rest[1]]]) };
  }
  if (prompt.type !== "box") return prompt;
  const [low, high] = prompt.voxel.map((v) => [...v]);
  const whole = shift.map((s) => Math.round(s));
  if (corner === undefined) {
    for (let i = 0; i < 3; i++) {
      const step = Math.max(-low[i], Math.min(frame.dims[2 - i] - high[i], whole[i]));
      low[i] += step;
      high[i] += step;
    }
    return { ...prompt, voxel: [low, high] };
  }
  const axes = [0, 1, 2].filter((i) => i !== frame.normal(view)).map((i) => 2 - i); // zyx places of the handle's two axes
  const sides = [[0, 0], [1, 0], [1, 1], [0, 1]][corner]; // low or high along them
  axes.forEach((axis, k) => {
    const edge = sides[k] ? high : low;
    edge[axis] = Math.min(frame.dims[2 - axis], Math.max(0, edge[axis] + whole[axis]));
    if (high[axis] <= low[axis]) edge[axis] = sides[k] ? low[axis] + 1 : high[axis] - 1;
  });
  return { ...prompt, voxel: [low, high] };
}
