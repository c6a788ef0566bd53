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
uniform vec3 shownRange; // low, high, strength of the tint where the image lies between them
in vec3 texPos;
out vec4 color;

vec3 grey(ivec3 p) {
  ${kind === "rgb" ? "return vec3(texelFetch(image, p, 0).rgb) / 255.0;"
    : `float v = float(texelFetch(image, p, 0).r) * mapping.z + mapping.w;
  return vec3(clamp((v - mapping.x) * mapping.y, 0.0, 1.0));`}
}

// Where four labels meet: the strongest one's tint, and a line one to two screen pixels wide where two weigh the same.
void border(uvec4 here, vec4 share, vec3 p, vec3 under) {
  vec4 sums = vec4(dot(share, vec4(equal(here, here.xxxx))), dot(share, vec4(equal(here, here.yyyy))),
                   dot(share, vec4(equal(here, here.zzzz))), dot(share, vec4(equal(here, here.wwww))));
  uint best = here.x;
  float first = sums.x;
  if (sums.y > first) { first = sums.y; best = here.y; }
  if (sums.z > first) { first = sums.z; best = here.z; }
  if (sums.w > first) { first = sums.w; best = here.w; }
  vec4 rest = sums * vec4(notEqual(here, uvec4(best)));
  float second = max(max(rest.x, rest.y), max(rest.z, rest.w));
  uint other = rest.x == second ? here.x : (rest.y == second ? here.y : (rest.z == second ? here.z : here.w));
  float voxel_px = 1.0 / max(abs(dFdx(p.x)) + abs(dFdx(p.y)) + abs(dFdx(p.z)), 1e-5);
  float line = 1.0 - smoothstep(0.6, 1.6, (first - second) * 0.5 * voxel_px);
  vec4 tint = texelFetch(lut, ivec2(int(best), 0), 0);
  vec4 side = best == 0u ? texelFetch(lut, ivec2(int(other), 0), 0) : tint;
  vec3 shown = mix(under, tint.rgb, best == 0u ? 0.0 : tint.a * strength.x);
  color = vec4(mix(shown, side.rgb, line * min(1.0, side.a * strength.y) * (best == 0u ? 0.55 : 1.0)), 1.0);
}

void main() {
  int n = axCorSag == 0 ? normals.x : (axCorSag == 1 ? normals.y : normals.z);
  vec3 p = (toNative * texPos + toNativeShift) * vec3(dims) - 0.5;
  vec3 low = floor(p);
  vec3 part = p - low;
  ivec3 top = dims - 1;
  ivec3 eu = n == 0 ? ivec3(0, 1, 0) : ivec3(1, 0, 0);
  ivec3 ev = n == 2 ? ivec3(0, 1, 0) : ivec3(0, 0, 1);
  if (n == 0) low.x = round(p.x);
  else if (n == 1) low.y = round(p.y);
  else low.z = round(p.z);
  ivec3 base = ivec3(low);
  ivec3 a = clamp(base, ivec3(0), top);
  ivec3 b = clamp(base + eu, ivec3(0), top);
  ivec3 c = clamp(base + ev, ivec3(0), top);
  ivec3 d = clamp(base + eu + ev, ivec3(0), top);
  float fu = n == 0 ? part.y : part.x;
  float fv = n == 2 ? part.y : part.z;
  vec3 under = mix(mix(grey(a), grey(b), fu), mix(grey(c), grey(d), fu), fv);
  ${kind === "rgb" ? "" : `float near = float(texelFetch(image, ivec3(round(p)), 0).r) * mapping.z + mapping.w;
  if (near >= shownRange.x && near <= shownRange.y) under = mix(under, vec3(1.0, 0.85, 0.2), shownRange.z);`}
  uvec4 here = uvec4(texelFetch(labels, a, 0).r, texelFetch(labels, b, 0).r, texelFetch(labels, c, 0).r, texelFetch(labels, d, 0).r);
  if (here.x == here.y && here.x == here.z && here.x == here.w) {
    if (here.x == 0u) { color = vec4(under, 1.0); return; }
    vec4 tint = texelFetch(lut, ivec2(int(here.x), 0), 0);
    color = vec4(mix(under, tint.rgb, tint.a * strength.x), 1.0);
    return;
  }
  border(here, vec4((1.0 - fu) * (1.0 - fv), fu * (1.0 - fv), (1.0 - fu) * fv, fu * fv), p, under);
}`;
