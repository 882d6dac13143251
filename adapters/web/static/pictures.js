// Pictures on their way: uploaded at once, and kept by the browser until they are sent, so that a reload loses none.

import { newId } from "./dom.js";

const STORE = "pictures";
const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 4000;
const KEPT_MS = 24 * 3600 * 1000;
const FRESH_MS = 10 * 60 * 1000; // the server forgets an upload that no message takes after 15 minutes

const AWAY = [502, 503, 504]; // what a proxy says while the server is restarted, and the server while its database is away

let opened;

/** Files by the picture's id, for a browser that keeps none over a reload. */
const files = new Map();

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("partyline", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** What the browser refuses to keep is only not kept over a reload. */
async function ask(mode, work) {
  try {
    const store = (await database()).transaction(STORE, mode).objectStore(STORE);
    return await new Promise((resolve, reject) => {
      const request = work(store);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  } catch {
    return undefined;
  }
}

/** A picture of `file` that is being uploaded; `uploaded` is a promise of the server's id for it. */
export function begin(file) {
  const id = newId();
  files.set(id, file);
  return uploading(id, file.name || "picture", file);
}

/** Uploads it; what is kept of it for a reload says under which id the server has it, once it does. */
function uploading(id, name, file) {
  const picture = { id, name, url: URL.createObjectURL(file) };
  const kept = ask("readwrite", (store) => store.put({ id, name, file, at: Date.now() }));
  picture.uploaded = upload(file, () => !picture.dropped).then(async (server) => {
    await kept;
    if (files.has(id)) await ask("readwrite", (store) => store.put({ id, name, file, at: Date.now(), server }));
    return server;
  });
  picture.uploaded.catch(() => undefined);
  return picture;
}

/** The picture as it was before the page was reloaded, undefined where the browser has it no more. */
export async function resume(id) {
  const kept = await ask("readonly", (store) => store.get(id));
  if (!kept) return undefined;
  files.set(id, kept.file);
  if (!kept.server || Date.now() - kept.at >= FRESH_MS) return uploading(id, kept.name, kept.file);
  return { id, name: kept.name, url: URL.createObjectURL(kept.file), uploaded: Promise.resolve(kept.server) };
}

/** The picture, uploaded once more: the server, which was started again, has it no more; undefined as of `resume`. */
export async function again(id) {
  const file = files.get(id) ?? (await ask("readonly", (store) => store.get(id)))?.file;
  if (!file) return undefined;
  files.set(id, file);
  return uploading(id, file.name || "picture", file);
}

export function forget(id) {
  files.delete(id);
  ask("readwrite", (store) => store.delete(id));
}

/** Forgets what pages that never came back have left. */
export async function forgetOld() {
  for (const kept of (await ask("readonly", (store) => store.getAll())) ?? []) {
    if (Date.now() - kept.at > KEPT_MS) forget(kept.id);
  }
}

/** Tries again for as long as there is no connection: a page that is being left has none either. */
async function upload(file, isWanted) {
  const form = new FormData();
  form.append("picture", file, file.name || "picture");
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LAST_PAUSE_MS)) {
    const response = await fetch("/upload", { method: "POST", body: form }).catch(() => undefined);
    if (response?.ok) return (await response.json()).pictures[0].id;
    if (response && !AWAY.includes(response.status)) {
      const answer = await response.json().catch(() => ({}));
      throw new Error(answer.sentence ?? "The picture could not be sent; please attach it again.");
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (!isWanted()) throw new Error("The picture is not wanted any more.");
  }
}
