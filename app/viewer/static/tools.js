// The hand on the planes: pointer, wheel and touch become prompts, strokes, slices, zoom, pan, window.

import { flipOrder } from "./geometry.js";
import { Place, hit } from "./marks.js";

const DRAG_PX = 4; // less is a click
const WINDOW_PER_PX = 1 / 300; // of the present width
const NOTCH_PX = 40; // a wheel's notch is at least as long; a touchpad sends less at a time

export const TOOLS = [
  { id: "point", key: "p", icon: "positive" },
  { id: "negative", key: "n", icon: "negative" },
  { id: "box", key: "b", icon: "box" },
  { id: "scribble", key: "s", icon: "scribble" },
  { id: "lasso", key: "l", icon: "lasso" },
  { id: "paint", key: "d", icon: "paint" },
  { id: "erase", key: "e", icon: "erase" },
  { id: "ruler", key: "r", icon: "ruler" },
  { id: "angle", key: "g", icon: "angle" },
  { id: "ellipse", key: "x", icon: "ellipse" },
  { id: "window", key: "w", icon: "window" },
  { id: "move", key: "h", icon: "move" },
  { id: "look", key: "c", icon: "point" },
];
const MEASURED = new Set(["ruler", "ellipse"]);
const DRAWN = new Set(["box", "scribble", "lasso", "paint", "erase", ...MEASURED]);

export class Tools {
  constructor(app) {
    this.app = app;
    this.touches = new Map();
    /** @type {any} */
    this.pinch = null; // {distance, x, y} of two fingers
    this.gesture = null; // what a pressed pointer does
    this.wheelRest = 0;
  }

  /** Listen on a pane's element. */
  attach(element, view) {
    const on = (type, handler, options) => element.addEventListener(type, (event) => handler.call(this, event, view, element), options);
    on("pointerdown", this.down);
    on("pointermove", this.move);
    on("pointerup", this.up);
    on("pointercancel", this.cancel);
    on("pointerleave", this.leave);
    on("wheel", this.wheel, { passive: false });
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("auxclick", (event) => event.preventDefault());
  }

  place(view, element) {
    return new Place(this.app.planes, view, this.app.pixelRatio, element.clientWidth, element.clientHeight);
  }

