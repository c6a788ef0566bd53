// Labels, the selected label's prompts, growing into 3D, edits by hand.

import { fill, h, icon, iconButton, isTyping, replaceKeepingFocus } from "../dom.js";
import { anatomy, t } from "../i18n.js";
import { brushPanel } from "./brush.js";
import { setsMenu } from "./sets.js";
import { editButtons } from "./edits.js";

const KIND_ICONS = { point: "positive", box: "box", scribble: "scribble", lasso: "lasso", mask: "paint" };

const TWICE_MS = 500;
let clicked = { value: 0, at: 0 };

export function labelsPanel(app, actions) {
  const list = h("ul", { class: "ps-list ps-labels", "aria-label": t("labels") });
  const name = h("input", { type: "text", class: "ps-input", placeholder: t("label.new"), "aria-label": t("label.new"), list: "ps-anatomy", maxLength: 100, autocomplete: "off" });
  const add = () => { app.newLabel(identifier(name.value)).then((ok) => { if (ok) name.value = ""; }); };
  name.addEventListener("keydown", (event) => {
    if (event.key === "Enter") add();
    if (event.key === "Enter" || event.key === "Escape") actions.focusPicture(); // the keys are tools again
  });
  const send = (files) => { if (files.length) app.addMasks(files, () => actions.openFiles(files)); };
  const masks = h("input", { type: "file", multiple: true, hidden: true, "aria-hidden": "true", tabIndex: -1, dataset: { input: "masks" }, onchange: () => { send([...masks.files]); masks.value = ""; } });
  const opacity = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: app.settings.fill, "aria-label": t("labels.opacity"), oninput: (e) => { app.set("fill", Number(e.target.value)); app.redraw(); } });
  const prompts = h("ul", { class: "ps-list ps-prompts", "aria-label": t("prompts") });
  const auto = h("input", { type: "checkbox", dataset: { key: "auto-grow" }, checked: app.settings.autoGrow, onchange: (e) => app.set("autoGrow", e.target.checked) });
  const range = h("p", { class: "ps-hint", hidden: true });
  app.on("range", () => {
    const [[plane, ends] = ["", {}]] = Object.entries(app.range);
    range.hidden = ends.first === undefined && ends.last === undefined;
    if (!range.hidden) range.textContent = t("grow.range", { view: t(`view.${app.planes.frame.view(plane)}`), first: ends.first === undefined ? "…" : ends.first + 1, last: ends.last === undefined ? "…" : ends.last + 1 });
  });
  const growButton = h("button", { type: "button", class: "ps-button ps-primary ps-wide", onclick: () => app.grow(), dataset: { key: "grow-wide" } }, icon("grow", 16), t("grow"), h("kbd", {}, "Space"));
  const grow = h("div", { class: "ps-stack" }, growButton, h("label", { class: "ps-check" }, auto, t("grow.auto")), range);
  const edits = editButtons(app);
  const hint = h("p", { class: "ps-hint" });

  const rule = h("select", { class: "ps-select", "aria-label": t("overlap"), dataset: { key: "overlap" }, onchange: (e) => app.setOverlap(e.target.value) },
    ["keep", "overwrite", "visible"].map((id) => h("option", { value: id }, t(`overlap.${id}`))));
  const overlap = h("label", { class: "ps-overlap", title: t("overlap.title") }, t("overlap"), rule);

  let shown = null;
  const draw = () => {
    const session = app.session;
    if (!session) return;
    if (!isTyping(list)) replaceKeepingFocus(list, session.labels.map((label) => row(app, label)));
    if (shown !== session.selected) list.querySelector(".ps-selected")?.scrollIntoView({ block: "nearest" });
    shown = session.selected;
    hint.textContent = session.labels.length ? "" : t("labels.none");
    hint.hidden = Boolean(session.labels.length);
    const own = app.shownPrompts(true);
    replaceKeepingFocus(prompts, own.map((item) => promptRow(app, item)));
    promptsHead.hidden = prompts.hidden = !own.length;
    grow.hidden = app.flat2d;
    growButton.disabled = !own.length || Boolean(app.job);
    overlap.hidden = session.labels.length < 2;
    rule.value = session.overlap;
    edits.hidden = !session.labels.length;
  };
  const promptsHead = h("h2", { class: "ps-head" }, t("prompts"));
  for (const event of ["labels", "prompts", "session", "job"]) app.on(event, draw);
  return [
    h("h2", { class: "ps-head" }, t("labels"), setsMenu(app, actions.ask), h("label", { class: "ps-opacity", title: t("labels.opacity") }, icon("eye", 14), opacity)),
    hint, list, overlap,
    h("div", { class: "ps-add" }, name, iconButton("plus", t("label.add"), add, { class: "ps-filled", dataset: { key: "add-label" } }),
      iconButton("upload", t("masks.add"), () => masks.click(), { class: "ps-filled", dataset: { key: "add-masks" } }), masks), anatomyList(actions),
    brushPanel(app), promptsHead, prompts, grow, edits,
  ];
}

