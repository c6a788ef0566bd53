// Changes of a session, one after another: prompts, strokes, edits by hand, labels; each answer is a Delta.

import { inflate, isTemporary } from "./api.js";
import { Frames } from "./frames.js";
import { flipOrder } from "./geometry.js";
import { anatomy, t } from "./i18n.js";
import { Looking } from "./looking.js";
import { moved } from "./moved.js";
import { Rulers } from "./rulers.js";
import { strokePrompt, voxelLine } from "./tools.js";

const GROW_AFTER_MS = 700; // after the last prompt, when the mask grows by itself

export class Editing extends Looking {
  constructor(api, planes, volume3d) {
    super(planes);
    this.api = api;
    this.volume3d = volume3d;
    /** @type {any} */
    this.session = null;
    this.chosenPrompt = null;
    this.frames = new Frames(this);
    this.rulers = new Rulers(this);
    this.shownFrame = 0; // of a 4D image
    /** @type {any} */
    this.picking = null; // what the next click is for, instead of a prompt
    /** @type {Promise<any>} */
    this.queue = Promise.resolve();
  }

  /** Run one change after another; failures become a message and never stop the queue. */
  enqueue(work) {
    this.busy += 1;
    this.emit("busy", this.busy);
    const result = this.queue.then(work).catch((error) => this.fail(error)).finally(() => {
      this.busy -= 1;
      this.emit("busy", this.busy);
    });
    this.queue = result;
    return result;
  }

  fail(error) {
    if (isTemporary(error)) return this.emit("offline", error);
    if (error.status === 404 && this.session) this.emit("gone");
    this.say(error.message, "error");
    return undefined;
  }

  // --- changes -----------------------------------------------------------------------------------------------------

  async applyDelta(delta) {
    if (!delta || !this.session) return;
    await this.patch(delta);
    for (const key of ["revision", "labels", "selected", "overlap", "prompts", "can_undo", "can_redo"])
      if (delta[key] !== undefined) this.session[key] = delta[key];
    this.applyLook();
    this.emit("labels");
    this.emit("prompts");
    this.redraw(undefined, true);
  }

  /** The voxels of a delta into the picture. */
  async patch({ changed, voxels }) {
    if (!changed || !voxels) return;
    this.planes.patchLabels(changed, await inflate(voxels));
    this.volume3d.update(changed);
    this.redraw(undefined, true);
  }

  /** One change through REST; `send` returns a Delta. */
  change(send) {
    return this.enqueue(async () => {
      const started = performance.now();
      await this.frames.take(); // a change belongs to the frame that is shown
      const delta = await send(`/sessions/${this.session.id}`);
      await this.applyDelta(delta);
      this.lastChange = { server_s: delta?.seconds, started };
      this.emit("changed");
      return delta ?? true;
    });
  }

  addPrompts(prompts) {
    clearTimeout(this.growTimer);
    const done = this.change((at) => this.api.post(`${at}/prompts`, { label: this.session.selected || undefined, prompts, propagate: false }));
    if (this.settings.autoGrow && !this.flat2d) done.then((ok) => ok && this.growLater());
    return done;
  }

  growLater() {
    clearTimeout(this.growTimer);
    this.growTimer = setTimeout(() => this.emit("grow"), GROW_AFTER_MS);
  }

  click(view, voxel, positive) {
    if (!this.session || !voxel || !this.planes.frame.inside(voxel)) return undefined;
    this.moveCrosshair(voxel);
    if (this.picking) { const { picked } = this.picking; this.pick(null); return picked(voxel); }
    const holder = positive ? this.holderAt(voxel) : null;
    if (holder) return this.say(t("overlap.held", { name: anatomy(holder.name) }), "warning", { text: t("overlap.take"), run: () => this.setOverlap("overwrite").then(() => this.click(view, voxel, positive)) });
    const plane = this.planes.frame.plane(view);
    return this.addPrompts([{ type: "point", voxel: flipOrder(voxel.map((v) => Math.round(v * 100) / 100)), positive, plane }]);
  }

