// The three planes: NiiVue lays out and draws the slices of a small stand-in volume; our shader fills them from the
// full-resolution image and label textures. Masks change by their box (texSubImage3D), never as a whole overlay.

import { Frame, VIEWS, flipOrder } from "./geometry.js";
import { parseNifti, standIn } from "./nifti.js";
import { Preview } from "./preview.js";
import { sliceShader } from "./shader.js";

const UNITS = { image: 11, labels: 12, lut: 13 }; // NiiVue uses 0..10
const STAND_IN = 8; // voxels along the longest axis: NiiVue needs the extent here, our shader brings the picture
const RANGE_TINT = 0.25; // of what a brush with a range of intensities can paint
const MARGIN = 1.03; // of the image, kept free around it
const FORMATS = { i16: ["R16I", "RED_INTEGER", "SHORT"], i8: ["R8I", "RED_INTEGER", "BYTE"],
  u8: ["R8UI", "RED_INTEGER", "UNSIGNED_BYTE"], u16: ["R16UI", "RED_INTEGER", "UNSIGNED_SHORT"],
  f32: ["R32F", "RED", "FLOAT"], rgb: ["RGB8UI", "RGB_INTEGER", "UNSIGNED_BYTE"] };
const NIIVUE_OPTIONS = { interactive: false, isResizeCanvas: false, isOrientationTextVisible: false, crosshairWidth: 0,
  isRadiologicalConvention: true, sagittalNoseLeft: true, isColorbar: false, isSliceMM: false, dragAndDropEnabled: false,
  loadingText: "", backColor: [0, 0, 0, 1], show3Dcrosshair: false, logLevel: "silent" };

