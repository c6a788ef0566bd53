// The frame around the planes: top bar, tool rail, panes with their sliders, side panel, status line.

import { Marks } from "./marks.js";
import { TOOLS, Tools } from "./tools.js";
import { h, icon, iconButton } from "./dom.js";
import { LANGUAGES, language, t } from "./i18n.js";
import { commandsOf } from "./commands.js";
import { showHelp } from "./help.js";
import { showPalette } from "./palette.js";
import { FrameBar } from "./framebar.js";
import { StatusLine } from "./status.js";
import { WindowBar } from "./windowbar.js";
import { SliceStrip } from "./strip.js";
import { labelsPanel } from "./panels/labels.js";
import { reviewPanel } from "./panels/review.js";
import { measurePanel } from "./panels/measure.js";
import { exportPanel } from "./panels/export.js";
import { automaticPanel } from "./panels/automatic.js";

const ORDER = ["axial", "coronal", "sagittal"];
const MOST_PIXELS = 2; // device pixels per CSS pixel; more costs speed and shows nothing

export class Shell {
  constructor(root, app, actions) {
    this.root = root;
    this.app = app;
    this.actions = actions;
    this.panes = {};
    this.toolButtons = [];
    this.layout = "grid";
    this.large = "axial";
    this.tools = new Tools(app);
    this.build();
    app.marks = new Marks(this.marks, app);
    this.wire();
  }

  build() {
    this.gl = h("canvas", { class: "ps-gl", "aria-hidden": "true" });
    this.marks = h("canvas", { class: "ps-marks", "aria-hidden": "true" });
    this.gl3d = h("canvas", { class: "ps-gl3d", "aria-hidden": "true" });
    this.stage = h("div", { class: "ps-stage" }, this.gl, this.marks, ...ORDER.map((view) => this.pane(view)), this.pane3d());
    this.tabs = this.sidePanel();
    this.work = h("div", { class: "ps-work", hidden: true },
      this.rail(), h("div", { class: "ps-middle" }, this.notes = h("div", { class: "ps-notes" }), this.stage, new FrameBar(this.app).element), this.tabs.element);
    this.screen = h("div", { class: "ps-screen" });
    this.status = new StatusLine(this.app);
    this.toasts = h("div", { class: "ps-toasts", role: "status", "aria-live": "polite" });
    this.root.replaceChildren(this.topBar(), h("div", { class: "ps-main" }, this.screen, this.work), this.status.element, this.toasts);
  }

  // --- top bar -------------------------------------------------------------------------------------------------------

  topBar() {
    const { app, actions } = this;
    this.title = h("span", { class: "ps-title" });
    this.caseState = h("select", { class: "ps-select ps-state", "aria-label": t("sessions.state"), dataset: { key: "case-state" }, onchange: () => actions.describe({ state: this.caseState.value }) },
      ["new", "work", "done", "rejected"].map((state) => h("option", { value: state }, t(`state.${state}`))));
    this.case = h("div", { class: "ps-case", hidden: true }, this.caseState, iconButton("next", t("sessions.next"), () => actions.nextCase(), { dataset: { key: "next-case" } }));
    this.windowBar = new WindowBar(app);
    this.device = h("span", { class: "ps-chip", title: t("device") });
    this.undoButton = iconButton("undo", `${t("undo")} (Ctrl+Z)`, () => app.undo(), { dataset: { key: "undo" } });
    this.redoButton = iconButton("redo", `${t("redo")} (Ctrl+Y)`, () => app.redo(), { dataset: { key: "redo" } });
    this.session = h("div", { class: "ps-bar-session", hidden: true }, this.undoButton, this.redoButton, this.windowBar.element,
      this.layoutButton("grid", "grid"), this.layoutButton("split", "split"), this.layoutButton("one", "one"),
      iconButton("fit", `${t("view.fit")} (0)`, () => this.fit()),
      iconButton("camera", t("screenshot"), () => actions.screenshot()));
    const languages = h("select", { class: "ps-select", "aria-label": t("language"), onchange: (e) => actions.setLanguage(e.target.value) },
      Object.entries(LANGUAGES).map(([id, name]) => h("option", { value: id, selected: id === language }, name)));
    return h("header", { class: "ps-top" },
      h("button", { type: "button", class: "ps-logo", title: t("home"), onclick: () => actions.home() }, mark(), h("span", {}, "promptseg")),
      this.title, this.case, h("div", { class: "ps-spring" }), this.session, this.device, languages,
      this.themeButton = iconButton(otherTheme(), t("theme"), () => actions.toggleTheme(), { dataset: { key: "theme" } }),
      iconButton("search", `${t("palette")} (Ctrl+K)`, () => this.palette(), { dataset: { key: "palette" } }),
      iconButton("help", `${t("help")} (?)`, () => this.help(), { dataset: { key: "help" } }));
  }

