// Lines and words on the picture, with a dark rim so that they are read over bone and air.

export const INK = "#e9edf3";
const FONT = "12px system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK SC', sans-serif";

export function words(context, text, x, y, align = "center", color = INK) {
  context.font = FONT;
  context.textAlign = align;
  context.textBaseline = "middle";
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0, 0, 0, .75)";
  context.strokeText(text, x, y);
  context.fillStyle = color;
  context.fillText(text, x, y);
}

export function trace(context, line, color, { closed, dashed = false, chosen = false, width = 2 }) {
  context.lineJoin = context.lineCap = "round";
  const path = new Path2D();
  line.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
  if (line.length === 1) path.lineTo(line[0][0] + 0.1, line[0][1]);
  if (closed) path.closePath();
  context.setLineDash(dashed ? [5, 5] : []);
  context.strokeStyle = chosen ? "#fff" : "rgba(0, 0, 0, .7)";
  context.lineWidth = width + 2;
  context.stroke(path);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke(path);
  context.setLineDash([]);
}
