// Measurements of every label, as the service computes them, and as CSV.

import { h, iconButton, replaceKeepingFocus } from "../dom.js";
import { anatomy, t } from "../i18n.js";

const ROWS = ["volume_ml", "area_mm2", "mean", "sd", "longest_mm", "perpendicular_mm", "bounding_box_mm", "surface_mm2"];

export function measurePanel(app, actions) {
  const body = h("div", { class: "ps-measures" });
  const hint = h("p", { class: "ps-hint" }, t("measure.hint"));
  let stale = true;
  let shown = false;
  const load = async () => {
    if (!app.session?.labels.some((l) => l.voxels)) { replaceKeepingFocus(body); hint.hidden = false; hint.textContent = t("measure.none"); return; }
    stale = false;
    hint.hidden = true;
    body.setAttribute("aria-busy", "true");
    try {
      const answer = await app.api.get(`/sessions/${app.session.id}/measurements`);
      const rows = Array.isArray(answer) ? answer : answer.rows ?? answer.labels ?? [];
      replaceKeepingFocus(body, rows.map((row) => card(app, row)));
    } catch (error) { app.fail(error); }
    body.removeAttribute("aria-busy");
  };
  app.on("tab", (id) => { shown = id === "measure"; if (shown && stale) load(); });
  for (const event of ["labels", "session"]) app.on(event, () => { stale = true; if (shown) { clearTimeout(load.timer); load.timer = setTimeout(load, 600); } });
  return [h("h2", { class: "ps-head" }, t("tab.measure"), iconButton("download", "CSV", () => actions.download("csv"), { class: "ps-small" })), hint, body];
}

function card(app, row) {
  const label = app.session.labels.find((l) => l.value === (row.value ?? row.label));
  const name = label?.name ?? row.name ?? String(row.label);
  const values = ROWS.map((key) => [key, text(key, row)]).filter(([, value]) => value !== null);
  return h("section", { class: "ps-card" }, h("h3", {}, h("span", { class: "ps-swatch", style: { background: label?.colour } }), anatomy(name)),
    h("table", {}, h("tbody", {}, values.map(([key, value]) => h("tr", {}, h("th", { scope: "row" }, t(`measure.${key}`)), h("td", {}, value))))));
}

function text(key, row) {
  const value = row[key];
  if (value === undefined || value === null) return null;
  if (Array.isArray(value)) return value.map((v) => number(v)).join(" × ") + " mm";
  const unit = { volume_ml: "ml", area_mm2: "mm²", longest_mm: "mm", perpendicular_mm: "mm", surface_mm2: "mm²" }[key];
  return typeof value === "number" ? `${number(value)}${unit ? ` ${unit}` : row.unit && row.unit !== "1" ? ` ${row.unit}` : ""}` : String(value);
}

const number = (v) => (Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en") : Number(v.toPrecision(3)).toString());