  /** The button shows what it would bring. */
  showTheme() { this.themeButton.replaceChildren(icon(otherTheme())); }

  layoutButton(id, name) {
    return iconButton(name, t(`layout.${id}`), () => this.setLayout(id), { dataset: { layout: id } });
  }

  // --- tools ---------------------------------------------------------------------------------------------------------

  rail() {
    const { app } = this;
    this.toolButtons = TOOLS.map(({ id, key, icon: name }) =>
      iconButton(name, `${t(`tool.${id}`)} (${key.toUpperCase()})`, () => app.setTool(id), { dataset: { tool: id, key: `tool-${id}` }, "aria-pressed": "false" }));
    const gap = () => h("div", { class: "ps-gap", role: "presentation" });
    this.brushSize = h("input", { type: "range", min: 1, max: 40, step: 0.5, class: "ps-brush", "aria-label": t("brush.size"), oninput: (e) => app.setBrush(Number(e.target.value)) });
    this.brushBox = h("label", { class: "ps-brush-box" }, this.brushText = h("span", {}), this.brushSize);
    return h("div", { class: "ps-rail", role: "toolbar", "aria-label": t("tools"), "aria-orientation": "vertical" },
      this.toolButtons.slice(0, 5), gap(), this.toolButtons.slice(5, 7), this.brushBox, gap(), this.toolButtons.slice(7), gap(),
      this.growButton = iconButton("grow", `${t("grow")} (Space)`, () => app.grow(), { dataset: { key: "grow" } }));
  }

