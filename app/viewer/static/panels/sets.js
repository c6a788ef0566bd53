// Sets of labels: a few for common work, and a person's own. Names are those that exports know codes for, where there are any.

import { h } from "../dom.js";
import { t } from "../i18n.js";

const STORED = "promptseg.sets";
/** @type {Record<string, [string, string][]>} name and colour */
const COMMON = {
  abdomen: [["liver", "#dd8265"], ["spleen", "#9d6ca2"], ["kidney_left", "#b9663f"], ["kidney_right", "#e0a64b"], ["pancreas", "#f9d35c"], ["gallbladder", "#8bd57d"], ["stomach", "#d8a6c8"], ["aorta", "#e06050"]],
  thorax: [["lung_left", "#6fb5e8"], ["lung_right", "#4fd0c0"], ["heart", "#e06050"], ["aorta", "#f29a8a"], ["trachea", "#b6e4ff"], ["esophagus", "#d8b08c"]],
  lesion: [["lesion", "#e5484d"], ["necrosis", "#8e8c99"], ["edema", "#6fb5e8"]],
};

export function setsMenu(app, ask) {
  const choice = h("select", { class: "ps-select ps-sets", "aria-label": t("sets"), dataset: { key: "sets" }, onchange: async () => {
    const wanted = choice.value;
    choice.value = "";
    if (wanted === "save") await save(app, ask);
    else if (wanted) await app.addLabels(all()[wanted]);
    draw();
  } });
  const draw = () => choice.replaceChildren(h("option", { value: "" }, t("sets")),
    ...Object.keys(all()).map((name) => h("option", { value: name }, name in COMMON ? t(`sets.${name}`) : name)),
    h("option", { value: "save", disabled: !app.session?.labels.length }, t("sets.save")));
  for (const event of ["session", "labels"]) app.on(event, draw);
  return choice;
}

async function save(app, ask) {
  const name = await ask(t("sets.name"));
  if (!name) return;
  const labels = app.session.labels.map((label) => [label.name, label.colour]);
  localStorage.setItem(STORED, JSON.stringify({ ...own(), [name]: labels }));
  app.say(t("sets.saved", { name }));
}

const all = () => ({ ...COMMON, ...own() });

function own() {
  try { return JSON.parse(localStorage.getItem(STORED) ?? "{}"); } catch { return {}; }
}
