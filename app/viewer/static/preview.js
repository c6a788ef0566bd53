// Panes at the speed of a hand where a processor draws: the present slice becomes one small ready-coloured picture, made
// by the page itself, and the driver only stretches it. Beside the slice shader's picture it differs in its masks' edges
// alone: blocks of voxels in place of smooth lines. NiiVue takes no part; the pane must have been laid out by it before.

const UNIT = 14; // NiiVue uses 0..10, the planes 11..13
const LARGEST = 1536; // pixels along a picture's edge; of larger slices it holds every second, third ... voxel

const VERTEX = `#version 300 es
uniform vec4 corner; // x, y: place in the picture of the pane's upper left corner; z, w: added from left to right
uniform vec2 down; // added from top to bottom
out vec2 at;
void main() {
  vec2 p = vec2(gl_VertexID == 1 ? 2.0 : 0.0, gl_VertexID == 2 ? 2.0 : 0.0); // one triangle that covers the pane
  at = corner.xy + p.x * corner.zw + (1.0 - p.y) * down;
  gl_Position = vec4(2.0 * p - 1.0, 0.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
uniform highp sampler2D picture;
uniform vec2 held; // share of the picture's edges that holds voxels
in vec2 at;
out vec4 color;
void main() {
  vec2 inside = step(vec2(0.0), at) * step(at, vec2(1.0));
  color = vec4(texture(picture, at * held).rgb * (inside.x * inside.y), 1.0);
}`;

export class Preview {
  constructor(gl) {
    this.gl = gl;
    this.pictures = new Map(); // view -> {texture, width, height, pixels}
    this.program = link(gl);
    this.at = Object.fromEntries(["corner", "down", "picture", "held"].map((name) => [name, gl.getUniformLocation(this.program, name)]));
  }

  /** Draw one pane of the planes. */
  draw(planes, view) {
    const { gl } = this;
    const { image, frame, canvas } = planes;
    const pane = planes.panes.get(view);
    const normal = frame.normal(view);
    const [u, v] = [0, 1, 2].filter((axis) => axis !== normal);
    const every = Math.ceil(Math.max(image.dims[u], image.dims[v]) / LARGEST);
    const picture = this.picture(view, Math.ceil(image.dims[u] / every), Math.ceil(image.dims[v] / every));
    const look = { window: planes.window, lut: planes.lut, strength: planes.strength };
    paintSlice(image, planes.labels, { normal, index: planes.crosshair[normal], every }, look, picture.pixels);
    const bytes = new Uint8Array(picture.pixels.buffer);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, picture.width, picture.height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    const [left, top, width, height] = pane.rect;
    const part = ({ axis, flip }, r, step) => [axis, (flip ? -1 : 1) * step[r]];
    const along = (step) => Object.fromEntries(frame.axes.map((native, r) => part(native, r, step)));
    const right = along(pane.right), down = along(pane.down);
    const origin = frame.toVoxel(pane.origin).map((at, axis) => (at + 0.5) / image.dims[axis]);
    gl.useProgram(this.program);
    gl.uniform1i(this.at.picture, UNIT);
    gl.uniform4f(this.at.corner, origin[u], origin[v], right[u] * width, right[v] * width);
    gl.uniform2f(this.at.down, down[u] * height, down[v] * height);
    gl.uniform2f(this.at.held, image.dims[u] / (picture.width * every), image.dims[v] / (picture.height * every));
    for (const state of [gl.BLEND, gl.DEPTH_TEST, gl.SCISSOR_TEST, gl.CULL_FACE]) gl.disable(state);
    gl.bindVertexArray(null);
    gl.viewport(left, canvas.height - top - height, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** A view's texture, bound. */
  picture(view, width, height) {
    const { gl } = this;
    let found = this.pictures.get(view);
    gl.activeTexture(gl.TEXTURE0 + UNIT);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    if (found?.width !== width || found.height !== height) {
      if (found) gl.deleteTexture(found.texture);
      found = { width, height, texture: gl.createTexture(), pixels: new Uint32Array(width * height) };
      this.pictures.set(view, found);
      gl.bindTexture(gl.TEXTURE_2D, found.texture);
      for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
      for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, width, height);
    }
    gl.bindTexture(gl.TEXTURE_2D, found.texture);
    return found;
  }
}

function link(gl) {
  const program = gl.createProgram();
  for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}

/**
 * Window and tint every n-th voxel of a slice. @param into Uint32Array, RGBA as bytes; the lower native axis runs fastest.
 */
function paintSlice(image, labels, { normal, index, every }, { window, lut, strength }, into) {
  const { data, dims } = image;
  const steps = [1, dims[0], dims[0] * dims[1]];
  const [u, v] = [0, 1, 2].filter((axis) => axis !== normal);
  const [stepU, stepV] = [steps[u] * every, steps[v] * every];
  const perUnit = 255 / Math.max(window.high - window.low, 1e-6);
  const factor = image.slope * perUnit, offset = (image.intercept - window.low) * perUnit + 0.5;
  const tints = tintsOf(lut, strength);
  const middle = Math.floor(every / 2);
  let put = 0;
  for (let j = middle; j < dims[v] + middle; j += every) {
    let at = index * steps[normal] + Math.min(j, dims[v] - 1) * steps[v] + middle * steps[u];
    for (let i = middle; i < dims[u] + middle; i += every, at += stepU) {
      if (i >= dims[u]) at -= (i - dims[u] + 1) * steps[u];
      let red, green, blue;
      if (image.samples === 3) [red, green, blue] = [data[3 * at], data[3 * at + 1], data[3 * at + 2]];
      else {
        const grey = data[at] * factor + offset;
        red = green = blue = grey >= 255 ? 255 : grey > 0 ? grey | 0 : 0;
      }
      const label = labels[at];
      if (label) {
        const edge = i === middle || j === middle || labels[at - stepU] !== label || labels[at + stepU] !== label
          || labels[at - stepV] !== label || labels[at + stepV] !== label;
        const tint = 8 * label + (edge ? 4 : 0);
        const rest = tints[tint + 3];
        red = red * rest + tints[tint] | 0;
        green = green * rest + tints[tint + 1] | 0;
        blue = blue * rest + tints[tint + 2] | 0;
      }
      into[put++] = (0xff000000 | blue << 16 | green << 8 | red) >>> 0;
    }
  }
}

/** For each label inside and at its edge: what is added to red, green and blue, and the share of grey that stays. */
function tintsOf(lut, { fill, line }) {
  const tints = new Float32Array(2048);
  for (let label = 0; label < 256; label++) {
    const opacity = lut[4 * label + 3] / 255;
    [opacity * fill, Math.min(1, opacity * line)].forEach((share, i) => {
      for (const c of [0, 1, 2]) tints[8 * label + 4 * i + c] = lut[4 * label + c] * share;
      tints[8 * label + 4 * i + 3] = 1 - share;
    });
  }
  return tints;
}
