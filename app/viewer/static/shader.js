// The fragment shader of NiiVue's slices (its setCustomSliceShader): full-resolution image and labels from our own
// textures, window, smooth label outlines. Texture arrays with texelFetch: every integer type, no format is filtered by
// the driver, and 2D images may be as large as a 2D texture. See docs/adr/0040.

const SAMPLERS = { i16: "isampler2DArray", i8: "isampler2DArray", u8: "usampler2DArray", u16: "usampler2DArray",
  rgb: "usampler2DArray", f32: "sampler2DArray" };

export const sliceShader = (kind) => `#version 300 es
precision highp int;
precision highp float;
precision highp sampler2DArray;
precision highp isampler2DArray;
precision highp usampler2DArray;
uniform ${SAMPLERS[kind]} image;
uniform usampler2DArray labels;
uniform highp sampler2D lut;
uniform int axCorSag;
uniform ivec3 dims;
uniform ivec3 normals;
uniform mat3 toNative;
uniform vec3 toNativeShift;
uniform vec4 mapping;
uniform vec2 strength;
uniform int selected;
in vec3 texPos;
out vec4 color;

vec3 grey(ivec3 p) {
  ${kind === "rgb" ? "return vec3(texelFetch(image, p, 0).rgb) / 255.0;"
    : `float v = float(texelFetch(image, p, 0).r) * mapping.z + mapping.w;
  return vec3(clamp((v - mapping.x) * mapping.y, 0.0, 1.0));`}
}

void main() {
  int n = axCorSag == 0 ? normals.x : (axCorSag == 1 ? normals.y : normals.z);
  vec3 p = (toNative * texPos + toNativeShift) * vec3(dims) - 0.5;
  ivec3 top = dims - 1;
  ivec3 base = ivec3(floor(p));
  vec3 part = p - vec3(base);
  base[n] = int(round(p[n]));
  ivec3 eu = n == 0 ? ivec3(0, 1, 0) : ivec3(1, 0, 0);
  ivec3 ev = n == 2 ? ivec3(0, 1, 0) : ivec3(0, 0, 1);
  float fu = n == 0 ? part.y : part.x;
  float fv = n == 2 ? part.y : part.z;
  ivec3 at[4] = ivec3[4](clamp(base, ivec3(0), top), clamp(base + eu, ivec3(0), top),
                         clamp(base + ev, ivec3(0), top), clamp(base + eu + ev, ivec3(0), top));
  float share[4] = float[4]((1.0 - fu) * (1.0 - fv), fu * (1.0 - fv), (1.0 - fu) * fv, fu * fv);
  vec3 under = vec3(0.0);
  uint here[4];
  for (int i = 0; i < 4; i++) {
    under += share[i] * grey(at[i]);
    here[i] = texelFetch(labels, at[i], 0).r;
  }
  uint best = 0u;
  float first = -1.0;
  float second = 0.0;
  for (int i = 0; i < 4; i++) {
    float sum = 0.0;
    for (int j = 0; j < 4; j++) sum += here[j] == here[i] ? share[j] : 0.0;
    if (sum > first) {
      second = best == here[i] ? second : max(first, 0.0);
      first = sum;
      best = here[i];
    } else if (here[i] != best) second = max(second, sum);
  }
  // A border runs where the two strongest labels weigh the same; its width is measured in screen pixels.
  float voxel_px = 1.0 / max(abs(dFdx(p.x)) + abs(dFdx(p.y)) + abs(dFdx(p.z)), 1e-5);
  float distance_px = (first - second) * 0.5 * voxel_px;
  uint other = 0u;
  for (int i = 0; i < 4; i++) if (here[i] != best && other == 0u) other = here[i];
  bool mixed = here[0] != here[1] || here[0] != here[2] || here[0] != here[3];
  vec4 tint = texelFetch(lut, ivec2(int(best), 0), 0);
  vec4 side = texelFetch(lut, ivec2(int(best == 0u ? other : best), 0), 0);
  float line = mixed ? 1.0 - smoothstep(0.6, 1.6, distance_px) : 0.0;
  float fill = best == 0u ? 0.0 : tint.a * strength.x;
  vec3 shown = mix(under, tint.rgb, fill);
  float edge = line * min(1.0, side.a * strength.y) * (best == 0u ? 0.55 : 1.0);
  color = vec4(mix(shown, side.rgb, edge), 1.0);
}`;