  voxel(event, view, element) {
    const box = element.getBoundingClientRect();
    const ratio = this.app.pixelRatio;
    return this.app.planes.voxelAt(view, (event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio);
  }

  down(event, view, element) {
    const { app } = this;
    if (!app.planes.image) return;
    element.focus({ preventScroll: true });
    element.setPointerCapture?.(event.pointerId);
    if (event.pointerType === "touch") {
      this.touches.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (this.touches.size === 2) return this.beginPinch();
    }
    const voxel = this.voxel(event, view, element);
    if (event.button === 0 && (event.ctrlKey || event.metaKey)) return app.selectAt(voxel);
    const box = element.getBoundingClientRect();
    const at = { x: event.clientX - box.left, y: event.clientY - box.top };
    const gesture = { view, element, start: at, last: at, voxel, button: event.button, moved: false, shift: event.shiftKey };
    if (event.button === 0 && !event.shiftKey && !app.picking && !MEASURED.has(app.tool)) gesture.grabbed = hit(app.shownPrompts(true), this.place(view, element), at.x, at.y);
    if (gesture.grabbed) app.choosePrompt(gesture.grabbed.item.id);
    if (app.picking && event.button === 0) gesture.action = "crosshair";
    else gesture.action = gesture.grabbed ? "grab" : this.action(event);
    if (DRAWN.has(gesture.action)) this.beginStroke(gesture, event);
    this.gesture = gesture;
  }

  action(event) {
    const { tool } = this.app;
    if (event.button === 1 || (event.button === 0 && event.altKey)) return "move";
    if (event.button === 2) return DRAWN.has(tool) && tool !== "box" && !MEASURED.has(tool) ? tool : "right";
    if (tool === "point" || tool === "negative") return event.pointerType === "touch" ? "scroll" : "crosshair";
    return tool;
  }

  beginStroke(gesture, event) {
    const { app } = this;
    const positive = !(event.shiftKey || event.button === 2);
    const kind = gesture.action;
    const erase = kind === "erase" || (kind === "paint" && !positive);
    app.stroke = { view: gesture.view, kind, positive, erase, voxels: [gesture.voxel],
      color: MEASURED.has(kind) ? "#ffd9a0" : kind === "paint" || kind === "erase" ? (erase ? "#ff6b6baa" : app.selectedLabel()?.colour) : undefined,
      width: kind === "paint" || kind === "erase" ? Math.max(2, 2 * app.brushMm * this.place(gesture.view, gesture.element).perMm) : undefined };
    app.redrawMarks();
  }

  move(event, view, element) {
    const { app } = this;
    if (!app.planes.image) return;
    if (event.pointerType === "touch" && this.touches.has(event.pointerId)) {
      this.touches.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (this.pinch) return this.movePinch(view, element);
    }
    const gesture = this.gesture;
    const at = this.position(event, gesture?.element ?? element);
    app.hover(view, this.voxel(event, gesture?.element ? gesture.view : view, gesture?.element ?? element));
    if (!gesture) {
      if (event.shiftKey && !DRAWN.has(app.tool)) app.moveCrosshair(this.voxel(event, view, element)); // as in 3D Slicer
      return this.hoverCursor(view, element, at);
    }
    const dx = at.x - gesture.last.x, dy = at.y - gesture.last.y;
    if (!gesture.moved && Math.hypot(at.x - gesture.start.x, at.y - gesture.start.y) < DRAG_PX) return;
    gesture.moved = true;
    gesture.last = at;
    this.drag(gesture, event, at, dx, dy);
  }

  drag(gesture, event, at, dx, dy) {
    const { app } = this;
    const { view, element } = gesture;
    const ratio = app.pixelRatio;
    switch (gesture.action) {
      case "move":
        app.planes.panBy(view, dx * ratio, dy * ratio);
        return app.redraw([view], true);
      case "window":
      case "right":
        return app.shiftWindow(dx * WINDOW_PER_PX, -dy * WINDOW_PER_PX);
      case "crosshair":
      case "look":
        return app.moveCrosshair(this.voxel(event, view, element));
      case "scroll": {
        gesture.rest = (gesture.rest ?? 0) + dy;
        const steps = Math.trunc(gesture.rest / 8);
        gesture.rest -= 8 * steps;
        return steps ? app.scroll(view, steps) : undefined;
      }
      case "grab":
        return app.previewMove(gesture.grabbed, gesture.voxel, this.voxel(event, view, element), view);
      default:
        return this.extend(event, gesture);
    }
  }

  extend(event, gesture) {
    const { app } = this;
    const events = event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event];
    for (const each of events) app.stroke.voxels.push(this.voxel(each, gesture.view, gesture.element));
    if (app.cursor) app.cursor.voxel = app.stroke.voxels.at(-1);
    app.redrawMarks();
  }

  up(event, view) {
    const { app } = this;
    this.touches.delete(event.pointerId);
    if (this.pinch) { if (!this.touches.size) { this.pinch = null; app.settle(); } return; }
    const gesture = this.gesture;
    this.gesture = null;
    if (!gesture) return;
    if (DRAWN.has(gesture.action)) return this.finishStroke(gesture);
    if (gesture.action === "grab") return gesture.moved ? app.commitMove() : undefined;
    if (gesture.moved) return app.settle();
    if (gesture.action === "angle") return app.rulers.addCorner(view, gesture.voxel);
    if (gesture.action === "look") return app.moveCrosshair(gesture.voxel);
    if (gesture.action === "right" || gesture.action === "crosshair" || gesture.action === "scroll") {
      if (gesture.action === "right" && !["point", "negative", "box"].includes(app.tool)) return;
      app.click(view, gesture.voxel, !(gesture.action === "right" || gesture.shift || app.tool === "negative"));
    }
  }

  finishStroke(gesture) {
    const { app } = this;
    const drawn = app.stroke;
    app.stroke = null;
    app.redrawMarks();
    if (gesture.action === "paint" || gesture.action === "erase") return app.paint(drawn);
    if (MEASURED.has(gesture.action)) return gesture.moved ? app.rulers.add(drawn.kind, drawn.view, [drawn.voxels[0], drawn.voxels.at(-1)]) : undefined;
    if (!gesture.moved) {
      if (gesture.action === "scribble") return app.click(gesture.view, gesture.voxel, drawn.positive);
      return app.moveCrosshair(gesture.voxel);
    }
    app.addStroke(drawn);
  }

  cancel(event) {
    this.touches.delete(event.pointerId);
    this.pinch = this.gesture = this.app.stroke = null;
    this.app.redrawMarks();
  }

  leave(_event, view) {
    if (this.app.cursor?.view === view) this.app.cursor = null;
    if (!this.gesture) this.app.hover(view, null);
  }