  /** The next click picks a place for something else than a prompt: {hint, picked}; null: no more. */
  pick(picking) {
    this.picking = picking;
    if (picking) this.say(picking.hint);
    this.emit("tool");
  }

  /** The label that keeps a voxel whatever is predicted for the selected one; null where it can be taken. */
  holderAt(voxel) {
    const holder = this.session.labels.find((label) => label.value === this.labelAt(voxel));
    if (!holder || holder.value === this.session.selected || holder.locked) return null; // a locked one answers for itself
    return this.session.overlap === "keep" || (this.session.overlap === "visible" && holder.visible === false) ? holder : null;
  }

  labelAt(voxel) {
    const { image, labels } = this.planes;
    const [x, y, z] = voxel.map(Math.round);
    return labels[x + image.dims[0] * (y + image.dims[1] * z)];
  }

  addStroke(drawn) {
    const slice = this.planes.crosshair[this.planes.frame.normal(drawn.view)];
    const prompt = strokePrompt(drawn, this.planes.frame, slice);
    return prompt ? this.addPrompts([prompt]) : undefined;
  }

  paint(drawn) {
    const { frame } = this.planes;
    if (!this.session.labels.length) return this.say(t("paint.first"), "warning");
    const centres = voxelLine(drawn.voxels, frame).map(flipOrder);
    const { ball, range, within } = this.brush;
    return this.edit({ kind: "paint", centres, radius_mm: this.brushMm, erase: drawn.erase, ...(ball ? {} : { plane: frame.plane(drawn.view) }),
      ...(range ? { low: range[0], high: range[1] } : {}), ...(within && !drawn.erase ? { within } : {}) });
  }

  edit(edit) {
    return this.change((at) => this.api.post(`${at}/edits`, { label: this.session.selected || undefined, edit }));
  }

  undo() { if (this.session?.can_undo) { clearTimeout(this.growTimer); return this.change((at) => this.api.post(`${at}/undo`)); } return undefined; }
  redo() { if (this.session?.can_redo) { clearTimeout(this.growTimer); return this.change((at) => this.api.post(`${at}/redo`)); } return undefined; }

  accept(view) {
    const { frame, crosshair } = this.planes;
    const body = { label: this.session.selected || undefined, plane: frame.plane(view), index: crosshair[frame.normal(view)] };
    return this.change((at) => this.api.post(`${at}/accept`, body)).then((ok) => ok && this.say(t("review.accepted", { slice: body.index + 1 })));
  }

  // --- prompts -----------------------------------------------------------------------------------------------------

  /** Prompts to draw; those of the selected label alone when they are to be grabbed. */
  shownPrompts(own = false) {
    const items = this.moving ? this.session.prompts.map((p) => (p.id === this.moving.id ? this.moving : p)) : this.session?.prompts ?? [];
    return own ? items.filter((p) => p.label === this.session.selected) : items;
  }

  choosePrompt(id) {
    this.chosenPrompt = id;
    this.emit("prompts");
    this.redrawMarks();
  }

  previewMove({ item, corner }, from, to, view) {
    this.moving = { ...item, prompt: moved(item.prompt, from, to, corner, this.planes.frame, view) };
    this.redrawMarks();
  }

  commitMove() {
    const { id, prompt } = this.moving ?? {};
    if (!prompt) return undefined;
    clearTimeout(this.growTimer);
    return this.change((at) => this.api.put(`${at}/prompts/${id}`, { prompt }))
      .finally(() => { this.moving = null; this.redrawMarks(); });
  }

  deletePrompt(id) {
    if (this.chosenPrompt === id) this.chosenPrompt = null;
    return this.change((at) => this.api.delete(`${at}/prompts/${id}`));
  }

  // --- labels ------------------------------------------------------------------------------------------------------

