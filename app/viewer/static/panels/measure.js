// Measurements of every label, as the service computes them, and as CSV.

import { h, icon, iconButton, replaceKeepingFocus } from "../dom.js";
import { anatomy, t } from "../i18n.js";
import { isHounsfield } from "../windows.js";

// What is shown of each label, in this order; the CSV has everything.
const ROWS = ["volume", "area", "mean", "std", "axial_long", "axial_short", "diameter_3d", "box_size", "surface"];
const SHOWN = { mm2: "mm²", mm3: "mm³" };

export function measurePanel(app, actions) {
  const body = h("div", { class: "ps-measures" });
  const hint = h("p", { class: "ps-hint" }, t("measure.hint"));
  const own = h("ul", { class: "ps-list", "aria-label": t("rulers") });
  const ownHead = h("h2", { class: "ps-head" }, t("rulers"));
  const lines = h("input", { type: "checkbox", checked: app.settings.diameters, onchange: () => { app.set("diameters", lines.checked); showDiameters(); } });
  let drawn = [];
  const showDiameters = () => app.rulers.showDiameters(app.settings.diameters ? drawn : []);
  const drawOwn = () => {
    ownHead.hidden = !app.rulers.items.length;
    replaceKeepingFocus(own, app.rulers.items.map((item) => ownRow(app, item)));
  };
  app.on("rulers", drawOwn);
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
      drawn = names.flatMap((name) => diameters(app, name, answer.filter((row) => row.label === name)));
      showDiameters();
    } catch (error) { replaceKeepingFocus(body); hint.hidden = true; stale = true; app.fail(error); }
    body.removeAttribute("aria-busy");
  };
  app.on("tab", (id) => { shown = id === "measure"; if (shown && stale) load(); });
  app.on("session", (state) => { drawn = []; replaceKeepingFocus(body); if (state) drawOwn(); });
  for (const event of ["labels", "session"]) app.on(event, () => { stale = true; if (shown) { clearTimeout(timer); timer = setTimeout(load, 600); } });
  return [h("h2", { class: "ps-head" }, t("tab.measure"), iconButton("download", "CSV", () => actions.download("csv"), { class: "ps-small" })), hint,
    h("label", { class: "ps-check" }, lines, t("measure.draw")), body, ownHead, own];
}

/** A label's longest diameter in an axial slice (RECIST) and the one across it (WHO), to be drawn. */
function diameters(app, name, rows) {
  const colour = app.session.labels.find((label) => label.name === name)?.colour ?? "#fff";
  const value = (key) => rows.find((row) => row.name === key)?.value;
  return ["axial_long", "axial_short"].filter((key) => Array.isArray(value(`${key}_start`))).map((key) => ({
    colour, start: app.planes.frame.voxelAt(value(`${key}_start`)), end: app.planes.frame.voxelAt(value(`${key}_end`)), text: `${value(key).toFixed(1)} mm` }));
}

function ownRow(app, item) {
  const said = app.rulers.text(item);
  return h("li", { class: "ps-prompt" }, h("button", { type: "button", class: "ps-name", onclick: () => app.moveCrosshair(item.points[0]) },
    icon(item.kind, 15), h("span", {}, said), h("span", { class: "ps-faint" }, `${t(`view.${item.view}`)} ${item.slice + 1}`)),
  iconButton("close", t("ruler.delete", { text: said }), () => app.rulers.remove(item), { class: "ps-small" }));
}

function card(app, name, rows) {
  const label = app.session.labels.find((l) => l.name === name);
  const found = ROWS.map((key) => rows.find((row) => row.name === key)).filter(Boolean);
  return h("section", { class: "ps-card" }, h("h3", {}, h("span", { class: "ps-swatch", style: { background: label?.colour } }), h("span", { class: "ps-spring" }, anatomy(name)), rows.some((row) => row.name === "axial_long_start") ? iconButton("target", t("measure.go", { name: anatomy(name) }), () => app.moveCrosshair(app.planes.frame.voxelAt(rows.find((row) => row.name === "axial_long_start").value)), { class: "ps-small" }) : null),
    h("table", {}, h("tbody", {}, found.map((row) => h("tr", { title: row.definition }, h("th", { scope: "row" }, t(`measure.${row.name}`)), h("td", {}, text(app, row)))))));
}

function text(app, row) {
  const parts = row.text.split(", ");
  const value = row.name === "box_size" ? parts.map((part, i) => `${"zyx"[i]} ${part}`).join(" × ") : parts.join(" × ");
  if (row.unit === "mm2" && row.value >= 1000) return `${(row.value / 100).toFixed(1)} cm²`;
  const unit = row.unit || (["mean", "std"].includes(row.name) && isHounsfield(app.session) ? "HU" : "");
  return `${value}${unit ? ` ${SHOWN[unit] ?? unit}` : ""}`;
}
