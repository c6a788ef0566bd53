// The 3D view: a second NiiVue on the stand-in volume and stand-in labels. It draws when the hand rests, so that
// clicks and scrolling in the planes never wait for it.

const IDLE_MS = 250;

export class Volume3D {
  constructor(canvas, niivue) {
    this.canvas = canvas;
    this.niivue = niivue;
  }

  async start() {
    this.nv = new this.niivue.Niivue({ interactive: false, isResizeCanvas: false, isOrientationTextVisible: false,
      crosshairWidth: 0, show3Dcrosshair: false, isOrientCube: false, isColorbar: false, loadingText: "",
      backColor: [0, 0, 0, 1], sliceType: 4, smoothDrawing: 1, dragAndDropEnabled: false, logLevel: "silent" });
    await this.nv.attachToCanvas(this.canvas, false);
    this.nv.setSliceType(4);
  }

  /** Show the planes' stand-in volume. @param low value where the body begins to be drawn; @param high fully drawn. */
  async load(planes, low, high) {
    const volume = await this.niivue.NVImage.new(planes.small.buffer.slice(0), "image.nii", "gray", 1, null, low, high);
    for (const old of [...this.nv.volumes]) this.nv.removeVolume(old);
    volume.cal_min = low;
    volume.cal_max = high;
    this.nv.addVolume(volume);
    this.nv.setOpacity(0, 0.22);
    this.nv.createEmptyDrawing();
    this.planes = planes;
    this.step = volume.img2RASstep;
    this.first = volume.img2RASstart;
    this.rasDims = volume.dimsRAS.slice(1, 4);
    this.perm = volume.permRAS;
    this.nv.scene.renderAzimuth = 160;
    this.nv.scene.renderElevation = 12;
    this.nv.scene.volScaleMultiplier = 1.25;
  }

  /** Bring the stand-in labels up to date inside a half-open box (z, y, x) of the full grid; null: everywhere. */
  update(box) {
    if (!this.planes) return;
    const { image, labels, small } = this.planes;
    const [[z0, y0, x0], [z1, y1, x1]] = box ?? [[0, 0, 0], [image.dims[2], image.dims[1], image.dims[0]]];
    const low = [x0, y0, z0], high = [x1, y1, z1];
    const scale = small.dims.map((n, i) => n / image.dims[i]);
    const from = low.map((v, i) => Math.max(0, Math.floor(v * scale[i])));
    const to = high.map((v, i) => Math.min(small.dims[i], Math.ceil(v * scale[i])));
    const centre = (j, i) => Math.min(image.dims[i] - 1, Math.floor((j + 0.5) / scale[i]));
    const [nx, ny] = image.dims;
    for (let z = from[2]; z < to[2]; z++)
      for (let y = from[1]; y < to[1]; y++) {
        const row = nx * (centre(y, 1) + ny * centre(z, 2));
        for (let x = from[0]; x < to[0]; x++) this.nv.drawBitmap[this.index(x, y, z)] = labels[row + centre(x, 0)];
      }
    this.stale = true;
    this.later();
  }

  /** Place of a native stand-in voxel in NiiVue's RAS drawing. */
  index(x, y, z) {
    const native = [x, y, z];
    const ras = this.perm.map((p, r) => {
      const v = native[Math.abs(p) - 1];
      return p < 0 ? this.rasDims[r] - 1 - v : v;
    });
    return ras[0] + this.rasDims[0] * (ras[1] + this.rasDims[1] * ras[2]);
  }

  setLut(lut) {
    const channel = (i) => Array.from({ length: 256 }, (_, v) => lut[4 * v + i]);
    const alpha = channel(3).map((a) => (a > 0 ? 255 : 0));
    this.nv.drawLut = this.niivue.cmapper.makeDrawLut({ R: channel(0), G: channel(1), B: channel(2), A: alpha,
      I: Array.from({ length: 256 }, (_, v) => v), labels: [] });
    this.nv.drawLut.lut.set(lut.map((v, i) => (i % 4 === 3 ? (v > 0 ? 255 : 0) : v)));
    this.nv.updateGLVolume();
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

  soon() {
    if (this.frameRequest) return;
    this.frameRequest = requestAnimationFrame(() => { this.frameRequest = null; this.draw(); });
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.soon(), IDLE_MS);
  }

  draw() {
    if (!this.planes || !this.canvas.width || this.canvas.hidden) return;
    if (this.stale) this.nv.refreshDrawing(false);
    this.stale = false;
    this.nv.drawScene();
  }
}