  showTool() {
    const { app } = this;
    this.toolButtons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.tool === app.tool)));
    this.brushBox.hidden = !(app.tool === "paint" || app.tool === "erase");
    this.brushSize.value = app.brushMm;
    this.brushText.textContent = `${app.brushMm.toFixed(1)} ${app.planes.measured ? "mm" : "px"}`;
  }

  // --- panes ---------------------------------------------------------------------------------------------------------

  pane(view) {
    const strip = new SliceStrip(this.app, view);
    const surface = h("div", { class: "ps-surface", tabIndex: 0, role: "application", "aria-label": t(`view.${view}`), "aria-roledescription": t("view.role"), dataset: { view } });
    const title = h("span", { class: "ps-pane-title" }, t(`view.${view}`));
    const number = h("span", { class: "ps-pane-number" });
    const expand = iconButton("expand", t("layout.expand"), () => this.expand(view), { class: "ps-small" });
    const element = h("section", { class: "ps-pane", "aria-label": t(`view.${view}`), dataset: { pane: view } },
      surface, h("div", { class: "ps-pane-head" }, h("span", { class: `ps-dot ps-${view}` }), title, number, h("span", { class: "ps-spring" }), expand), strip.element);
    surface.addEventListener("dblclick", () => this.app.tool === "move" && this.expand(view));
    this.tools.attach(surface, view);
    this.panes[view] = { element, surface, strip, number, title };
    return element;
  }

  pane3d() {
    const surface = h("div", { class: "ps-surface", tabIndex: 0, role: "application", "aria-label": t("view.3d"), "aria-roledescription": t("view.role"), dataset: { view: "3d" } });
    let from = null;
    surface.addEventListener("pointerdown", (e) => { from = [e.clientX, e.clientY]; surface.setPointerCapture?.(e.pointerId); });
    surface.addEventListener("pointermove", (e) => {
      if (!from) return;
      this.app.volume3d.turn(e.clientX - from[0], e.clientY - from[1]);
      from = [e.clientX, e.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) surface.addEventListener(end, () => { from = null; });
    surface.addEventListener("wheel", (e) => { e.preventDefault(); this.app.volume3d.zoom(Math.exp(-e.deltaY / 600)); }, { passive: false });
    surface.addEventListener("keydown", (e) => {
      const turn = { ArrowLeft: [-20, 0], ArrowRight: [20, 0], ArrowUp: [0, -20], ArrowDown: [0, 20] }[e.key];
      if (turn) { e.preventDefault(); e.stopPropagation(); this.app.volume3d.turn(...turn); }
    });
    const element = h("section", { class: "ps-pane ps-pane-3d", "aria-label": t("view.3d"), dataset: { pane: "3d" } }, this.gl3d, surface,
      h("div", { class: "ps-pane-head" }, h("span", { class: "ps-dot ps-3d" }), h("span", { class: "ps-pane-title" }, t("view.3d")), h("span", { class: "ps-spring" }),
        this.masksOnly = iconButton("body", t("view.masks"), () => this.toggleBody(), { class: "ps-small", dataset: { key: "masks-only" }, "aria-pressed": String(this.app.settings.masksOnly) }),
        iconButton("fit", t("view.reset"), () => this.app.volume3d.planes && this.app.volume3d.reset(), { class: "ps-small" }),
        iconButton("expand", t("layout.expand"), () => this.expand("3d"), { class: "ps-small" })));
    this.panes["3d"] = { element, surface };
    return element;
  }

  showCase() {
    const { session } = this.app;
    this.title.textContent = session?.title ?? "";
    this.title.title = session?.note ?? "";
    this.case.hidden = !session;
    if (session) this.caseState.value = session.state === "new" && session.labels.length ? "work" : session.state;
  }

  /** The 3D view with the body, or the masks alone. */
  toggleBody() {
    const { app } = this;
    app.set("masksOnly", !app.settings.masksOnly);
    app.volume3d.showPicture(!app.settings.masksOnly);
    this.masksOnly.setAttribute("aria-pressed", String(app.settings.masksOnly));
  }

  setLayout(layout) {
    this.layout = layout;
    this.arrange();
  }

  expand(view) {
    if (this.layout === "one" && this.large === view) this.layout = this.before ?? "grid";
    else { this.before = this.layout === "one" ? this.before : this.layout; this.layout = "one"; this.large = view; }
    this.arrange();
  }

  /** Put panes where the layout wants them and tell the planes; a 2D image has one large view. */
  arrange() {
    const { app } = this;
    if (!app.planes.image) return;
    const flat = app.flat2d;
    const only = flat ? ORDER.find((view) => app.planes.frame.normal(view) === app.planes.frame.flat) : this.layout === "one" ? this.large : null;
    this.stage.dataset.layout = only ? "one" : this.layout;
    for (const [view, { element }] of Object.entries(this.panes)) element.hidden = Boolean(only && view !== only) || (view === "3d" && !app.settings.volume3d);
    this.stage.dataset.large = this.large;
    for (const button of this.session.querySelectorAll("[data-layout]")) {
      button.setAttribute("aria-pressed", String(button.dataset.layout === this.layout));
      button.hidden = flat;
    }
    this.measure();
  }

  measure() {
    const { app, stage } = this;
    const box = stage.getBoundingClientRect();
    if (!box.width || !app.planes.image) return;
    app.pixelRatio = Math.min(MOST_PIXELS, window.devicePixelRatio || 1);
    const px = (v) => Math.round(v * app.pixelRatio);
    for (const canvas of [this.gl, this.marks]) size(canvas, px(box.width), px(box.height));
    const old = app.planes.panes;
    app.planes.panes = new Map();
    for (const view of ORDER) {
      const { element, surface } = this.panes[view];
      if (element.hidden) continue;
      const at = surface.getBoundingClientRect();
      const pane = old.get(view) ?? { pan: [0, 0], zoom: 1 };
      app.planes.panes.set(view, { ...pane, rect: [px(at.left - box.left), px(at.top - box.top), px(at.width), px(at.height)] });
    }
    const at = this.panes["3d"].surface.getBoundingClientRect();
    this.gl3d.hidden = !at.width;
    app.planes.clear();
    app.volume3d.resize(px(at.width), px(at.height));
    app.redraw();
    ORDER.forEach((view) => this.panes[view].strip.draw());
  }

  /** The view that keys go to before one was touched. */
  visibleView() { return [...this.app.planes.panes.keys()][0] ?? "axial"; }

  /** The keyboard to the picture that was looked at last. */
  focusPicture() {
    this.panes[this.app.lastView ?? this.visibleView()].surface.focus({ preventScroll: true });
  }

  fit() {
    this.app.planes.resetViews();
    this.app.redraw();
  }

  // --- side panel ----------------------------------------------------------------------------------------------------

  sidePanel() {
    const { app, actions } = this;
    const parts = { segment: labelsPanel, review: reviewPanel, measure: measurePanel, automatic: automaticPanel, export: exportPanel };
    const ids = Object.keys(parts);
    const panels = Object.fromEntries(ids.map((id) => [id, h("div", { class: "ps-panel", role: "tabpanel", id: `ps-panel-${id}`, tabIndex: 0, "aria-labelledby": `ps-tab-${id}`, hidden: id !== "segment" }, parts[id](app, actions))]));
    const buttons = ids.map((id) => h("button", { type: "button", role: "tab", id: `ps-tab-${id}`, class: "ps-tab", "aria-controls": `ps-panel-${id}`, "aria-selected": String(id === "segment"), tabIndex: id === "segment" ? 0 : -1, onclick: () => show(id) }, t(`tab.${id}`)));
    const show = (id) => {
      ids.forEach((other, i) => {
        panels[other].hidden = other !== id;
        buttons[i].setAttribute("aria-selected", String(other === id));
        buttons[i].tabIndex = other === id ? 0 : -1;
      });
      app.emit("tab", id);
    };
    const list = h("div", { class: "ps-tabs", role: "tablist", "aria-label": t("panel") }, buttons);
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.stopPropagation();
      const next = (ids.findIndex((_, i) => buttons[i].tabIndex === 0) + step + ids.length) % ids.length;
      show(ids[next]);
      buttons[next].focus();
    });
    return { element: h("aside", { class: "ps-side", "aria-label": t("panel") }, list, Object.values(panels)), show };
  }

  help() { showHelp(this.root, commandsOf(this.app, this, this.actions)); }

  palette() { showPalette(this.root, commandsOf(this.app, this, this.actions).filter((one) => !one.needsSession || this.app.session)); }

  // --- messages ---------------------------------------------------------------------------------------------------

  toast({ text, kind, action }) {
    const act = action && h("button", { type: "button", class: "ps-button", onclick: () => { toast.remove(); action.run(); } }, action.text);
    const toast = h("div", { class: `ps-toast ps-${kind}`, role: kind === "error" ? "alert" : null }, h("span", {}, text[0].toUpperCase() + text.slice(1)), act,
      iconButton("close", t("close"), () => toast.remove(), { class: "ps-small" }));
    this.toasts.append(toast);
    while (this.toasts.children.length > 4) this.toasts.firstChild.remove();
    if (kind !== "error") setTimeout(() => toast.remove(), action ? 12_000 : 5000);
  }

  showFindings(findings = []) {
    const shown = findings.filter((f) => f.severity !== "info");
    const notes = shown.map((finding) => h("div", { class: `ps-note ps-${finding.severity}`, role: "note" }, icon("warning", 16), h("span", {}, finding.sentence),
      iconButton("close", t("close"), (e) => { e.currentTarget.parentElement.remove(); this.measure(); }, { class: "ps-small" })));
    const several = () => h("details", { ontoggle: () => this.measure() }, h("summary", {}, icon("warning", 14), " ", t("notes", { count: notes.length })), notes);
    this.notes.replaceChildren(...(notes.length > 1 ? [several()] : notes));
  }

  // --- events --------------------------------------------------------------------------------------------------------

  wire() {
    const { app } = this;
    app.on("tool", () => this.showTool());
    for (const event of ["job", "prompts", "session"]) app.on(event, () => { this.growButton.disabled = Boolean(app.job) || !app.session?.prompts.length || app.flat2d; });
    app.on("message", (message) => this.toast(message));
    app.on("slice", () => this.showSlices());
    app.on("review", () => ORDER.forEach((view) => this.panes[view].strip.draw()));
    app.on("prompts", () => ORDER.forEach((view) => this.panes[view].strip.draw()));
    app.on("labels", () => {
      this.showCase();
      app.followPointer();
      this.undoButton.disabled = !app.session?.can_undo;
      this.redoButton.disabled = !app.session?.can_redo;
    });
    app.on("session", (state) => this.showSession(state));
    this.stage.addEventListener("dragover", (event) => event.preventDefault());
    this.stage.addEventListener("drop", (event) => {
      event.preventDefault();
      const files = [...event.dataTransfer.files];
      if (files.length) app.addMasks(files, () => this.actions.openFiles(files));
    });
    new ResizeObserver(() => this.measure()).observe(this.stage);
    this.showTool();
  }

  showSession(state) {
    this.work.hidden = !state;
    this.screen.hidden = Boolean(state);
    this.session.hidden = !state;
    this.showCase();
    if (!state) return;
    this.toasts.replaceChildren(); // what was said belongs to the study before
    this.showFindings(state.findings);
    this.arrange();
    this.showSlices();
    this.showTool();
    const oblique = this.app.planes.frame.obliqueness;
    for (const view of ORDER) this.panes[view].title.textContent = this.app.flat2d ? t("view.picture") : t(`view.${view}`) + (oblique > 1 && !this.app.flat2d ? ` · ${t("view.oblique", { degrees: Math.round(oblique) })}` : "");
  }

  showSlices() {
    const { planes } = this.app;
    for (const view of ORDER) {
      const { number, strip } = this.panes[view];
      number.textContent = planes.frame.count(view) < 2 ? "" : `${planes.crosshair[planes.frame.normal(view)] + 1} / ${planes.frame.count(view)}`;
      strip.show();
    }
  }
}

const otherTheme = () => (document.documentElement.dataset.psTheme === "light" ? "moon" : "sun");

function size(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

function mark() {
  const svg = icon("point", 20);
  svg.classList.add("ps-mark");
  return svg;
}
