// What the program does with the server: the session, changes, prompts, labels, jobs, review.

import { inflate, isTemporary } from "./api.js";
import { flipOrder } from "./geometry.js";
import { anatomy, t } from "./i18n.js";
import { Looking } from "./looking.js";
import { moved } from "./moved.js";
import { strokePrompt, voxelLine } from "./tools.js";
import { startingWindow } from "./windows.js";

const GROW_AFTER_MS = 700; // after the last prompt, when the mask grows by itself

export class App extends Looking {
  constructor(api, planes, volume3d) {
    super(planes);
    this.api = api;
    this.volume3d = volume3d;
    this.session = null;
    this.review = null;
    this.job = null; // what changes the labels; clicks wait for it
    this.beside = null; // what runs while clicks go on
    this.chosenPrompt = null;
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

  // --- session -----------------------------------------------------------------------------------------------------

  /**
   * Show a session: its picture, labels and prompts.
   * @param {string} id
   * @param {{onProgress?: (share: number) => void}} [options]
   */
  async openSession(id, { onProgress } = {}) {
    const state = await this.api.get(`/sessions/${id}`);
    const image = await this.api.bytes(`/sessions/${id}/image.nii`, onProgress);
    await this.leave();
    await this.planes.load(image);
    this.planes.placed = isPlaced(this.planes.image);
    this.session = state;
    this.review = null;
    this.chosenPrompt = null;
    this.shownFrame = state.frame ?? 0;
    this.masks = true;
    const first = startingWindow(state, this.planes);
    this.planes.window = { low: first.low, high: first.high };
    this.emit("session", state);
    await this.loadLabels();
    this.load3d(state);
    this.emit("slice");
    this.redraw();
    if (state.labels.length) this.loadReview();
    if (state.job) this.api.get(`/jobs/${state.job}`).then((job) => this.followJob(job.id, job.kind), (error) => this.fail(error));
  }

  async load3d(state) {
    this.volume3d.unload();
    if (this.flat2d || !this.settings.volume3d) return;
    const body = state.modality === "CT" ? [130, 500] : startingWindow(state, this.planes, 3);
    const [low, high] = Array.isArray(body) ? body : [body.low, body.high];
    await this.volume3d.load(this.planes, low, high);
    this.volume3d.setLut(this.lut());
    this.volume3d.update(null);
  }

  async loadLabels() {
    const bytes = await this.api.bytes(`/sessions/${this.session.id}/labels.nii`);
    const offset = new DataView(bytes).getFloat32(108, true);
    this.planes.setLabels(new Uint8Array(bytes, offset, this.planes.labels.length).slice());
    this.applyLook();
    this.emit("labels");
    this.emit("prompts");
  }

  get flat2d() { return this.planes.frame?.flat >= 0; }

  /** Leave the session; the server keeps it. */
  async leave() {
    clearTimeout(this.growTimer);
    for (const slot of ["job", "beside"]) {
      if (!this[slot] || this[slot].kind === "pull") continue; // a download goes on, whatever is looked at
      this.api.following.get(this[slot].id)?.();
      this[slot] = null;
    }
    this.emit("job");
  }

  async close() {
    await this.leave();
    this.session = null;
    this.emit("session", null);
  }

  /** After a lost connection: take the server's state as it is now. */
  async resume() {
    if (!this.session) return;
    const state = await this.api.get(`/sessions/${this.session.id}`);
    this.session = { ...this.session, ...state };
    await this.loadLabels();
    this.volume3d.update(null);
    this.emit("session-state");
    this.redraw();
  }

  // --- changes -----------------------------------------------------------------------------------------------------

  async applyDelta(delta) {
    if (!delta || !this.session) return;
    await this.patch(delta);
    for (const key of ["revision", "labels", "selected", "prompts", "can_undo", "can_redo"])
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
      const delta = await send(`/sessions/${this.session.id}`);
      await this.applyDelta(delta);
      this.lastChange = { server_s: delta?.seconds, started };
      this.reviewLater();
      return delta ?? true;
    });
  }

  /** Prompts and masks belong to the session's frame: said, and true, while another one is looked at. */
  refusesFrame() {
    const own = this.session.frame ?? 0;
    if (this.shownFrame === own) return false;
    this.say(t("frame.other", { own: own + 1, shown: this.shownFrame + 1 }), "warning");
    return true;
  }

  addPrompts(prompts) {
    if (this.refusesFrame()) return undefined;
    clearTimeout(this.growTimer);
    const label = this.session.selected || undefined;
    const done = this.change((at) => this.api.post(`${at}/prompts`, { label, prompts, propagate: false }));
    if (this.settings.autoGrow && !this.flat2d) done.then((ok) => ok && this.growLater());
    return done;
  }

  growLater() {
    clearTimeout(this.growTimer);
    this.growTimer = setTimeout(() => this.grow(), GROW_AFTER_MS);
  }

  click(view, voxel, positive) {
    if (!this.session || !voxel || !this.planes.frame.inside(voxel)) return undefined;
    this.moveCrosshair(voxel);
    const plane = this.planes.frame.plane(view);
    return this.addPrompts([{ type: "point", voxel: flipOrder(voxel.map((v) => Math.round(v * 100) / 100)), positive, plane }]);
  }

  addStroke(drawn) {
    const slice = this.planes.crosshair[this.planes.frame.normal(drawn.view)];
    const prompt = strokePrompt(drawn, this.planes.frame, slice);
    return prompt ? this.addPrompts([prompt]) : undefined;
  }

  paint(drawn) {
    const { frame } = this.planes;
    if (!this.session.labels.length) return this.say(t("paint.first"), "warning");
    if (this.refusesFrame()) return undefined;
    const centres = voxelLine(drawn.voxels, frame).map(flipOrder);
    return this.edit({ kind: "paint", centres, radius_mm: this.brushMm, erase: drawn.erase, plane: frame.plane(drawn.view) });
  }

  edit(edit) {
    const label = this.session.selected || undefined;
    return this.change((at) => this.api.post(`${at}/edits`, { label, edit }));
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
    const { frame, image, labels } = this.planes;
    if (!voxel || !frame.inside(voxel)) return;
    const [x, y, z] = voxel.map(Math.round);
    this.moveCrosshair(voxel);
    this.select(labels[x + image.dims[0] * (y + image.dims[1] * z)]);
  }

  newLabel(name) { return this.change((at) => this.api.post(`${at}/labels`, name ? { name } : {})); }
  patchLabel(value, body) { return this.change((at) => this.api.patch(`${at}/labels/${value}`, body)); }
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

  // --- jobs --------------------------------------------------------------------------------------------------------

  grow() {
    clearTimeout(this.growTimer);
    if (!this.session?.prompts.length || this.flat2d) return undefined;
    return this.startJob("propagate", (at) => this.api.post(`${at}/propagate`, { label: this.session.selected || undefined, afresh: true }));
  }

  startJob(kind, send) {
    return this.enqueue(async () => {
      const { id } = await send(`/sessions/${this.session.id}`);
      this.followJob(id, kind);
      return id;
    });
  }

  /** A whole-body job has brought labels: say how many, show the one that was asked for. */
  showFound(kind, { labels, selected, changed }, before) {
    const found = labels.length - before;
    if (kind === "wholebody") return this.say(t("wholebody.done", { count: found }));
    const name = anatomy(labels.find((label) => label.value === selected)?.name ?? "");
    this.moveCrosshair(changed[0].map((low, i) => Math.floor((low + changed[1][i]) / 2)).reverse());
    return this.say(t("text.done", { name }));
  }

  /** Show a job's progress and deltas until its end; returns a promise of the last event. */
  async followJob(job, kind) {
    const slot = kind === "propagate" ? "job" : "beside"; // beside: clicks go on meanwhile
    this[slot] = { id: job, kind, done: 0, total: 0, left_s: null };
    this.emit("job");
    try {
      const last = await this.api.follow(job, (event) => this.onProgress(slot, job, event));
      await this.growing;
      const before = this.session?.labels.length;
      if (last.delta) await this.applyDelta(last.delta);
      if (last.kind === "done" && ["wholebody", "text"].includes(kind)) this.showFound(kind, last.delta, before);
      if (last.kind === "failed") this.say(last.detail, "error");
      if (this[slot]?.id === job && last.kind === "done") this.finished = { kind, at: performance.now() };
      this.emit("job-end", { ...last, job, kind });
      return last;
    } catch (error) {
      this.fail(error);
      return null;
    } finally {
      if (this[slot]?.id === job) { this[slot] = null; this.emit("job"); }
      this.reviewLater();
    }
  }

  onProgress(slot, job, event) {
    if (this[slot]?.id !== job) return;
    Object.assign(this[slot], { done: event.done, total: event.total, left_s: event.left_s });
    this.emit("job");
    if (event.delta) this.growing = (this.growing ?? Promise.resolve()).then(() => this.patch(event.delta)); // in order
  }

  cancelJob() {
    const job = this.job ?? this.beside;
    if (job) this.api.delete(`/jobs/${job.id}`).catch((error) => this.fail(error));
  }

  // --- review ------------------------------------------------------------------------------------------------------

  /** Go to the next (or, with -1, the last) of the slices to look at, worst first. */
  nextToReview(step) {
    const items = this.review?.items ?? [];
    if (!items.length) return;
    this.reviewAt = ((this.reviewAt ?? (step > 0 ? -1 : 0)) + step + items.length) % items.length;
    const { plane, index } = items[this.reviewAt];
    this.lastView = this.goTo(plane, index);
  }

  reviewLater() {
    clearTimeout(this.reviewTimer);
    this.reviewTimer = setTimeout(() => this.loadReview(), 400);
  }

  /** The slices to look at, and the confidence along each axis (null: nothing known, 1: prompted or accepted). */
  async loadReview() {
    if (!this.session?.selected) return;
    const { id, selected } = this.session;
    const planes = this.flat2d ? [] : ["axial", "coronal", "sagittal"];
    try {
      const [items, ...strips] = await Promise.all([this.api.get(`/sessions/${id}/review?label=${selected}`),
        ...planes.map((plane) => this.api.get(`/sessions/${id}/confidence?label=${selected}&plane=${plane}`))]);
      this.reviewAt = undefined;
      this.review = { items, slices: Object.fromEntries(planes.map((plane, i) => [plane, strips[i]])) };
      this.emit("review");
    } catch (error) {
      if (!isTemporary(error) && error.status !== 404) this.fail(error);
    }
  }

}

/** False for pictures whose file says nothing of a patient: no letters, no millimetres. */
function isPlaced(image) {
  const plain = [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0]];
  return image.affine.some((row, r) => row.some((v, c) => Math.abs(v - plain[r][c]) > 1e-6));
}
