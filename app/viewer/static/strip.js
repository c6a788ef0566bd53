// A pane's slice slider with the label's confidence along it: grey where there is no mask, green where there is, amber where it is doubtful.

import { h } from "./dom.js";
import { isDoubtful, usual } from "./doubt.js";
import { t } from "./i18n.js";

export const DOUBT = "#ffb547", SURE = "#4f9d78"; // apart by lightness too, for colour-blind eyes

export class SliceStrip {
  constructor(app, view) {
    this.app = app;
    this.view = view;
    this.canvas = h("canvas", { class: "ps-strip-colours", height: 6, "aria-hidden": "true" });
    this.input = h("input", { type: "range", min: 0, step: 1, class: "ps-strip-input", "aria-label": `${t("slice")}: ${t(`view.${view}`)}`, oninput: () => this.go() });
    this.input.addEventListener("keydown", (event) => ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"].includes(event.key) && event.stopPropagation());
    this.element = h("div", { class: "ps-strip" }, this.canvas, this.input);
  }

  go() {
    const { app, view } = this;
    const voxel = [...app.planes.crosshair];
    voxel[app.planes.frame.normal(view)] = Number(this.input.value);
    app.moveCrosshair(voxel);
  }

  show() {
    const { frame, crosshair } = this.app.planes;
    this.input.max = frame.count(this.view) - 1;
    this.input.value = crosshair[frame.normal(this.view)];
    this.element.hidden = frame.count(this.view) < 2;
  }

  draw() {
    const { app, view, canvas } = this;
    const width = this.element.clientWidth;
    if (!app.planes.frame || !width) return;
    canvas.width = width;
    const context = canvas.getContext("2d");
    const count = app.planes.frame.count(view);
    const plane = app.planes.frame.plane(view);
    const each = width / count;
    const typical = usual(app.review?.slices?.[plane] ?? []);
    for (const [index, value] of confidences(app.review, plane, count)) {
      const doubt = isDoubtful(value, typical) || (plane === "axial" && app.review.odd.has(index));
      context.fillStyle = doubt ? DOUBT : SURE;
      context.fillRect(index * each, 1, Math.max(1, each), 4);
    }
    context.fillStyle = "#ffffff";
    const known = confidences(app.review, plane, count);
    for (const [index] of known.filter(([, v]) => v >= 1)) context.fillRect((index + 0.5) * each - 1, 0, 2, 6); // prompted or accepted
  }
}

/** [index, 0..1] of every slice about which something is known. */
function confidences(review, plane, count) {
  return (review?.slices?.[plane] ?? []).map((v, i) => [i, v]).filter(([i, v]) => v !== null && i < count);
}
