// Where things are: native voxels [x, y, z] of the image, RAS fractions of NiiVue's scene, array planes of prompts.
// World coordinates that people see are LPS millimetres, as in DICOM.

/** NiiVue's slice types; each fixes one RAS axis. */
export const VIEWS = { axial: { type: 0, fixed: 2 }, coronal: { type: 1, fixed: 1 }, sagittal: { type: 2, fixed: 0 } };
const ARRAY_PLANES = ["axial", "coronal", "sagittal"]; // what fixes array axis 0 (z), 1 (y), 2 (x)
const ENDS = [["L", "R"], ["P", "A"], ["I", "S"]]; // at fraction 0 and 1 of each RAS axis

export class Frame {
  /** @param image as parseNifti gives it; @param perm NiiVue's permRAS: the native axis (1..3, negative: flipped) of R, A, S. */
  constructor(image, perm) {
    this.dims = image.dims;
    this.spacing = image.spacing;
    this.affine = image.affine;
    this.axes = perm.map((p) => ({ axis: Math.abs(p) - 1, flip: p < 0 }));
    this.flat = image.dims.filter((n) => n === 1).length > 0 ? image.dims.findIndex((n) => n === 1) : -1;
    if (image.dims[2] === 1) this.flat = 2;
  }

  /** Native axis (0 x, 1 y, 2 z) that a view's slices are counted along. */
  normal(view) { return this.axes[VIEWS[view].fixed].axis; }
  /** Name of the array plane, as prompts and the service call it, that a view shows. */
  plane(view) { return ARRAY_PLANES[2 - this.normal(view)]; }
  /** The view that shows an array plane. */
  view(plane) {
    const axis = 2 - ARRAY_PLANES.indexOf(plane);
    return Object.keys(VIEWS).find((view) => this.normal(view) === axis);
  }

  count(view) { return this.dims[this.normal(view)]; }

  toFraction(voxel) {
    return this.axes.map(({ axis, flip }) => {
      const f = (voxel[axis] + 0.5) / this.dims[axis];
      return flip ? 1 - f : f;
    });
  }

  toVoxel(fraction) {
    const voxel = [0, 0, 0];
    this.axes.forEach(({ axis, flip }, r) => {
      voxel[axis] = (flip ? 1 - fraction[r] : fraction[r]) * this.dims[axis] - 0.5;
    });
    return voxel;
  }

  /** LPS mm of a native voxel. */
  world(voxel) {
    const ras = this.affine.map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
    return [-ras[0], -ras[1], ras[2]];
  }

  /** The native voxel (continuous) of LPS mm. */
  voxelAt(world) {
    const [a, b, c] = this.affine;
    const [x, y, z] = [-world[0] - a[3], -world[1] - b[3], world[2] - c[3]];
    const det = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
    return [x * (b[1] * c[2] - b[2] * c[1]) + y * (a[2] * c[1] - a[1] * c[2]) + z * (a[1] * b[2] - a[2] * b[1]),
      x * (b[2] * c[0] - b[0] * c[2]) + y * (a[0] * c[2] - a[2] * c[0]) + z * (a[2] * b[0] - a[0] * b[2]),
      x * (b[0] * c[1] - b[1] * c[0]) + y * (a[1] * c[0] - a[0] * c[1]) + z * (a[0] * b[1] - a[1] * b[0])].map((v) => v / det);
  }

  inside(voxel) { return voxel.every((v, i) => v >= -0.5 && v < this.dims[i] - 0.5); }
  clamp(voxel) { return voxel.map((v, i) => Math.min(this.dims[i] - 1, Math.max(0, Math.round(v)))); }

  /** The letter at the end of a view's screen axis, from the fractions at its two ends. */
  letter(from, to) {
    const move = to.map((v, i) => v - from[i]);
    const axis = move.reduce((best, v, i) => (Math.abs(v) > Math.abs(move[best]) ? i : best), 0);
    return ENDS[axis][move[axis] > 0 ? 1 : 0];
  }

  /** How far an image is turned against the patient's axes, in degrees. */
  get obliqueness() {
    const angles = this.axes.map(({ axis }, r) => {
      const column = this.affine.map((row) => row[axis]);
      return Math.acos(Math.min(1, Math.abs(column[r]) / Math.hypot(...column))) * 180 / Math.PI;
    });
    return Math.max(...angles);
  }
}

/** zyx from xyz and back. */
export const flipOrder = (v) => [v[2], v[1], v[0]];