/** True where a processor draws in place of a graphics card. */
export function isSoftware(gl) {
  const extension = gl.getExtension("WEBGL_debug_renderer_info");
  return /swiftshader|llvmpipe|software/i.test(gl.getParameter(extension ? extension.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

export class Planes {
  constructor(canvas, niivue) {
    this.canvas = canvas;
    this.niivue = niivue;
    this.panes = new Map(); // view -> {rect: [left, top, width, height] in canvas pixels, pan: [x, y] mm, zoom}
    this.strength = { fill: 0.7, line: 2 };
    this.window = { low: 0, high: 1 };
    /** @type {number[] | null} */
    this.shownRange = null; // intensities that are tinted
    /** @type {any} */
    this.nv = null; // NiiVue itself, once started
    /** @type {any} */
    this.gl = null;
    /** @type {any} */
    this.preview = null;
    this.image = null;
    /** @type {any} */
    this.frame = null; // the image's Frame
    this.labels = new Uint8Array(0);
    this.crosshair = [0, 0, 0]; // native voxel
    this.placed = true; // whether the file says how the patient lies: letters
    this.measured = true; // whether it says how large its voxels are: millimetres, else pixels
    this.textures = {};
    /** @type {any} */
    this.at = null; // places of the shader's uniforms
    /** @type {any} */
    this.drawing = null; // the pane that NiiVue draws now
    this.wanted = []; // views to draw
  }

  async start() {
    this.nv = new this.niivue.Niivue(NIIVUE_OPTIONS);
    this.canvas.getContext("webgl2", { alpha: true, antialias: false, preserveDrawingBuffer: true }); // panes are drawn singly
    await this.nv.attachToCanvas(this.canvas, false);
    this.gl = this.nv.gl;
    this.slow = isSoftware(this.gl);
    this.preview = new Preview(this.gl);
    const extended = this.nv.screenFieldOfViewExtendedVox.bind(this.nv);
    const draw = this.nv.draw2DMain.bind(this.nv);
    const clear = this.nv.clearBounds.bind(this.nv);
    this.nv.clearBounds = (mask, rect) => (rect ? clear(mask, rect) : this.wanted.forEach((view) => clear(mask, this.panes.get(view).rect)));
    this.nv.calculateWidthHeight = (_type, _scale, width, height) => [width, height]; // a pane is used whole
    this.nv.screenFieldOfViewExtendedVox = (type) => this.fieldOfView(extended(type));
    this.nv.draw2DMain = (rect, type, mm) => {
      const [, pane] = [...this.panes.entries()].find(([view]) => VIEWS[view].type === type) ?? [];
      if (!pane || !this.textures?.labels) return; // NiiVue draws by itself while a volume comes in
      this.drawing = pane;
      draw(rect, type, mm);
    };
  }

  /** Show an image: ArrayBuffer with a NIfTI-1 file. */
  async load(buffer) {
    const image = parseNifti(buffer);
    const volume = await this.niivue.NVImage.new(standIn(image, STAND_IN).buffer, "image.nii", "gray");
    this.nv.isBusy = true; // no drawing in between
    for (const old of [...this.nv.volumes]) this.nv.removeVolume(old);
    this.nv.addVolume(volume);
    this.image = image;
    this.panes.forEach((pane) => { pane.laidOut = null; });
    this.frame = new Frame(image, volume.permRAS);
    this.labels = new Uint8Array(image.dims[0] * image.dims[1] * image.dims[2]);
    this.nv.setCustomSliceShader(sliceShader(image.kind));
    this.nv.isBusy = false;
    this.makeTextures();
    this.panes.forEach((pane) => { pane.pan = [0, 0]; pane.zoom = 1; });
    this.crosshair = image.dims.map((n) => Math.floor(n / 2));
  }

  /** Replace the image's voxels by another frame of the same grid. */
  replaceVoxels(buffer) {
    const image = parseNifti(buffer);
    this.image = { ...image, affine: this.image.affine };
    this.upload("image", FORMATS[image.kind], image.dims, image.data);
  }

  makeTextures() {
    const gl = this.gl;
    const limit = Math.max(this.image.dims[0], this.image.dims[1]);
    if (limit > gl.getParameter(gl.MAX_TEXTURE_SIZE) || this.image.dims[2] > gl.getParameter(gl.MAX_ARRAY_TEXTURE_LAYERS))
      throw new Error(`this graphics driver shows images up to ${gl.getParameter(gl.MAX_TEXTURE_SIZE)} pixels wide and ${gl.getParameter(gl.MAX_ARRAY_TEXTURE_LAYERS)} slices deep`);
    this.upload("image", FORMATS[this.image.kind], this.image.dims, this.image.data);
    this.upload("labels", FORMATS.u8, this.image.dims, this.labels);
    this.upload("lut", ["RGBA8", "RGBA", "UNSIGNED_BYTE"], [256, 1, 0], new Uint8Array(1024));
    this.setUniforms();
  }

  /** @param {string[]} format @param {number[]} dims */
  upload(name, format, dims, data) {
    const [internal, layout, type] = format;
    const [width, height, depth] = dims;
    const gl = this.gl;
    const target = depth ? gl.TEXTURE_2D_ARRAY : gl.TEXTURE_2D;
    if (this.textures[name]) gl.deleteTexture(this.textures[name]);
    this.textures[name] = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + UNITS[name]);
    gl.bindTexture(target, this.textures[name]);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(target, filter, gl.NEAREST);
    if (!depth) {
      gl.texStorage2D(target, 1, gl[internal], width, height);
      gl.texSubImage2D(target, 0, 0, 0, width, height, gl[layout], gl[type], data);
      return;
    }
    gl.texStorage3D(target, 1, gl[internal], width, height, depth);
    const slice = data.length / depth;
    const slices = Math.max(1, Math.floor(2 ** 24 / slice)); // in pieces: a driver copies each piece
    for (let z = 0; z < depth; z += slices) {
      const count = Math.min(slices, depth - z);
      gl.texSubImage3D(target, 0, 0, 0, z, width, height, count, gl[layout], gl[type], data.subarray(z * slice, (z + count) * slice));
    }
  }

  /** All labels anew: uint8, x fastest. */
  setLabels(voxels) {
    this.labels = voxels;
    this.upload("labels", FORMATS.u8, this.image.dims, voxels);
  }

  /** The labels of a half-open box ((z0, y0, x0), (z1, y1, x1)) anew, in place. */
  patchLabels([[z0, y0, x0], [z1, y1, x1]], voxels) {
    const gl = this.gl;
    const [nx, ny] = this.image.dims;
    const width = x1 - x0;
    let at = 0;
    for (let z = z0; z < z1; z++)
      for (let y = y0; y < y1; y++, at += width) this.labels.set(voxels.subarray(at, at + width), x0 + nx * (y + ny * z));
    gl.activeTexture(gl.TEXTURE0 + UNITS.labels);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.textures.labels);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, x0, y0, z0, width, y1 - y0, z1 - z0, gl.RED_INTEGER, gl.UNSIGNED_BYTE, voxels);
  }

  /** Colours and opacities: Uint8Array of 256 RGBA. */
  setLut(lut) {
    const gl = this.gl;
    this.lut = lut;
    gl.activeTexture(gl.TEXTURE0 + UNITS.lut);
    gl.bindTexture(gl.TEXTURE_2D, this.textures.lut);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 256, 1, gl.RGBA, gl.UNSIGNED_BYTE, lut);
  }

  setUniforms() {
    const { gl, frame, image } = this;
    const { program } = this.nv.customSliceShader;
    const at = (name) => gl.getUniformLocation(program, name);
    gl.useProgram(program);
    for (const [name, unit] of Object.entries(UNITS)) gl.uniform1i(at(name), unit);
    gl.uniform3i(at("dims"), ...image.dims);
    gl.uniform3i(at("normals"), ...["axial", "coronal", "sagittal"].map((view) => frame.normal(view)));
    const matrix = new Float32Array(9); // column r: where RAS axis r goes among the native axes
    const shift = [0, 0, 0];
    frame.axes.forEach(({ axis, flip }, r) => {
      matrix[3 * r + axis] = flip ? -1 : 1;
      shift[axis] = flip ? 1 : 0;
    });
    gl.uniformMatrix3fv(at("toNative"), false, matrix);
    gl.uniform3f(at("toNativeShift"), ...shift);
    this.at = { mapping: at("mapping"), strength: at("strength"), shownRange: at("shownRange") };
  }

  fieldOfView(screen) {
    const { rect, pan, zoom } = this.drawing;
    const size = [0, 1].map((i) => screen.mxMM[i] - screen.mnMM[i]);
    const scale = Math.max(size[0] / rect[2], size[1] / rect[3]) * MARGIN / zoom; // mm per pixel
    for (const i of [0, 1]) {
      const middle = (screen.mnMM[i] + screen.mxMM[i]) / 2 + pan[i];
      screen.mnMM[i] = middle - scale * rect[2 + i] / 2;
      screen.mxMM[i] = middle + scale * rect[2 + i] / 2;
      screen.fovMM[i] = scale * rect[2 + i];
    }
    this.drawing.scale = scale;
    return screen;
  }

  /** Draw panes now (default: all); synchronous, so that the caller may copy the picture. `rough`: as a preview where that can be. */
  draw(views = [...this.panes.keys()], rough = false) {
    this.wanted = views.filter((view) => this.panes.has(view));
    if (!this.image) return;
    if (rough && this.lut) this.wanted = this.wanted.filter((view) => !this.drawPreview(view));
    if (!this.wanted.length) return;
    const { gl, nv, window, image } = this;
    const { width, height } = this.canvas;
    nv.scene.crosshairPos = Float32Array.from(this.frame.toFraction(this.crosshair));
    nv.scene.pan2Dxyzmm = Float32Array.from([0, 0, 0, 1]);
    nv.customLayout = this.wanted.map((view) => [view, this.panes.get(view).rect]).map(([view, rect]) => ({
      sliceType: VIEWS[view].type, position: [rect[0] / width, rect[1] / height, rect[2] / width, rect[3] / height] }));
    for (const [name, unit] of Object.entries(UNITS)) {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(name === "lut" ? gl.TEXTURE_2D : gl.TEXTURE_2D_ARRAY, this.textures[name]);
    }
    gl.useProgram(nv.customSliceShader.program);
    gl.uniform4f(this.at.mapping, window.low, 1 / Math.max(window.high - window.low, 1e-6), image.slope, image.intercept);
    const [low, high] = this.shownRange ?? [0, 0];
    gl.uniform3f(this.at.shownRange, low, high, this.shownRange ? RANGE_TINT : 0);
    gl.uniform2f(this.at.strength, this.strength.fill, this.strength.line);
    nv.drawScene();
    nv.screenSlices.forEach((slice, i) => this.measure(viewOf(slice.axCorSag), slice, i));
  }

  /** Draw a pane as a preview; false where NiiVue has not laid out what it shows now. */
  drawPreview(view) {
    const pane = this.panes.get(view);
    if (pane.laidOut !== layoutOf(pane)) return false;
    this.preview.draw(this, view);
    return true;
  }

  /** Wipe what an earlier layout has left between the panes. */
  clear() {
    this.gl.clearColor(0, 0, 0, 0);
    this.gl.clear(this.gl.COLOR_BUFFER_BIT);
  }

  /** Remember the linear map between a pane's pixels and RAS fractions; three points say it, whatever NiiVue flips. */
  measure(view, slice, index) {
    const pane = this.panes.get(view);
    const [left, top, width, height] = slice.leftTopWidthHeight;
    const read = (fx, fy) => [...this.nv.screenXY2TextureFrac(left + fx * width, top + fy * height, index, false)];
    const o = read(0.25, 0.25), x = read(0.75, 0.25), y = read(0.25, 0.75);
    pane.right = x.map((v, i) => (v - o[i]) / (0.5 * width)); // fraction per pixel
    pane.down = y.map((v, i) => (v - o[i]) / (0.5 * height));
    pane.origin = o.map((v, i) => v - pane.right[i] * 0.25 * width - pane.down[i] * 0.25 * height); // at the pane's corner
    pane.fixed = VIEWS[view].fixed;
    pane.laidOut = layoutOf(pane);
  }

  /** Native voxel (continuous) under a pixel of a pane; the pane's own axis is the present slice. */
  voxelAt(view, x, y) {
    const pane = this.panes.get(view);
    if (!pane?.right) return null;
    const fraction = pane.origin.map((v, i) => v + pane.right[i] * x + pane.down[i] * y);
    const voxel = this.frame.toVoxel(fraction);
    voxel[this.frame.normal(view)] = this.crosshair[this.frame.normal(view)];
    return voxel;
  }

  /** Pixel of a pane where a native voxel lies. */
  pixelOf(view, voxel) {
    const pane = this.panes.get(view);
    if (!pane?.right) return null;
    const [a, b] = [0, 1, 2].filter((i) => i !== pane.fixed);
    const move = this.frame.toFraction(voxel).map((v, i) => v - pane.origin[i]);
    const { right: r, down: d } = pane;
    const det = r[a] * d[b] - r[b] * d[a];
    return [(move[a] * d[b] - move[b] * d[a]) / det, (r[a] * move[b] - r[b] * move[a]) / det];
  }

  /** Move a pane's picture by canvas pixels; its map follows without a drawing. */
  panBy(view, dx, dy) {
    const pane = this.panes.get(view);
    pane.pan = [pane.pan[0] - this.sense(pane) * dx * pane.scale, pane.pan[1] + dy * pane.scale];
    pane.origin = pane.origin.map((v, i) => v - pane.right[i] * dx - pane.down[i] * dy);
    pane.laidOut = layoutOf(pane);
  }

  /** Zoom a pane; what lies under a pixel stays there. */
  zoomAt(view, x, y, factor) {
    const pane = this.panes.get(view);
    const zoom = Math.min(40, Math.max(0.4, pane.zoom * factor));
    const grown = zoom / pane.zoom;
    const [,, width, height] = pane.rect;
    const middle = pane.origin.map((v, i) => v + (pane.right[i] * width + pane.down[i] * height) / 2);
    pane.zoom = zoom;
    pane.scale /= grown;
    for (const way of ["right", "down"]) pane[way] = pane[way].map((v) => v / grown);
    pane.origin = middle.map((v, i) => v - (pane.right[i] * width + pane.down[i] * height) / 2);
    this.panBy(view, (x - width / 2) * (1 - grown), (y - height / 2) * (1 - grown));
  }

  /** +1 when the view's millimetres grow to the right. NiiVue's own axis: R for axial and coronal, A for sagittal. */
  sense(pane) {
    const axis = pane.fixed === 0 ? 1 : 0;
    return Math.sign(pane.right[axis]) || 1;
  }

  resetViews() {
    this.panes.forEach((pane) => { pane.pan = [0, 0]; pane.zoom = 1; });
  }

  /** Value of the image, label value and LPS mm at a native voxel; null outside. */
  probe(voxel) {
    if (!this.frame.inside(voxel)) return null;
    const at = voxel.map(Math.round);
    const index = at[0] + this.image.dims[0] * (at[1] + this.image.dims[1] * at[2]);
    const value = this.image.samples === 3
      ? [...this.image.data.subarray(3 * index, 3 * index + 3)]
      : this.image.data[index] * this.image.slope + this.image.intercept;
    return { voxel: flipOrder(at), value, label: this.labels[index], world: this.frame.world(at) };
  }
}

const viewOf = (type) => Object.keys(VIEWS).find((view) => VIEWS[view].type === type) ?? "axial";
const layoutOf = ({ rect, pan, zoom }) => [...rect, ...pan, zoom].join();