/** Anatomy names stay English identifiers in files: "left kidney" is typed, kidney_left may be picked. */
function identifier(text) {
  const bare = text.trim();
  return bare.replace(/\s+/g, "_") || undefined;
}

function anatomyList(actions) {
  const options = h("datalist", { id: "ps-anatomy" });
  actions.anatomy().then((names) => options.append(...names.map((n) => h("option", { value: n }, anatomy(n)))));
  return options;
}

function row(app, label) {
  const selected = label.value === app.session.selected;
  const rename = (input) => { const to = identifier(input.value); if (to && to !== label.name) app.patchLabel(label.value, { name: to }); };
  const patch = (body) => app.patchLabel(label.value, body);
  const colour = h("input", { type: "color", value: label.colour, class: "ps-colour", "aria-label": t("label.colour", { name: label.name }), onchange: (e) => patch({ colour: e.target.value }) });
  const choose = h("button", { type: "button", class: "ps-name", "aria-pressed": String(selected), dataset: { key: `label-${label.value}` }, onclick: (event) => {
    const again = clicked.value === label.value && event.timeStamp - clicked.at < TWICE_MS; // choosing draws the list anew: no dblclick comes
    clicked = { value: label.value, at: event.timeStamp };
    if (again) edit(event.currentTarget);
    else app.select(label.value);
  } }, label.value < 10 ? h("kbd", {}, String(label.value)) : null, h("span", {}, anatomy(label.name)));
  const edit = (at) => {
    const input = h("input", { type: "text", class: "ps-input", value: label.name, list: "ps-anatomy", "aria-label": t("label.rename"), maxLength: 100 });
    let done = false;
    const finish = (keep) => { if (done) return; done = true; input.blur(); if (keep) rename(input); app.emit("labels"); };
    input.addEventListener("keydown", (e) => { e.stopPropagation(); if (e.key === "Enter") finish(true); if (e.key === "Escape") finish(false); });
    input.addEventListener("blur", () => finish(true));
    at.replaceWith(input);
    input.focus();
    input.select();
  };
  const menu = h("div", { class: "ps-menu", hidden: true });
  const more = iconButton("more", t("label.more", { name: label.name }), () => { menu.hidden = !menu.hidden; more.setAttribute("aria-expanded", String(!menu.hidden)); }, { class: "ps-small", "aria-expanded": "false", dataset: { key: `more-${label.value}` } });
  const others = app.session.labels.filter((l) => l.value !== label.value);
  fill(menu, h("label", { class: "ps-menu-row" }, t("label.opacity"), h("input", { type: "range", min: 0, max: 1, step: 0.05, value: label.opacity ?? 0.5, onchange: (e) => patch({ opacity: Number(e.target.value) }) })),
    h("button", { type: "button", class: "ps-menu-row", onclick: () => app.goToLabel(label.value) }, t("label.go"), h("kbd", {}, "J")),
    h("button", { type: "button", class: "ps-menu-row", onclick: () => { menu.hidden = true; edit(choose); } }, t("label.rename")),
    others.length ? h("label", { class: "ps-menu-row" }, t("label.merge"), h("select", { class: "ps-select", "aria-label": t("label.merge"), onchange: (e) => e.target.value && app.mergeLabel(label.value, Number(e.target.value)) },
      h("option", { value: "" }, "…"), others.map((o) => h("option", { value: o.value }, anatomy(o.name))))) : null,
    h("button", { type: "button", class: "ps-menu-row ps-danger", onclick: () => app.deleteLabel(label.value) }, icon("trash", 15), t("label.delete")));
  return h("li", { class: `ps-label ${selected ? "ps-selected" : ""}`, dataset: { label: label.value } },
    h("div", { class: "ps-label-row" }, colour, choose, h("span", { class: "ps-volume" }, amount(label)),
      iconButton(label.visible === false ? "eyeOff" : "eye", t(label.visible === false ? "label.show" : "label.hide", { name: label.name }), () => patch({ visible: label.visible === false }), { class: "ps-small", dataset: { key: `eye-${label.value}` } }),
      iconButton(label.locked ? "lock" : "unlock", t(label.locked ? "label.unlock" : "label.lock", { name: label.name }), () => patch({ locked: !label.locked }), { class: `ps-small ${label.locked ? "ps-on" : ""}`, dataset: { key: `lock-${label.value}` } }), more), menu);
}

