// Starts the program inside an element: loads texts and NiiVue, wires the parts, opens the session in the address.

import { Api, isTemporary } from "./api.js";
import { App } from "./app.js";
import { askFor } from "./ask.js";
import { h, icon } from "./dom.js";
import { LANGUAGES, language, loadLanguage, t } from "./i18n.js";
import { Keys } from "./keys.js";
import { Planes } from "./planes.js";
import { Shell } from "./shell.js";
import { Start } from "./start.js";
import { Volume3D } from "./volume3d.js";
import { nextCase } from "./worklist.js";

const BASE = new URL(".", import.meta.url).pathname.replace(/\/$/, "");
const LANGUAGE = "promptseg.language", THEME = "promptseg.theme";
const RETRY_MS = 1500;
const MOST_CHOICES = 12; // buttons for what a name can mean

export async function mount(root) {
  root.classList.add("ps-root");
  setTheme(localStorage.getItem(THEME) ?? "dark"); // images are read in the dark
  const asked = new URLSearchParams(location.search).get("lang");
  await loadLanguage(asked ?? localStorage.getItem(LANGUAGE) ?? navigator.language, BASE);
  document.documentElement.lang = language;
  try {
    const niivue = await loadNiivue();
    return await new Program(root, niivue).start();
  } catch (error) {
    root.replaceChildren(h("div", { class: "ps-fatal", role: "alert" }, h("h1", {}, t("fatal")), h("p", {}, error.message)));
    throw error;
  }
}

function loadNiivue() {
  return new Promise((resolve, reject) => {
    if (window.niivue?.Niivue) return resolve(window.niivue);
    const script = h("script", { src: `${BASE}/vendor/niivue.js` });
    script.onload = () => resolve(window.niivue);
    script.onerror = () => reject(new Error(t("fatal.viewer")));
    document.head.append(script);
  });
}

function setTheme(theme) {
  document.documentElement.dataset.psTheme = theme;
  document.body.classList.toggle("dark", theme === "dark");
  localStorage.setItem(THEME, theme);
}

class Program {
  constructor(root, niivue) {
    this.root = root;
    this.api = new Api();
    this.configuration = {};
    this.app = new App(this.api, new Planes(null, niivue), new Volume3D(null, niivue));
    this.app.volume3d.isAwaited = () => this.app.busy > 0;
    this.shell = new Shell(root, this.app, this.actions());
    this.app.planes.canvas = this.shell.gl;
    this.app.volume3d.canvas = this.shell.gl3d;
    this.keys = new Keys(this.app, this.shell);
    this.startScreen = new Start(this.shell.screen, this.app, this.actions());
    this.away = null; // the note that the server does not answer
  }

  async start() {
    this.app.on("offline", () => this.reconnect());
    this.app.on("gone", () => { this.app.close(); this.home(); this.app.say(t("session.gone"), "warning"); });
    this.app.on("moved", ({ id }) => history.replaceState(null, "", `#/s/${id}`));
    await this.app.planes.start();
    this.configuration = await this.api.get("/config").catch(() => ({}));
    this.showDevice();
    window.promptseg = this.app; // for people who look, and for tests
    addEventListener("hashchange", () => this.route());
    await this.route();
    this.root.dataset.ready = "true";
    return this.app;
  }

  async route() {
    const id = /^#\/s\/([\w-]+)$/.exec(location.hash)?.[1];
    if (id && id === this.app.session?.id) return;
    if (!id) { await this.app.close(); await this.startScreen.show(); return this.openNamed(); }
    await this.startScreen.show();
    this.startScreen.progress(0.3, t("open.loading"));
    try { await this.openSession(id); } catch (error) {
      if (isTemporary(error)) return this.reconnect();
      history.replaceState(null, "", "#");
      this.startScreen.fail(error);
    }
  }

  /** ?open=PATH, as `promptseg app PATH` puts it into the address. */
  async openNamed() {
    const address = new URL(location.href);
    const path = address.searchParams.get("open");
    if (!path) return;
    address.searchParams.delete("open");
    history.replaceState(null, "", address);
    await this.startScreen.openStudy({ path });
  }

  async openSession(id, onProgress) {
    try { await this.app.openSession(id, { onProgress }); } catch (error) {
      if (error.code !== "changed" || !await this.restore(id, error)) throw error;
      await this.app.openSession(id, { onProgress });
    }
    if (location.hash !== `#/s/${id}`) history.pushState(null, "", `#/s/${id}`);
    this.startScreen.progress(null);
  }

