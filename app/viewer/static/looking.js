// What a person looks at: slices, window, tool, crosshair and the drawing of them; nothing here asks the server.
// Listeners: app.on("session" | "labels" | "prompts" | "slice" | "hover" | "tool" | "job" | "message" | ..., f).

const OUTLINE = 2; // strength of masks' outlines, of their labels' opacity
const REFINE_AFTER_MS = 150; // after the last movement, on a driver that drew it as a preview
const STORED = "promptseg.settings";
export const FILL = 0.7; // opacity of masks at first, under their outline

export class Looking {
  constructor(planes) {
    this.planes = planes;
    this.marks = null; // drawn over the planes
    this.busy = 0; // changes that the server has not answered
    this.stroke = null;
    this.cursor = null; // the brush where the mouse is: {view, voxel, radiusMm}
    this.brush = { ball: false, range: null, within: null }; // see panels/brush.js
    this.range = {}; // by array plane: {first, last} slice that growing keeps to
    this.pointer = null; // where the mouse is: {view, voxel}
    this.masks = true; // shown at all
    this.tool = "point";
    this.brushMm = 6;
    this.listeners = new Map();
    this.wanted = new Set(); // views to draw with the next picture
    this.coarse = new Set(); // views that show a preview
    this.pixelRatio = 1;
    this.settings = { crosshair: true, autoGrow: true, fill: FILL, volume3d: true, inscription: true, diameters: true, masksOnly: false, ...read(STORED) };
  }

  // --- events ------------------------------------------------------------------------------------------------------

  on(name, listener) {
    this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
  }

  /** @param {string} name @param {any} [value] what the listeners get */
  emit(name, value) {
    for (const listener of this.listeners.get(name) ?? []) listener(value);
  }

  /**
   * Tell a person something; an action is a button beside it.
   * @param {string} text
   * @param {string} kind
   * @param {{text: string, run: () => unknown} | null} action
   */
  say(text, kind = "info", action = null) { this.emit("message", { text, kind, action }); }