/** How large a label is, in the unit that the server gives: it knows whether the file states a voxel size. */
export function amount({ size: { value, unit } }) {
  if (unit === "mm2") return `${(value / 100).toFixed(1)} cm²`;
  if (unit === "ml") return `${value >= 100 ? Math.round(value) : value >= 1 ? value.toFixed(1) : value.toFixed(2)} ml`;
  return `${value} ${unit}`;
}

function promptRow(app, { id, prompt }) {
  const negative = prompt.positive === false;
  const name = prompt.type === "point" && negative ? "negative" : KIND_ICONS[prompt.type];
  return h("li", { class: `ps-prompt ${app.chosenPrompt === id ? "ps-selected" : ""}`, dataset: { prompt: id } },
    h("button", { type: "button", class: "ps-name", dataset: { key: `prompt-${id}` }, onclick: () => { jump(app, prompt); app.choosePrompt(id); } },
      h("span", { class: negative ? "ps-negative" : "ps-positive" }, icon(name, 15)), h("span", {}, t(`prompt.${prompt.type}`)), h("span", { class: "ps-faint" }, where(app, prompt))),
    iconButton("close", t("prompt.delete"), () => app.deletePrompt(id), { class: "ps-small", dataset: { key: `drop-${id}` } }));
}

function middle(prompt) {
  if (prompt.type === "point") return prompt.voxel;
  if (prompt.type === "box") return prompt.voxel.length ? prompt.voxel[0].map((v, i) => (v + prompt.voxel[1][i] - 1) / 2) : null;
  if (prompt.type === "scribble") return prompt.voxels[Math.floor(prompt.voxels.length / 2)];
  if (prompt.type !== "lasso") return null;
  const axis = ["axial", "coronal", "sagittal"].indexOf(prompt.plane);
  const mean = [0, 1].map((i) => prompt.polygon.reduce((s, p) => s + p[i], 0) / prompt.polygon.length);
  const voxel = [0, 0, 0];
  voxel[axis] = prompt.index;
  [0, 1, 2].filter((i) => i !== axis).forEach((i, k) => { voxel[i] = mean[k]; });
  return voxel;
}

function jump(app, prompt) {
  const at = middle(prompt);
  if (at) app.moveCrosshair([at[2], at[1], at[0]]);
}

function where(app, prompt) {
  const at = middle(prompt);
  if (!at || app.flat2d) return "";
  const plane = prompt.plane ?? (prompt.type === "box" ? ["axial", "coronal", "sagittal"][prompt.voxel[0].findIndex((v, i) => prompt.voxel[1][i] - v <= 1)] ?? "axial" : "axial");
  const index = Math.round(at[["axial", "coronal", "sagittal"].indexOf(plane)]);
  return `${t(`view.${app.planes.frame.view(plane)}`)} ${index + 1}`;
}
