// What the program does with the server: the session it shows, jobs, review. Changes are in editing.js.

import { isTemporary } from "./api.js";
import { oddSlices } from "./doubt.js";
import { anatomy, t } from "./i18n.js";
import { Editing } from "./editing.js";
import { startingWindow } from "./windows.js";

export class App extends Editing {
  constructor(api, planes, volume3d) {
    super(api, planes, volume3d);
    this.review = null;
    this.job = null; // what changes the labels; clicks wait for it
    this.beside = null; // what runs while clicks go on
    this.keepIdentity = false; // of the patient, in DICOM objects that are taken away
    /** @type {Record<string, string>} */
    this.about = {}; // what the image's DICOM files say of patient and study
    this.on("changed", () => this.reviewLater());
    this.on("grow", () => this.grow());
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
    this.planes.measured = state.measured;
    this.about = {};
    this.range = {};
    this.api.get(`/studies/${state.study}/series/${encodeURIComponent(state.series)}/about`).then((about) => { this.about = about; this.redrawMarks(); }, () => {});
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
    await this.frames.reset();
    this.emit("frame");
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
    this.volume3d.picture = !this.settings.masksOnly;
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

  /** Leave the session; the server keeps it. */
  async leave() {
    clearTimeout(this.growTimer);
    this.picking = null;
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

  // --- jobs --------------------------------------------------------------------------------------------------------

  grow() {
    clearTimeout(this.growTimer);
    if (!this.session?.prompts.length || this.flat2d) return undefined;
    return this.startJob("propagate", (at) => this.api.post(`${at}/propagate`, { label: this.session.selected || undefined, afresh: true }));
  }

  /** What was grown beyond the first or last slice goes. */
  keepToRange() {
    const [[plane, { first = 0, last }] = ["", {}]] = Object.entries(this.range);
    if (!plane || (!first && last === undefined)) return;
    const end = this.planes.frame.count(this.planes.frame.view(plane)) - 1;
    this.edit({ kind: "keep slices", plane, first: Math.min(first, last ?? end), last: Math.max(first, last ?? end) });
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
      if (kind === "propagate" && last.kind === "done") this.keepToRange();
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
      const anchors = (strips[0] ?? []).flatMap((v, z) => (v === 1 ? [z] : []));
      this.review = { items, slices: Object.fromEntries(planes.map((plane, i) => [plane, strips[i]])), odd: oddSlices(this.planes, selected, anchors) };
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