  /** The slices through the middle of a label: of its fullest axial slice. */
  goToLabel(value) {
    const { labels, image: { dims: [nx, ny, nz] } } = this.planes;
    const slices = Array.from({ length: nz }, () => ({ count: 0, x: 0, y: 0 }));
    for (let z = 0, at = 0; z < nz; z++)
      for (let y = 0; y < ny; y++)
        for (let x = 0; x < nx; x++, at++) if (labels[at] === value) { slices[z].count++; slices[z].x += x; slices[z].y += y; }
    const best = slices.reduce((most, slice, z) => (slice.count > slices[most].count ? z : most), 0);
    const { count, x, y } = slices[best];
    if (count) this.moveCrosshair([x / count, y / count, best]);
  }

  selectedLabel() { return this.session?.labels.find((l) => l.value === this.session.selected); }

  select(value) {
    if (!this.session?.labels.some((l) => l.value === value)) return;
    this.session.selected = value;
    this.chosenPrompt = null;
    this.emit("labels");
    this.emit("prompts");
    this.change((at) => this.api.patch(`${at}/labels/${value}`, { selected: true }));
    this.redrawMarks();
  }

  /** Choose the label that lies at a voxel. */
  selectAt(voxel) {
    if (!voxel || !this.planes.frame.inside(voxel)) return;
    this.moveCrosshair(voxel);
    this.select(this.labelAt(voxel));
  }

  /** Say what happens where a label's new voxels belong to another one: "keep", "overwrite" or "visible" (only those shown are taken). */
  setOverlap(rule) {
    return this.change((at) => {
      const hidden = this.session.labels.filter((label) => label.visible === false).map((label) => label.value);
      return this.api.put(`${at}/overlap`, { rule, spared: rule === "visible" ? hidden : [] });
    });
  }

  /** Add the labels of another file of the same study. */
  addMasksOf(series) { return this.change((at) => this.api.post(`${at}/masks`, { series })); }

  /** Add the labels of mask files, put onto the image's grid; `instead` opens the files as a study where they are none. */
  addMasks(files, instead) {
    return this.enqueue(async () => {
      await this.frames.take();
      const before = this.session.labels.length;
      let delta;
      try { delta = await this.api.upload(`/sessions/${this.session.id}/masks`, files.map((file) => ({ file, name: file.name }))); } catch (error) {
        if (isTemporary(error)) throw error;
        return this.say(error.message, "error", { text: t("masks.open"), run: instead });
      }
      await this.applyDelta(delta);
      this.emit("changed");
      return this.say(t("masks.added", { count: delta.labels.length - before }));
    });
  }

  /** Add labels [name, colour] that are not there yet; the first one is selected. */
  async addLabels(labels) {
    const named = (name) => this.session.labels.find((label) => label.name === name);
    for (const [name, colour] of labels) {
      if (named(name)) continue;
      if (!await this.newLabel(name)) return;
      await this.patchLabel(this.session.selected, { colour });
    }
    this.select(named(labels[0][0]).value);
  }

  newLabel(name) { return this.change((at) => this.api.post(`${at}/labels`, name ? { name } : {})); }
  patchLabel(value, body) {
    const done = this.change((at) => this.api.patch(`${at}/labels/${value}`, body));
    if (body.visible !== undefined && this.session.overlap === "visible") done.then((ok) => ok && this.setOverlap("visible"));
    return done;
  }
  deleteLabel(value) { return this.change((at) => this.api.delete(`${at}/labels/${value}`)); }
  mergeLabel(value, into) { return this.change((at) => this.api.post(`${at}/labels/${value}/merge`, { into })); }

  /** 256 RGBA: colour, and opacity where visible. */
  lut() {
    const lut = new Uint8Array(1024);
    for (const label of this.session?.labels ?? []) {
      const rgb = [1, 3, 5].map((i) => parseInt(label.colour.slice(i, i + 2), 16));
      lut.set([...rgb, label.visible === false ? 0 : Math.max(1, Math.round(255 * (label.opacity ?? 1)))], 4 * label.value);
    }
    return lut;
  }

  applyLook() {
    const lut = this.lut();
    const same = this.lastLut?.every((v, i) => v === lut[i]);
    this.lastLut = lut;
    this.planes.setLut(lut);
    if (!same && this.volume3d.planes) this.volume3d.setLut(lut);
  }
}