  /** A session whose weights or masks are not those of then: ask in which way it comes back; false where in none. */
  async restore(id, { message, choices }) {
    const how = await this.choose(message, choices.filter((choice) => choice !== "new").map((choice) => [choice, t(`changed.${choice}`)]));
    if (how) await this.api.post(`/sessions/${id}/restore`, { how });
    return Boolean(how);
  }

  async home() {
    if (location.hash) history.pushState(null, "", location.pathname + location.search);
    await this.app.close();
    await this.startScreen.show();
  }

  /** The server is away: ask until it answers, then take its state. */
  async reconnect() {
    if (this.away) return;
    this.away = h("div", { class: "ps-away", role: "alert" }, t("offline.retry"));
    this.root.append(this.away);
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      try {
        await this.api.get("/health");
        if (this.app.session) await this.app.resume();
        else await this.route();
        break;
      } catch (error) { if (!isTemporary(error)) { this.app.fail(error); break; } }
    }
    this.away.remove();
    this.away = null;
    this.app.say(t("offline.back"));
  }

  async showDevice() {
    try {
      const device = await this.api.get("/device");
      this.shell.device.textContent = device.name ?? device.device ?? "";
      this.shell.device.title = `${t("device")}: ${device.description ?? device.name ?? device.device ?? ""}`;
    } catch { this.shell.device.hidden = true; }
  }

  actions() {
    const { api } = this;
    return {
      config: () => this.configuration,
      home: () => this.home(),
      confirm: (text, yes) => this.confirm(text, yes),
      ask: (text) => askFor(this.root, text),
      focusPicture: () => this.shell.focusPicture(),
      openSession: (id, onProgress) => this.openSession(id, onProgress),
      newSession: async (body, onProgress) => {
        const state = await api.post("/sessions", body);
        await this.openSession(state.id, onProgress);
      },
      anatomy: () => fetch(`${BASE}/anatomy.json`).then((r) => r.json()).catch(() => []),
      setLanguage: (chosen) => { localStorage.setItem(LANGUAGE, chosen in LANGUAGES ? chosen : "en"); location.reload(); },
      toggleTheme: () => {
        setTheme(document.documentElement.dataset.psTheme === "dark" ? "light" : "dark");
        this.shell.showTheme();
      },
      download: (format) => this.download(format),
      screenshot: () => this.screenshot(),
      useModel: async (model) => {
        const { study, series, frame } = this.app.session;
        await this.app.enqueue(async () => {
          const state = await api.post("/sessions", { study, series, ...(frame ? { frame } : {}), model });
          await this.openSession(state.id);
          this.app.say(t("model.new"));
        });
      },
      pullModel: (model) => this.pull(model),
      wholeBody: (fast) => this.app.startJob("wholebody", (at) => api.post(`${at}/wholebody`, { fast })),
      segmentText: async (text, fast) => {
        if (!text.trim()) return [];
        try { this.app.followJob((await api.post(`/sessions/${this.app.session.id}/text`, { text: text.trim(), fast })).id, "text"); return []; } catch (error) {
          if (error.code !== "unknown_name") { this.app.fail(error); return []; }
          this.app.say(error.message, "warning");
          return error.choices.slice(0, MOST_CHOICES);
        }
      },
      downloadAll: () => this.save("/collection?format=nii.gz&state=done", "sessions.zip"),
      describe: async (changes) => {
        const { session } = this.app;
        try {
          const { title, state, note } = await api.patch(`/sessions/${session.id}`, changes);
          Object.assign(session, { title, state, note });
        } catch (error) { this.app.fail(error); }
        this.shell.showCase();
      },
      nextCase: async () => {
        const next = await nextCase(api, this.app.session?.id).catch((error) => this.app.fail(error));
        if (next) await this.openSession(next.id).catch((error) => this.app.fail(error));
        else if (next === null) this.app.say(t("sessions.all_done"));
      },
      openFiles: async (files) => { await this.home(); await this.startScreen.send(files); },
    };
  }

  async pull(model) {
    const size = model.size_bytes ? t("model.size", { size: `${Math.max(1, Math.round(model.size_bytes / 1e6))} MB` }) : "";
    const licence = `${t("model.licence", { title: model.title, licence: model.licence })} ${size}`;
    const unchecked = model.unchecked.length > 0;
    const warning = unchecked ? { text: t("model.unchecked", { files: model.unchecked.join(", ") }), check: t("model.trust") } : null;
    if (!await this.confirm(licence, t("model.get"), warning)) return;
    try {
      const { id } = await this.api.post(`/models/${model.id}/pull`, { accept_licence: true, trust_on_first_use: unchecked });
      await this.app.followJob(id, "pull");
    } catch (error) { this.app.fail(error); }
  }

  /**
   * Ask a question; with a warning, "yes" needs its box ticked.
   * @param {string} text
   * @param {string} yes
   * @param {{text: string, check: string} | null} warning
   * @returns {Promise<boolean>}
   */
  async confirm(text, yes, warning = null) {
    return await this.choose(text, [["yes", yes]], warning) === "yes";
  }

  /**
   * Ask which of several [value, label] it shall be; "" for none. With a warning its box comes first.
   * @param {string} text
   * @param {[string, string][]} ways
   * @param {{text: string, check: string} | null} warning
   * @returns {Promise<string>}
   */
  choose(text, ways, warning = null) {
    return new Promise((resolve) => {
      const dialog = h("dialog", { class: "ps-dialog", "aria-label": ways[0]?.[1] ?? text });
      const button = (label, value, cls) => h("button", { type: "button", class: `ps-button ${cls}`, dataset: { choice: value }, onclick: () => { dialog.returnValue = value; dialog.close(); } }, label);
      const agree = ways.map(([value, label], i) => button(label, value, i ? "" : "ps-primary"));
      for (const one of agree) one.disabled = Boolean(warning);
      const box = h("input", { type: "checkbox", onchange: () => { for (const one of agree) one.disabled = !box.checked; } });
      const said = warning ? [h("div", { class: "ps-caution" }, h("p", {}, icon("warning", 16), h("span", {}, warning.text)), h("label", { class: "ps-check" }, box, h("span", {}, warning.check)))] : [];
      dialog.append(h("p", {}, text), ...said, h("div", { class: "ps-buttons" }, ...agree, button(t("cancel"), "", "")));
      dialog.addEventListener("close", () => { resolve(dialog.returnValue); dialog.remove(); });
      this.root.append(dialog);
      dialog.showModal();
    });
  }

  /** A file of the session, named after study and labels: the server names no files after patients. */
  async download(format) {
    const { session } = this.app;
    if (!session) return;
    const only = session.labels.length === 1 ? `_${session.labels[0].name}` : "";
    const name = `${session.title.replace(/\.(nii|gz|dcm|nrrd|mha|zip|png|jpe?g|tiff?)\b/gi, "")}${only}`.replace(/[^\p{L}\p{N}_.-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "");
    await this.save(`/sessions/${session.id}/export?format=${encodeURIComponent(format)}${this.app.keepIdentity ? "&identity=true" : ""}`, `${name}.${format}`, name);
  }

  /** Download a file; the server's name for it stands behind `before`. */
  async save(path, plain, before = "") {
    this.app.say(t("export.working"));
    try {
      const response = await this.api.fetch("GET", path);
      const named = /filename="?([^";]+)/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
      save(await response.blob(), named ? [before, named].filter(Boolean).join("_") : plain);
    } catch (error) { this.app.fail(error); }
  }

  /** The planes, their marks and the 3D view as one PNG, with the research note burnt in. */
  screenshot() {
    const { app, shell } = this;
    if (!app.session) return;
    app.planes.draw();
    const picture = h("canvas", { width: shell.gl.width, height: shell.gl.height + 26 });
    const context = picture.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, picture.width, picture.height);
    context.drawImage(shell.gl, 0, 0);
    if (!shell.gl3d.hidden && app.volume3d.planes) {
      app.volume3d.draw();
      const stage = shell.stage.getBoundingClientRect(), at = shell.gl3d.getBoundingClientRect();
      context.drawImage(shell.gl3d, ...[at.left - stage.left, at.top - stage.top, at.width, at.height].map((v) => v * app.pixelRatio));
    }
    context.drawImage(shell.marks, 0, 0);
    context.fillStyle = "#aab4c2";
    context.font = "13px system-ui, sans-serif";
    context.fillText(`promptseg · ${t("research")}`, 12, picture.height - 9);
    picture.toBlob((blob) => save(blob, "promptseg.png"), "image/png");
  }
}

function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 30_000);
}
