// What lies over the planes: crosshair, orientation letters, scale bar, prompts, the stroke being drawn.

import { drawRulers, inscribe } from "./inscription.js";
import { ellipse } from "./rulers.js";
import { INK, trace, words } from "./strokes.js";

const POSITIVE = "#3ee08f", NEGATIVE = "#ff6b6b", LINE = "rgba(122, 178, 255, .55)";

const NARROW_PX = 460;

export class Marks {
  constructor(canvas, app) {
    this.canvas = canvas;
    this.app = app;
  }

  draw() {
    const { canvas, app } = this;
    const context = canvas.getContext("2d");
    const scale = canvas.width / Math.max(1, canvas.clientWidth);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!app.planes.image) return;
    for (const [view, pane] of app.planes.panes) {
      if (!pane.right) continue;
      const rect = pane.rect.map((v) => v / scale);
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.save();
      context.beginPath();
      context.rect(...rect);
      context.clip();
      context.translate(rect[0], rect[1]);
      const place = new Place(app.planes, view, scale, rect[2], rect[3]);
      if (app.settings.crosshair) crosshair(context, place);
      for (const item of app.shownPrompts()) drawPrompt(context, place, item, app);
      if (app.stroke?.view === view) stroke(context, place, app.stroke);
      if (app.cursor?.view === view) brush(context, place, app.cursor);
      drawRulers(context, place, app);
      inscribe(context, place, app, view === [...app.planes.panes.keys()][0]);
      letters(context, place);
      scaleBar(context, place);
      context.restore();
    }
  }
}

/** A view's pane in CSS pixels. */
export class Place {
  constructor(planes, view, scale, width, height) {
    this.planes = planes;
    this.view = view;
    this.scale = scale;
    this.width = width;
    this.height = height;
    this.axis = planes.frame.normal(view);
    this.slice = planes.crosshair[this.axis];
  }

  pixel(voxel) {
    return this.planes.pixelOf(this.view, voxel).map((v) => v / this.scale);
  }

  /** CSS pixels per mm. */
  get perMm() { return 1 / (this.planes.panes.get(this.view).scale * this.scale); }
}

function crosshair(context, place) {
  const [x, y] = place.pixel(place.planes.crosshair);
  const gap = 14;
  context.strokeStyle = LINE;
  context.lineWidth = 1;
  context.beginPath();
  for (const [a, b] of [[[0, y], [x - gap, y]], [[x + gap, y], [place.width, y]], [[x, 0], [x, y - gap]], [[x, y + gap], [x, place.height]]]) {
    context.moveTo(Math.round(a[0]) + 0.5, Math.round(a[1]) + 0.5);
    context.lineTo(Math.round(b[0]) + 0.5, Math.round(b[1]) + 0.5);
  }
  context.stroke();
}

function letters(context, place) {
  if (!place.planes.placed) return;
  const pane = place.planes.panes.get(place.view);
  const zero = [0, 0, 0];
  const ends = (move) => [place.planes.frame.letter(move, zero), place.planes.frame.letter(zero, move)];
  const [left, right] = ends(pane.right);
  const [top, bottom] = ends(pane.down);
  words(context, left, 14, place.height / 2);
  words(context, right, place.width - 14, place.height / 2);
  words(context, top, place.width / 2, place.width < NARROW_PX ? 34 : 16); // below the pane's name where that is in its way
  words(context, bottom, place.width / 2, place.height - 14);
}

function scaleBar(context, place) {
  const longest = 0.22 * place.width / place.perMm;
  if (!(longest > 0) || place.width < 120) return;
  const power = 10 ** Math.floor(Math.log10(longest));
  const length = [5, 2].map((s) => s * power).find((v) => v <= longest) ?? power;
  const px = length * place.perMm;
  const y = place.height - 16, x = 14;
  for (const [color, width] of [["rgba(0, 0, 0, .75)", 4], [INK, 1.5]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x, y - 4); context.lineTo(x, y); context.lineTo(x + px, y); context.lineTo(x + px, y - 4);
    context.stroke();
  }
  const unit = place.planes.measured ? (length >= 10 ? `${length / 10} cm` : `${length} mm`) : `${length} px`;
  words(context, unit, x + px + 8, y - 3, "left");
}

function drawPrompt(context, place, item, app) {
  const shape = outline(item.prompt, place);
  if (!shape) return;
  const chosen = app.chosenPrompt === item.id;
  context.save();
  context.globalAlpha = item.label === app.session.selected ? 1 : 0.35;
  const color = item.prompt.positive === false ? NEGATIVE : POSITIVE;
  if (shape.point) dot(context, shape.point, color, item.prompt.positive !== false, shape.here, chosen);
  if (shape.line) trace(context, shape.line, color, { closed: shape.closed, dashed: !shape.here, chosen, width: shape.width });
  if (chosen && shape.handles) for (const [x, y] of shape.handles) square(context, x, y);
  context.restore();
}

/**
 * What a prompt looks like in a pane: {point | line, closed, here, handles}, in CSS pixels; null where it does not show.
 * Points and boxes show faintly on the neighbouring slices too.
 */
