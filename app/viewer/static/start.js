// The first screen: open files or folders, the example, a folder on the server, sessions to go on with; series chooser.

import { fill, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { Worklist } from "./worklist.js";

const SEARCHED = 9; // from so many series on there is a field to search them
const FEW_FILES = 3; // more DICOM files in a folder are one entry

export class Start {
  constructor(screen, app, actions) {
    this.screen = screen;
    this.app = app;
    this.actions = actions;
  }

  async show() {
    const files = h("input", { type: "file", multiple: true, hidden: true, "aria-hidden": "true", tabIndex: -1, onchange: (e) => this.send([...e.target.files]), dataset: { input: "files" } });
    const folder = h("input", { type: "file", webkitdirectory: true, hidden: true, "aria-hidden": "true", tabIndex: -1, onchange: (e) => this.send([...e.target.files]), dataset: { input: "folder" } });
    const button = (name, key, action, cls = "") => h("button", { type: "button", class: `ps-button ${cls}`, onclick: action, dataset: { key } }, icon(name, 16), t(key));
    this.problem = h("p", { class: "ps-problem", role: "alert", hidden: true });
    this.drop = h("div", { class: "ps-drop" }, icon("upload", 30), h("h1", {}, t("open.title")), h("p", { class: "ps-faint" }, t("open.formats")),
      h("div", { class: "ps-buttons ps-centre" }, button("open", "open.files", () => files.click(), "ps-primary"), button("open", "open.folder", () => folder.click()), button("body", "open.example", () => this.openExample())),
      this.bar = h("div", { class: "ps-bar", role: "progressbar", "aria-label": t("progress"), "aria-valuemin": 0, "aria-valuemax": 100, hidden: true }, h("div", {})), this.status = h("p", { class: "ps-faint", "aria-live": "polite" }), this.problem);
    this.wireDrop();
    this.server = h("section", { class: "ps-box", hidden: true });
    const sessions = new Worklist(this.app, this.actions, this);
    this.screen.replaceChildren(h("div", { class: "ps-start" }, this.drop, files, folder, sessions.element, this.server));
    await Promise.allSettled([sessions.load(), this.listServer("")]);
    this.drop.classList.toggle("ps-small-drop", sessions.lines.length > 0);
  }

  wireDrop() {
    const zone = this.screen;
    zone.ondragover = (event) => { event.preventDefault(); this.drop.classList.add("ps-over"); };
    zone.ondragleave = () => this.drop.classList.remove("ps-over");
    zone.ondrop = async (event) => {
      event.preventDefault();
      this.drop.classList.remove("ps-over");
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      this.send(entries.length ? await walk(entries) : [...event.dataTransfer.files]);
    };
  }

  progress(share, text = "") {
    this.bar.hidden = share === null;
    if (share !== null) { this.bar.firstChild.style.width = `${Math.round(100 * share)}%`; this.bar.setAttribute("aria-valuenow", Math.round(100 * share)); }
    this.status.textContent = text;
  }

  fail(error) {
    this.progress(null);
    this.problem.hidden = false;
    this.problem.textContent = error.status === 0 ? t("offline") : error.message;
  }

  /** Upload files; a folder's files bring their relative paths. */
  async send(given) {
    const files = given.map((entry) => (entry.file ? entry : { file: entry, name: entry.webkitRelativePath || entry.name })).filter(({ name }) => !name.split("/").at(-1).startsWith("."));
    if (!files.length) return;
    this.problem.hidden = true;
    const limit = this.actions.config().max_upload_bytes;
    const total = files.reduce((sum, { file }) => sum + file.size, 0);
    if (limit && total > limit) return this.fail(new Error(t("open.large", { size: gib(total), limit: gib(limit) })));
    this.progress(0, t("open.sending", { count: files.length }));
    try {
      const study = await this.app.api.upload("/studies", files, (share) => this.progress(share, share < 1 ? t("open.sending", { count: files.length }) : t("open.reading")));
      await this.choose(study);
    } catch (error) { this.fail(error); }
  }

  async openExample() { return this.openStudy({ example: true }); }

  async openStudy(body) {
    this.problem.hidden = true;
    this.progress(0.15, t("open.reading"));
    try { await this.choose(await this.app.api.post("/studies", body)); } catch (error) { this.fail(error); }
  }

  async choose(study) {
    this.progress(null);
    const usable = study.series.filter((series) => !series.error);
    if (study.series.length === 1 && usable.length === 1) return this.open(study, usable[0]);
    if (study.series.length === 1) return this.fail(new Error(study.series[0].error));
    this.chooser(study);
  }

  async open(study, series, frame = null) {
    this.progress(0.2, t("open.reading"));
    try {
      await this.actions.newSession({ study: study.id, series: series.id, ...(frame === null ? {} : { frame }) }, (share) => this.progress(share, t("open.loading")));
      this.progress(null);
      const masks = study.series.find((other) => other.labels && other.id !== series.id && String(other.shape) === String(series.shape));
      if (masks) this.app.say(t("masks.offer", { name: masks.title }), "info", { text: t("masks.take"), run: () => this.app.addMasksOf(masks.id) });
    } catch (error) { this.fail(error); }
  }

  chooser(study) {
    const dialog = h("dialog", { class: "ps-dialog ps-series", "aria-label": t("series.title") });
    const tile = (series) => h("button", { type: "button", class: "ps-tile", disabled: Boolean(series.error), onclick: () => { dialog.close(); this.open(study, series); } },
      series.error ? h("span", { class: "ps-tile-broken" }, icon("warning", 28)) : h("img", { src: this.app.api.url(`/studies/${study.id}/series/${encodeURIComponent(series.id)}/thumbnail.png`), alt: "", loading: "lazy" }),
      h("strong", {}, series.title || series.id), h("span", { class: "ps-faint" }, series.error || describe(series)), series.labels ? h("span", { class: "ps-chip" }, t("series.labels")) : null);
    const tiles = h("div", { class: "ps-tiles" });
    const search = h("input", { type: "search", class: "ps-input ps-search", placeholder: t("series.search"), "aria-label": t("series.search"), hidden: study.series.length < SEARCHED, oninput: () => show() });
    const show = () => {
      const words = search.value.toLowerCase().split(/\s+/);
      const text = (series) => `${series.title} ${describe(series)}`.toLowerCase();
      tiles.replaceChildren(...study.series.filter((series) => words.every((word) => text(series).includes(word))).sort((a, b) => Number(a.labels) - Number(b.labels)).map(tile));
    };
    show();
    fill(dialog, h("h2", {}, t("series.title")), h("p", { class: "ps-faint" }, t("series.count", { count: study.series.length })),
      study.findings.filter((f) => f.severity !== "info").slice(0, 3).map((f) => h("p", { class: `ps-note ps-${f.severity}` }, icon("warning", 16), f.sentence)),
      search, tiles, h("button", { type: "button", class: "ps-button", onclick: () => dialog.close() }, t("cancel")));
    dialog.addEventListener("close", () => dialog.remove());
    this.screen.append(dialog);
    dialog.showModal();
  }

  async listServer(path) {
    if (!this.actions.config().folders) return;
    const found = await this.app.api.get(`/folder?path=${encodeURIComponent(path)}`);
    if (!path && found.length === 1 && found[0].kind === "folder") return this.listServer(this.onlyRoot = found[0].path);
    const up = path && path !== this.onlyRoot ? path.split("/").slice(0, -1).join("/") : null;
    const entry = (item) => h("li", {}, h("button", { type: "button", class: "ps-row", onclick: () => (item.kind === "folder" ? this.listServer(item.path) : this.openStudy({ path: item.path })) }, icon(item.kind === "folder" ? "open" : "one", 15), h("span", {}, item.name)),
      item.kind === "folder" ? h("button", { type: "button", class: "ps-button", onclick: () => this.openStudy({ path: item.path }) }, t("open.this")) : null);
    const slices = found.filter(({ kind, name }) => kind === "file" && /\.(dcm|ima|dicom)$|^[^.]*$|\.\d+$/i.test(name));
    const shown = path && slices.length > FEW_FILES ? found.filter((item) => !slices.includes(item)) : found;
    const whole = shown === found ? null : h("li", {}, h("button", { type: "button", class: "ps-row", onclick: () => this.openStudy({ path }) }, icon("frames", 15), h("span", {}, t("open.slices", { count: slices.length }))));
    this.server.hidden = false;
    this.server.replaceChildren(h("h2", {}, t("open.server")), h("ul", { class: "ps-list ps-server" }, up === null ? null : h("li", {}, h("button", { type: "button", class: "ps-row", onclick: () => this.listServer(up) }, "↑ ..")), whole, shown.slice(0, 500).map(entry)));
  }
}

function describe(series) {
  const [z, y, x] = series.shape ?? [];
  return [series.modality, series.shape ? `${x} × ${y} × ${z}` : "", series.spacing_mm && z > 1 ? `${Number(series.spacing_mm[2].toFixed(2))} mm` : "", series.frames > 1 ? t("frames", { count: series.frames }) : ""].filter(Boolean).join(" · ");
}

const gib = (bytes) => (bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`);

/** All files below dropped folders, with their relative paths. */
async function walk(entries) {
  const found = [];
  const visit = async (entry, path) => {
    if (entry.isFile) {
      found.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), name: path + entry.name });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!batch.length) return;
      for (const inner of batch) await visit(inner, `${path}${entry.name}/`);
    }
  };
  for (const entry of entries) await visit(entry, "");
  return found;
}
