// The frames of a 4D image: each has a session of its own, with its prompts and masks. A frame without one is looked at
// until something is put there; then its session is made, with the same labels.

const MOST_BYTES = 512 * 2 ** 20; // of frames kept for playing

export class Frames {
  constructor(app) {
    this.app = app;
    this.known = new Map(); // frame to session, of the image that is shown
    this.pictures = new Map(); // frame to ArrayBuffer
    this.timer = 0;
  }

  get count() { return this.app.session?.frames ?? 1; }
  get own() { return this.app.session?.frame ?? 0; }

  /** Begin with another image. */
  async reset() {
    this.stop();
    this.pictures.clear();
    this.known.clear();
    const { session, api } = this.app;
    if (this.count < 2) return;
    const alike = (line) => ["study", "series", "model"].every((key) => line[key] === session[key]);
    for (const line of (await api.get("/sessions")).filter(alike).reverse()) this.known.set(line.frame ?? 0, line.id);
    this.known.set(this.own, session.id);
  }

  /** Go to a frame: its masks where it has any, else its picture alone. */
  go(frame) {
    this.stop();
    return this.app.enqueue(async () => {
      if (frame === this.own && this.app.shownFrame === frame) return this.app.showMasks(true);
      await this.show(frame);
      if (this.known.has(frame)) await this.enter(await this.app.api.get(`/sessions/${this.known.get(frame)}`));
      else this.app.showMasks(false);
      return undefined;
    });
  }

  /** A frame's picture. */
  async show(frame) {
    const { app } = this;
    if (!this.pictures.has(frame)) this.keep(frame, await app.api.bytes(`/sessions/${app.session.id}/image.nii?frame=${frame}`));
    app.planes.replaceVoxels(this.pictures.get(frame));
    app.shownFrame = frame;
    app.followPointer();
    app.emit("frame");
    app.redraw();
  }

  keep(frame, bytes) {
    if (bytes.byteLength * (this.pictures.size + 1) > MOST_BYTES) this.pictures.delete(this.pictures.keys().next().value);
    this.pictures.set(frame, bytes);
  }

  /** The session of the frame that is shown, so that a change goes there; made where there is none. */
  async take() {
    if (this.playing) this.stop();
    if (this.app.shownFrame === this.own) return;
    await this.enter(await this.app.api.post(`/sessions/${this.app.session.id}/frames/${this.app.shownFrame}`));
  }

  /** The masks of this frame on the next one, to be corrected there. */
  carry() {
    const { app } = this;
    return app.enqueue(async () => {
      await this.take();
      const frame = this.own + 1;
      const state = await app.api.post(`/sessions/${app.session.id}/frames/${frame}`, { carry: true });
      await this.show(frame);
      await this.enter(state);
    });
  }

  /** Go on in another frame's session; view, slice and window stay. */
  async enter(state) {
    const { app } = this;
    const chosen = app.selectedLabel()?.name;
    app.leave();
    app.session = state;
    const same = state.labels.find((label) => label.name === chosen);
    if (same) state.selected = same.value;
    this.known.set(this.own, state.id);
    app.chosenPrompt = null;
    app.masks = true;
    await app.loadLabels();
    app.volume3d.update(null);
    app.emit("moved", state);
    app.emit("frame");
    app.reviewLater();
    app.redraw();
  }

  // --- playing -----------------------------------------------------------------------------------------------------

  get playing() { return this.timer !== 0; }

  /** Play from the frame that is shown, so many frames a second, round and round. */
  play(perSecond) {
    this.stop();
    this.app.showMasks(false);
    const next = async () => {
      const mine = this.timer;
      const started = performance.now();
      try { await this.show((this.app.shownFrame + 1) % this.count); } catch (error) { this.stop(); this.app.fail(error); }
      if (this.timer === mine) this.timer = window.setTimeout(next, Math.max(0, 1000 / perSecond - (performance.now() - started)));
    };
    this.timer = window.setTimeout(next, 0);
    this.app.emit("frame");
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.app.emit("frame");
  }
}