  set(name, value) {
    this.settings[name] = value;
    localStorage.setItem(STORED, JSON.stringify(this.settings));
    this.emit("settings", name);
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  /** Draw planes (default: all) and marks with the next picture of the screen; `moving`: a slow driver may draw a preview first. */
  redraw(views = [...this.planes.panes.keys()], moving = false) {
    this.redrawPlanes(views, moving);
    this.redrawMarks();
  }

  redrawPlanes(views, moving) {
    if (views.length) this.rough = moving && this.planes.slow && (this.rough || !this.wanted.size);
    views.forEach((view) => this.wanted.add(view));
    this.nextFrame();
  }

  redrawMarks() {
    this.marksWanted = true;
    this.nextFrame();
  }

  nextFrame() {
    this.frameRequest ??= requestAnimationFrame(() => {
      this.frameRequest = null;
      Object.assign(this.planes.strength, this.masks ? { fill: this.settings.fill, line: OUTLINE } : { fill: 0, line: 0 });
      const views = [...this.wanted];
      this.wanted.clear();
      this.planes.draw(views, this.rough);
      views.forEach((view) => (this.rough ? this.coarse.add(view) : this.coarse.delete(view)));
      if (this.rough && views.length) this.refineLater();
      if (this.marksWanted) this.marks.draw();
      this.marksWanted = false;
    });
  }

  refineLater() {
    clearTimeout(this.refineTimer);
    this.refineTimer = setTimeout(() => this.settle(), REFINE_AFTER_MS);
  }

  /** The hand rests: what was drawn as a preview is drawn in full; an answer that is awaited comes first. */
  settle() {
    if (this.busy) return this.refineLater();
    clearTimeout(this.refineTimer);
    if (this.coarse.size) this.redrawPlanes([...this.coarse], false);
    return undefined;
  }

  // --- looking -----------------------------------------------------------------------------------------------------

  /** A single picture, which has no third dimension. */
  get flat2d() { return this.planes.frame?.flat >= 0; }

  moveCrosshair(voxel) {
    if (!voxel) return;
    const { planes } = this;
    const before = planes.crosshair;
    planes.crosshair = planes.frame.clamp(voxel);
    const axes = [0, 1, 2].filter((i) => before[i] !== planes.crosshair[i]);
    this.followPointer();
    this.emit("slice");
    this.redraw([...planes.panes.keys()].filter((view) => axes.includes(planes.frame.normal(view))), true);
  }

  scroll(view, steps) {
    const axis = this.planes.frame.normal(view);
    const voxel = [...this.planes.crosshair];
    voxel[axis] += steps * (this.planes.frame.axes.find((a) => a.axis === axis).flip ? -1 : 1);
    this.moveCrosshair(voxel);
  }

  goTo(plane, index) {
    const view = this.planes.frame.view(plane);
    const voxel = [...this.planes.crosshair];
    voxel[this.planes.frame.normal(view)] = index;
    this.moveCrosshair(voxel);
    return view;
  }

  /** The index of the shown slice of an array plane. */
  sliceIn(plane) {
    const { frame, crosshair } = this.planes;
    return crosshair[frame.normal(frame.view(plane))];
  }

  setWindow(low, high) {
    this.planes.window = { low, high: Math.max(high, low + 1e-6) };
    this.emit("window");
    this.redrawPlanes([...this.planes.panes.keys()], true);
  }

  /** Shift level and width by parts of the present width. */
  shiftWindow(widen, brighten) {
    const { low, high } = this.planes.window;
    const width = high - low;
    const level = (low + high) / 2 - brighten * width;
    const next = width * Math.exp(widen);
    this.setWindow(level - next / 2, level + next / 2);
  }

  /** The slice or the masks changed under a resting mouse: what is read out is what lies there now. */
  followPointer() {
    if (!this.pointer) return;
    const { view, voxel } = this.pointer;
    const axis = this.planes.frame.normal(view);
    this.hover(view, voxel.map((v, i) => (i === axis ? this.planes.crosshair[i] : v)));
  }

  /** Show or hide every mask at once. */
  showMasks(on) {
    this.masks = on;
    this.redraw();
  }

  hover(view, voxel) {
    this.pointer = voxel ? { view, voxel } : null;
    this.hovered = voxel && this.planes.image ? this.planes.probe(voxel) : null;
    if ((this.tool === "paint" || this.tool === "erase") && voxel) {
      this.cursor = { view, voxel, radiusMm: this.brushMm };
      this.redrawMarks();
    } else if (this.cursor) { this.cursor = null; this.redrawMarks(); }
    this.emit("hover");
  }

  setTool(tool) {
    this.tool = tool;
    this.cursor = null;
    this.planes.shownRange = tool === "paint" || tool === "erase" ? this.brush.range : null;
    this.redraw();
    this.emit("tool");
    this.redrawMarks();
  }

  /** The intensities [low, high] that the brush keeps to, shown in the picture; null: all. */
  setBrushRange(range) {
    this.brush.range = range;
    this.setTool(this.tool);
  }

  /** The first or last slice that growing keeps to: the shown one; again: no limit. */
  setRange(end, view) {
    const plane = this.planes.frame.plane(view), index = this.sliceIn(plane);
    const range = { ...this.range[plane] };
    if (range[end] === index) delete range[end]; else range[end] = index;
    this.range = { [plane]: range };
    this.emit("range");
  }

  setBrush(mm) {
    this.brushMm = Math.min(60, Math.max(0.5, mm));
    if (this.cursor) this.cursor.radiusMm = this.brushMm;
    this.emit("tool");
    this.redrawMarks();
  }
}

function read(key) {
  try { return JSON.parse(localStorage.getItem(key) ?? "{}"); } catch { return {}; }
}
