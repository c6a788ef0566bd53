// What a person measures by hand on a slice: ruler, angle, ellipse with its statistics. Kept in the browser, by session.

const STORED = "promptseg.rulers.";
/** @type {{view: string, points: number[][]}} */
const NO_CORNER = { view: "", points: [] };
const SIDES = 64; // of an ellipse as it is drawn

/** @typedef {{kind: string, view: string, slice: number, points: number[][]}} Ruler points are native voxels */

export class Rulers {
  constructor(app) {
    this.app = app;
    /** @type {Ruler[]} */
    this.items = [];
    this.corner = NO_CORNER; // an angle that is being made
    this.diameters = []; // of labels, as the service measured them: {colour, start, end}
    app.on("session", (state) => {
      this.items = state ? read(state.id) : [];
      this.diameters = [];
      this.corner = NO_CORNER;
    });
  }

  /** Keep a ruler or an ellipse that was drawn from one voxel to another. */
  add(kind, view, points) {
    const { frame, crosshair } = this.app.planes;
    this.items.push({ kind, view, slice: crosshair[frame.normal(view)], points });
    this.keep();
  }

  /** A point of an angle: a leg's end, the corner, the other leg's end. */
  addCorner(view, voxel) {
    const points = [...(this.corner.view === view ? this.corner.points : []), voxel];
    this.corner = points.length < 3 ? { view, points } : NO_CORNER;
    if (points.length === 3) this.add("angle", view, points);
    else this.app.redrawMarks();
  }

  remove(item) {
    this.items = this.items.filter((other) => other !== item);
    this.keep();
  }

  keep() {
    localStorage.setItem(STORED + this.app.session.id, JSON.stringify(this.items));
    this.app.emit("rulers");
    this.app.redrawMarks();
  }

  showDiameters(diameters) {
    this.diameters = diameters;
    this.app.redrawMarks();
  }

  /** What an item measures, as one line. */
  text({ kind, view, points, slice }) {
    const { planes } = this.app;
    const unit = planes.measured ? "mm" : "px";
    const away = (a, b) => Math.hypot(...planes.frame.world(a).map((v, i) => v - planes.frame.world(b)[i]));
    if (kind === "ruler") return `${away(points[0], points[1]).toFixed(1)} ${unit}`;
    if (kind === "angle") return `${degrees(points.map((p) => planes.frame.world(p))).toFixed(1)}°`;
    const found = statistics(planes, view, slice, points);
    const area = found.count * found.pixel;
    return [`${found.mean.toFixed(1)} ± ${found.sd.toFixed(1)}`, `${found.low.toFixed(0)} … ${found.high.toFixed(0)}`,
      planes.measured ? (area >= 100 ? `${(area / 100).toFixed(1)} cm²` : `${area.toFixed(1)} mm²`) : `${found.count} px`].join(" · ");
  }
}

function read(id) {
  try { return JSON.parse(localStorage.getItem(STORED + id) ?? "[]"); } catch { return []; }
}

/** The angle at the second of three points. */
export function degrees([a, corner, b]) {
  const legs = [a, b].map((p) => p.map((v, i) => v - corner[i]));
  const dot = legs[0].reduce((sum, v, i) => sum + v * legs[1][i], 0);
  return Math.acos(Math.max(-1, Math.min(1, dot / (Math.hypot(...legs[0]) * Math.hypot(...legs[1]) || 1)))) * 180 / Math.PI;
}

/** Corners of the ellipse inside the box of two points. */
export function ellipse([a, b], axis) {
  const [u, v] = [0, 1, 2].filter((i) => i !== axis);
  return Array.from({ length: SIDES }, (_, i) => {
    const turn = 2 * Math.PI * i / SIDES;
    const point = [...a];
    point[u] = (a[u] + b[u]) / 2 + Math.abs(b[u] - a[u]) / 2 * Math.cos(turn);
    point[v] = (a[v] + b[v]) / 2 + Math.abs(b[v] - a[v]) / 2 * Math.sin(turn);
    return point;
  });
}

/** Of the voxels whose centres lie inside an ellipse: {count, pixel (mm²), mean, sd, low, high}; colours as brightness. */
export function statistics(planes, view, slice, [a, b]) {
  const { frame } = planes;
  const axis = frame.normal(view);
  const [u, v] = [0, 1, 2].filter((i) => i !== axis);
  const middle = [u, v].map((i) => (a[i] + b[i]) / 2), half = [u, v].map((i) => Math.abs(b[i] - a[i]) / 2 || 1e-6);
  const values = [];
  for (let i = Math.ceil(middle[0] - half[0]); i <= middle[0] + half[0]; i++)
    for (let j = Math.ceil(middle[1] - half[1]); j <= middle[1] + half[1]; j++) {
      if (((i - middle[0]) / half[0]) ** 2 + ((j - middle[1]) / half[1]) ** 2 > 1) continue;
      const voxel = [0, 0, 0];
      voxel[axis] = slice;
      voxel[u] = i;
      voxel[v] = j;
      const value = planes.probe(voxel)?.value;
      if (value !== undefined) values.push(Array.isArray(value) ? (value[0] + value[1] + value[2]) / 3 : value);
    }
  const mean = values.reduce((sum, x) => sum + x, 0) / (values.length || 1);
  const sd = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length || 1));
  const low = values.reduce((m, x) => Math.min(m, x), Infinity), high = values.reduce((m, x) => Math.max(m, x), -Infinity);
  return { count: values.length, pixel: frame.spacing[u] * frame.spacing[v], mean, sd, low, high };
}
