// What stands in the panes' corners: who and what is shown, where the slice lies; rulers, angles, ellipses, diameters.

import { ellipse } from "./rulers.js";
import { t } from "./i18n.js";
import { trace, words } from "./strokes.js";

const INK = "#ffd9a0";

/** Patient, study and series in the first pane; position and distance of the slice in each. */
export function inscribe(context, place, app, first) {
  if (!app.settings.inscription) return;
  const about = app.about ?? {};
  if (first) {
    const date = about.date?.replace(/^(\d{4})(\d{2})(\d{2})$/, "$1-$2-$3");
    const lines = [[about.patient, about.patient_id].filter(Boolean).join(" · "), [date, about.study].filter(Boolean).join(" · "), about.series].filter(Boolean);
    lines.forEach((line, i) => words(context, line, 10, 42 + 17 * i, "left", INK));
  }
  const { frame } = place.planes;
  if (!place.planes.measured || frame.count(place.view) < 2) return;
  const world = frame.world(place.planes.crosshair);
  const column = frame.affine.map((row) => Math.abs(row[place.axis]));
  const along = column.indexOf(Math.max(...column));
  const text = `${"LPS"[along]} ${world[along].toFixed(1)} mm · ${t("slice.every", { mm: Number(frame.spacing[place.axis].toFixed(2)) })}`;
  words(context, text, place.width - 10, place.height - 14, "right", INK);
}

/** What was measured on this slice, by hand and by the service. */
export function drawRulers(context, place, app) {
  const { rulers } = app;
  const here = rulers.items.filter((item) => item.view === place.view && item.slice === place.slice);
  for (const item of here) {
    const line = (item.kind === "ellipse" ? ellipse(item.points, place.axis) : item.points).map((p) => place.pixel(p));
    trace(context, line, INK, { closed: item.kind === "ellipse" });
    const [x, y] = line.reduce((low, p) => (p[1] > low[1] ? p : low));
    words(context, rulers.text(item), x, y + 14, "center", INK);
  }
  if (rulers.corner.view === place.view) trace(context, rulers.corner.points.map((p) => place.pixel(p)), INK, { closed: false });
  for (const { colour, start, end, text } of rulers.diameters) {
    if (Math.abs(start[place.axis] - place.slice) > 0.5 || Math.abs(end[place.axis] - place.slice) > 0.5) continue;
    const line = [start, end].map((p) => place.pixel(p));
    trace(context, line, colour, { closed: false });
    words(context, text, line[1][0] + 6, line[1][1] - 8, "left", "#fff");
  }
}
