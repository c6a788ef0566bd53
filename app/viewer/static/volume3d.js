// The 3D view: a second NiiVue on a small copy of the image and of the labels. It draws when the hand rests, and as
// finely as the graphics driver can: clicks and scrolling in the planes never wait for it.

import { standIn } from "./nifti.js";
import { isSoftware } from "./planes.js";

const LARGEST = { graphics: 160, software: 72 }; // voxels along the longest axis
const IDLE_MS = 250;
const GOOD_MS = 60; // a picture that takes longer is drawn coarser next time
const BODY = 0.8; // opacity of the picture behind the masks
const COARSEST = 0.3;

export class Volume3D {
  constructor(canvas, niivue) {
    this.canvas = canvas;
    this.niivue = niivue;
    this.planes = null; // whose image is shown
    this.small = null; // the copy: {buffer, dims}
    this.rasDims = [1, 1, 1]; // the copy's voxels along R, A, S
    this.perm = [1, 2, 3]; // its native axis along R, A, S; negative: flipped
    /** @type {Promise<void> | null} */
    this.started = null;
    this.picture = true;
    this.cost = 0;
    this.size = [0, 0];
    this.isAwaited = () => false; // whether a person waits for an answer, which comes first
  }

  async start() {
    this.nv = new this.niivue.Niivue({ interactive: false, isResizeCanvas: false, isOrientationTextVisible: false,
      crosshairWidth: 0, show3Dcrosshair: false, isOrientCube: true, isColorbar: false, loadingText: "",
      backColor: [0, 0, 0, 1], sliceType: 4, smoothDrawing: 1, dragAndDropEnabled: false, logLevel: "silent" });
    await this.nv.attachToCanvas(this.canvas, false);
    this.kind = isSoftware(this.nv.gl) ? "software" : "graphics";
    this.quality = this.kind === "software" ? 0.5 : 1;
  }

  /** Show an image. @param low value where the body begins to be drawn; @param high fully drawn. */
  async load(planes, low, high) {
    await (this.started ??= this.start());
    const small = standIn(planes.image, LARGEST[this.kind]);
    const volume = await this.niivue.NVImage.new(small.buffer, "image.nii", "gray", 1, null, low, high);
    Object.assign(volume, { cal_min: low, cal_max: high, opacity: BODY });
    this.nv.isBusy = true; // no drawing in between
    for (const old of [...this.nv.volumes]) this.nv.removeVolume(old);
    this.nv.addVolume(volume);
    this.nv.createEmptyDrawing();
    this.nv.isBusy = false;
    Object.assign(this, { planes, small, rasDims: volume.dimsRAS.slice(1, 4), perm: volume.permRAS });
    this.reset();
    this.showPicture(this.picture);
  }

  unload() { this.planes = null; }

  /** Bring the small labels up to date inside a half-open box (z, y, x) of the full grid; null: everywhere. */
  update(box) {
    if (!this.planes) return;
    const { small } = this;
    const { image, labels } = this.planes;
    const [[z0, y0, x0], [z1, y1, x1]] = box ?? [[0, 0, 0], [image.dims[2], image.dims[1], image.dims[0]]];
    const low = [x0, y0, z0], high = [x1, y1, z1];
    const scale = small.dims.map((n, i) => n / image.dims[i]);
    const from = low.map((v, i) => Math.max(0, Math.floor(v * scale[i])));
    const to = high.map((v, i) => Math.min(small.dims[i], Math.ceil(v * scale[i])));
    const places = [0, 1, 2].map((i) => this.places(i, from[i], to[i]));
    const centre = (j, i) => Math.min(image.dims[i] - 1, Math.floor((j + 0.5) / scale[i]));
    const columns = Array.from({ length: to[0] - from[0] }, (_, i) => centre(from[0] + i, 0));
    const [nx, ny] = image.dims;
    for (let z = from[2]; z < to[2]; z++)
      for (let y = from[1]; y < to[1]; y++) {
        const row = nx * (centre(y, 1) + ny * centre(z, 2));
        const at = places[2][z - from[2]] + places[1][y - from[1]];
        for (let x = 0; x < columns.length; x++) this.nv.drawBitmap[at + places[0][x]] = labels[row + columns[x]];
      }
    this.stale = true;
    this.later();
  }

  /** What native positions from..to along an axis add to the place in NiiVue's RAS drawing. */
  places(axis, from, to) {
    const r = this.perm.findIndex((p) => Math.abs(p) - 1 === axis);
    const step = [1, this.rasDims[0], this.rasDims[0] * this.rasDims[1]][r];
    return Array.from({ length: to - from }, (_, i) => step * (this.perm[r] < 0 ? this.rasDims[r] - 1 - from - i : from + i));
  }

  /** Colours: Uint8Array of 256 RGBA; what has any opacity is drawn solid. */
  setLut(lut) {
    this.nv.drawLut.lut = Uint8ClampedArray.from(lut, (v, i) => (i % 4 === 3 && v > 0 ? 255 : v));
    this.nv.refreshColormaps();
    this.later();
  }

  /** Look from the front again. */
  reset() {
    Object.assign(this.nv.scene, { renderAzimuth: 160, renderElevation: 12, volScaleMultiplier: 1.25 });
    this.soon();
  }

  /** The body behind the masks, or the masks alone. */
  showPicture(on) {
    this.picture = on;
    if (!this.planes) return;
    this.nv.setOpacity(0, on ? BODY : 0);
    this.later();
  }

  turn(dx, dy) {
    const scene = this.nv.scene;
    scene.renderAzimuth = (scene.renderAzimuth - dx / 2 + 360) % 360;
    scene.renderElevation = Math.max(-89, Math.min(89, scene.renderElevation + dy / 2));
    this.soon();
  }

  zoom(factor) {
    this.nv.scene.volScaleMultiplier = Math.min(6, Math.max(0.4, this.nv.scene.volScaleMultiplier * factor));
    this.soon();
  }

  /** The pane's size in device pixels. */
  resize(width, height) {
    this.size = [width, height];
    this.later();
  }

  soon() {
    this.request ??= requestAnimationFrame(() => { this.request = null; this.draw(); });
  }

  /** Draw when nothing has asked for it for a while and no answer is awaited; a slow driver is asked less often. */
  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.isAwaited() ? this.later() : this.soon(), Math.max(IDLE_MS, Math.min(3000, 5 * this.cost)));
  }

  draw() {
    if (!this.planes || !this.size[0] || this.canvas.hidden) return;
    const [width, height] = this.size.map((v) => Math.max(32, Math.round(v * this.quality)));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const started = performance.now();
    if (this.stale) this.nv.refreshDrawing(false);
    this.stale = false;
    this.nv.drawScene();
    this.nv.gl.readPixels(0, 0, 1, 1, this.nv.gl.RGBA, this.nv.gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits for the picture
    this.cost = performance.now() - started;
    if (this.cost > 1.5 * GOOD_MS) this.quality = Math.max(COARSEST, this.quality * 0.75);
    else if (this.cost < GOOD_MS / 4 && this.quality < 1) { this.quality = Math.min(1, this.quality * 1.25); this.later(); }
  }
}
