// The REST client. Every failure becomes an ApiError whose message is one sentence for a person.

export class ApiError extends Error {
  /**
   * `code` is the error's kind, `choices` what can be named or done instead.
   * @param {string} message
   * @param {number} status
   * @param {{code?: string, choices?: string[]}} facts
   */
  constructor(message, status, { code = "", choices = [] } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.choices = choices;
  }
}

const MOST_ATTEMPTS = 30;
const RETRY_STATUS = new Set([502, 503, 504]);

export class Api {
  constructor(base = "/api/v1") {
    this.base = base;
    this.following = new Map(); // job to what ends listening to it
  }

  url(path) {
    return this.base + path;
  }

  /** @param {string} method @param {string} path @param {{body?: unknown, signal?: AbortSignal}} options */
  async fetch(method, path, { body, signal } = {}) {
    /** @type {RequestInit} */
    const request = {
      method, signal, credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    };
    for (let attempt = 1; ; attempt++) {
      let response;
      try {
        response = await fetch(this.url(path), request);
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new ApiError("offline", 0);
      }
      if (response.ok) return response;
      const wait = Number(response.headers.get("Retry-After")); // nothing was done: ask again when the server says
      if (response.status !== 503 || !wait || attempt >= MOST_ATTEMPTS) throw refusal(parsed(await response.text()), response.status);
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(wait, 10)));
    }
  }

  async json(method, path, body) {
    const response = await this.fetch(method, path, { body });
    return response.status === 204 ? null : response.json();
  }

  get(path) { return this.json("GET", path); }
  post(path, body = {}) { return this.json("POST", path, body); }
  put(path, body) { return this.json("PUT", path, body); }
  patch(path, body) { return this.json("PATCH", path, body); }
  delete(path) { return this.json("DELETE", path); }

  /** Download into memory with progress 0..1 (null where the length is unknown). */
  async bytes(path, onProgress) {
    const response = await this.fetch("GET", path);
    const total = Number(response.headers.get("Content-Length")) || 0;
    if (!total || !response.body) return response.arrayBuffer();
    const bytes = new Uint8Array(total);
    let at = 0;
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > total) return joinRest(bytes.subarray(0, at), value, reader);
      bytes.set(value, at);
      at += value.length;
      onProgress?.(at / total);
    }
    return bytes.buffer;
  }

  /** Upload files as multipart; the names keep a folder's relative paths. */
  upload(path, files, onProgress) {
    return new Promise((resolve, reject) => {
      const form = new FormData();
      for (const { file, name } of files) form.append("files", file, name);
      const request = new XMLHttpRequest();
      request.open("POST", this.url(path));
      request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
      request.onload = () => {
        const answer = parsed(request.responseText);
        if (request.status < 300) resolve(answer);
        else reject(refusal(answer, request.status));
      };
      request.onerror = () => reject(new ApiError("offline", 0));
      request.send(form);
    });
  }

  /** Follow a job; onEvent gets every event, the promise ends with the last one. */
  follow(job, onEvent) {
    return new Promise((resolve, reject) => {
      const source = new EventSource(this.url(`/jobs/${job}/events`));
      source.onmessage = (message) => {
        const event = JSON.parse(message.data);
        if (event.kind === "progress") return onEvent(event);
        source.close();
        resolve(event);
        return undefined;
      };
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) reject(new ApiError("offline", 0));
      };
      this.following.set(job, () => { source.close(); resolve({ kind: "left" }); });
    }).finally(() => this.following.delete(job));
  }
}

export const isTemporary = (error) => error instanceof ApiError && (error.status === 0 || RETRY_STATUS.has(error.status));

function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}

function refusal(answer, status) {
  return new ApiError(answer?.detail ?? `The server answered ${status}.`, status, answer ?? {});
}

async function joinRest(start, chunk, reader) { // longer than announced: a proxy that compresses
  const parts = [start.slice(), chunk];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
  }
  return new Blob(parts).arrayBuffer();
}

/** base64(zlib(bytes)) to Uint8Array. */
export async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