  position(event, element) {
    const box = element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  hoverCursor(view, element, at) {
    const { app } = this;
    const over = hit(app.shownPrompts(true), this.place(view, element), at.x, at.y);
    element.style.cursor = over ? (over.corner === undefined ? "grab" : "nwse-resize")
      : app.tool === "move" ? "move" : app.tool === "look" ? "default" : app.tool === "window" ? "ns-resize" : "crosshair";
  }

  wheel(event, view, element) {
    event.preventDefault();
    const { app } = this;
    if (!app.planes.image) return;
    if (event.ctrlKey || event.metaKey) {
      const at = this.position(event, element);
      app.planes.zoomAt(view, at.x * app.pixelRatio, at.y * app.pixelRatio, Math.exp(-event.deltaY / 400));
      return app.redraw([view], true);
    }
    if (event.shiftKey && (app.tool === "paint" || app.tool === "erase")) return app.setBrush(app.brushMm * (event.deltaY > 0 ? 0.87 : 1.15));
    const steps = this.notches(event);
    if (steps) app.scroll(view, steps);
  }

  /** A notch of a wheel is one slice, however long; a touchpad's small steps add up. */
  notches(event) {
    if (event.deltaMode !== 0 || Math.abs(event.deltaY) >= NOTCH_PX) {
      this.wheelRest = 0;
      return Math.sign(event.deltaY);
    }
    this.wheelRest += event.deltaY;
    const steps = Math.trunc(this.wheelRest / NOTCH_PX);
    this.wheelRest -= steps * NOTCH_PX;
    return steps;
  }

  beginPinch() {
    this.gesture = null;
    this.app.stroke = null;
    const [a, b] = [...this.touches.values()];
    this.pinch = { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  }

  movePinch(view, element) {
    if (this.touches.size < 2) return;
    const { app, pinch } = this;
    const [a, b] = [...this.touches.values()];
    const next = { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    const box = element.getBoundingClientRect();
    const ratio = app.pixelRatio;
    app.planes.zoomAt(view, (next.x - box.left) * ratio, (next.y - box.top) * ratio, next.distance / Math.max(1, pinch.distance));
    app.planes.panBy(view, (next.x - pinch.x) * ratio, (next.y - pinch.y) * ratio);
    this.pinch = next;
    app.redraw([view], true);
  }
}

/** The REST prompt of a finished stroke; null when it is too small to mean anything. */
export function strokePrompt(drawn, frame, slice) {
  const axis = frame.normal(drawn.view);
  const plane = frame.plane(drawn.view);
  const inside = drawn.voxels.map((v) => v.map((x, i) => Math.min(frame.dims[i] - 0.5, Math.max(-0.5, x))));
  if (drawn.kind === "box") {
    const [a, b] = [inside[0], inside.at(-1)];
    const low = a.map((v, i) => (i === axis ? slice : Math.max(0, Math.round(Math.min(v, b[i])))));
    const high = a.map((v, i) => (i === axis ? slice + 1 : Math.min(frame.dims[i], Math.round(Math.max(v, b[i])) + 1)));
    return high.every((v, i) => v > low[i]) ? { type: "box", voxel: [flipOrder(low), flipOrder(high)] } : null;
  }
  if (drawn.kind === "lasso") {
    const rest = [2, 1, 0].filter((i) => i !== axis);
    const polygon = thin(inside).map((v) => [v[rest[0]], v[rest[1]]]);
    return polygon.length >= 3 ? { type: "lasso", plane, index: slice, polygon, positive: drawn.positive } : null;
  }
  return { type: "scribble", voxels: voxelLine(inside, frame).map(flipOrder), positive: drawn.positive, plane };
}

/** Voxels that a stroke visits, without gaps and repeats. */
export function voxelLine(voxels, frame) {
  const seen = new Map();
  const add = (v) => { const at = frame.clamp(v); seen.set(at.join(), at); };
  add(voxels[0]);
  for (let i = 1; i < voxels.length; i++) {
    const [a, b] = [voxels[i - 1], voxels[i]];
    const steps = Math.max(1, Math.ceil(Math.max(...a.map((v, k) => Math.abs(b[k] - v)))));
    for (let s = 1; s <= steps; s++) add(a.map((v, k) => v + (b[k] - v) * s / steps));
  }
  return [...seen.values()];
}

function thin(voxels) { // about half a voxel apart: enough for an outline
  const kept = [voxels[0]];
  for (const v of voxels) if (Math.hypot(...v.map((x, i) => x - kept.at(-1)[i])) >= 0.5) kept.push(v);
  return kept;
}
