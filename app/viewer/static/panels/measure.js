// Measurements of every label, as the service computes them, and as CSV.

import { h, iconButton, replaceKeepingFocus } from "../dom.js";
import { anatomy, t } from "../i18n.js";
import { isHounsfield } from "../windows.js";

// What is shown of each label, in this order; the CSV has everything.
const ROWS = ["volume", "area", "mean", "std", "axial_long", "axial_short", "diameter_3d", "box_size", "surface"];
const SHOWN = { mm2: "mm²", mm3: "mm³" };

export function measurePanel(app, actions) {
  const body = h("div", { class: "ps-measures" });
  const hint = h("p", { class: "ps-hint" }, t("measure.hint"));
  let stale = true;
  let shown = false;
  let timer = 0;
  const load = async () => {
    if (!app.session?.labels.some((l) => l.voxels)) { replaceKeepingFocus(body); hint.hidden = false; hint.textContent = t("measure.none"); return; }
    stale = false;
    hint.hidden = false;
    hint.textContent = t("measure.working");
    body.setAttribute("aria-busy", "true");
    const { id } = app.session;
    try {
      const answer = await app.api.get(`/sessions/${id}/measurements`);
      if (app.session?.id !== id) return; // numbers of another study
      hint.hidden = true;
      const names = [...new Set(answer.map((row) => row.label))];
      replaceKeepingFocus(body, names.map((name) => card(app, name, answer.filter((row) => row.label === name))));
    } catch (error) { replaceKeepingFocus(body); hint.hidden = true; stale = true; app.fail(error); }
    body.removeAttribute("aria-busy");
  };
  app.on("tab", (id) => { shown = id === "measure"; if (shown && stale) load(); });
  app.on("session", () => replaceKeepingFocus(body));
  for (const event of ["labels", "session"]) app.on(event, () => { stale = true; if (shown) { clearTimeout(timer); timer = setTimeout(load, 600); } });
  return [h("h2", { class: "ps-head" }, t("tab.measure"), iconButton("download", "CSV", () => actions.download("csv"), { class: "ps-small" })), hint, body];
}

function card(app, name, rows) {
  const label = app.session.labels.find((l) => l.name === name);
  const found = ROWS.map((key) => rows.find((row) => row.name === key)).filter(Boolean);
  return h("section", { class: "ps-card" }, h("h3", {}, h("span", { class: "ps-swatch", style: { background: label?.colour } }), anatomy(name)),
    h("table", {}, h("tbody", {}, found.map((row) => h("tr", { title: row.definition }, h("th", { scope: "row" }, t(`measure.${row.name}`)), h("td", {}, text(app, row)))))));
}

function text(app, row) {
  const value = Array.isArray(row.value) ? row.text.replaceAll(", ", " × ") : row.text;
  if (row.unit === "mm2" && row.value >= 1000) return `${(row.value / 100).toFixed(1)} cm²`;
  const unit = row.unit || (["mean", "std"].includes(row.name) && isHounsfield(app.session) ? "HU" : "");
  return `${value}${unit ? ` ${SHOWN[unit] ?? unit}` : ""}`;
}