export function outline(prompt, place) {
  const { axis, slice, planes } = place;
  const xyz = (v) => [v[2], v[1], v[0]];
  if (prompt.type === "point" && prompt.voxel) {
    const voxel = xyz(prompt.voxel);
    const off = Math.abs(voxel[axis] - slice);
    return off < 1.5 ? { point: place.pixel(voxel), here: off < 0.5 } : null;
  }
  if (prompt.type === "box" && prompt.voxel) return box(prompt, place, xyz);
  if (prompt.type === "scribble") {
    const near = prompt.voxels.filter((v) => Math.abs(xyz(v)[axis] - slice) < 0.5);
    const size = Math.max(4, place.perMm * Math.min(...planes.frame.spacing));
    return near.length ? { line: near.map((v) => place.pixel(xyz(v))), here: true, width: Math.min(size, 10) } : null;
  }
  if (prompt.type === "lasso") {
    const own = 2 - ["axial", "coronal", "sagittal"].indexOf(prompt.plane);
    if (own !== axis || prompt.index !== slice) return null;
    const rest = [2, 1, 0].filter((a) => a !== own); // rows, columns: the remaining array axes in order z, y, x
    const line = prompt.polygon.map(([row, column]) => {
      const voxel = [0, 0, 0];
      voxel[own] = prompt.index;
      voxel[rest[0]] = row;
      voxel[rest[1]] = column;
      return place.pixel(voxel);
    });
    return { line, closed: true, here: true };
  }
  return null;
}

function box(prompt, place, xyz) {
  const { axis, slice } = place;
  const low = xyz(prompt.voxel[0]), high = xyz(prompt.voxel[1]);
  const away = slice < low[axis] ? low[axis] - slice : slice >= high[axis] ? slice - high[axis] + 1 : 0;
  if (away > 1) return null;
  const [a, b] = [0, 1, 2].filter((i) => i !== axis);
  const corner = (va, vb) => {
    const voxel = [slice, slice, slice];
    voxel[a] = va - 0.5;
    voxel[b] = vb - 0.5;
    return place.pixel(voxel);
  };
  const line = [corner(low[a], low[b]), corner(high[a], low[b]), corner(high[a], high[b]), corner(low[a], high[b])];
  return { line, closed: true, here: away === 0, handles: line };
}

function dot(context, [x, y], color, positive, here, chosen) {
  const radius = here ? 8 : 5;
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = here ? color : "transparent";
  context.fill();
  context.strokeStyle = chosen ? "#fff" : here ? "rgba(0, 0, 0, .85)" : color;
  context.stroke();
  if (!here) return;
  context.strokeStyle = "#06130c";
  context.beginPath();
  context.moveTo(x - 4, y); context.lineTo(x + 4, y);
  if (positive) { context.moveTo(x, y - 4); context.lineTo(x, y + 4); }
  context.stroke();
}

function square(context, x, y) {
  context.fillStyle = "#fff";
  context.fillRect(x - 4, y - 4, 8, 8);
  context.strokeStyle = "#000";
  context.lineWidth = 1;
  context.strokeRect(x - 4, y - 4, 8, 8);
}

function stroke(context, place, drawn) {
  const line = drawn.voxels.map((v) => place.pixel(v));
  const color = drawn.color ?? (drawn.positive ? POSITIVE : NEGATIVE);
  if (drawn.kind === "box") {
    const [[x0, y0], [x1, y1]] = [line[0], line.at(-1)];
    trace(context, [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], color, { closed: true });
  } else if (drawn.kind === "ruler") trace(context, [line[0], line.at(-1)], color, { closed: false });
  else if (drawn.kind === "ellipse") trace(context, ellipse([drawn.voxels[0], drawn.voxels.at(-1)], place.axis).map((v) => place.pixel(v)), color, { closed: true });
  else trace(context, line, color, { closed: drawn.kind === "lasso", width: drawn.width ?? 4 });
}

function brush(context, place, { voxel, radiusMm }) {
  const [x, y] = place.pixel(voxel);
  context.strokeStyle = "#fff";
  context.lineWidth = 1.2;
  context.beginPath();
  context.arc(x, y, Math.max(3, radiusMm * place.perMm), 0, 2 * Math.PI);
  context.stroke();
}

/** The prompt item under a pixel of a pane, and which part: {item, corner} or null. */
export function hit(items, place, x, y) {
  for (const item of [...items].reverse()) {
    const shape = outline(item.prompt, place);
    if (!shape?.here) continue;
    const near = ([px, py], reach) => Math.hypot(px - x, py - y) <= reach;
    if (shape.point && near(shape.point, 10)) return { item };
    if (shape.handles) {
      const corner = shape.handles.findIndex((p) => near(p, 8));
      if (corner >= 0) return { item, corner };
    }
    if (shape.line && nearLine(shape.line, shape.closed, x, y, Math.max(5, (shape.width ?? 0) / 2))) return { item };
  }
  return null;
}

function nearLine(line, closed, x, y, reach) {
  const count = closed ? line.length : line.length - 1;
  for (let i = 0; i < Math.max(1, count); i++) {
    const [ax, ay] = line[i], [bx, by] = line[(i + 1) % line.length];
    const length = Math.hypot(bx - ax, by - ay) || 1e-6;
    const along = Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length ** 2));
    if (Math.hypot(ax + along * (bx - ax) - x, ay + along * (by - ay) - y) <= reach) return true;
  }
  return false;
}

