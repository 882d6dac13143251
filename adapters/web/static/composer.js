// The message box: text, pictures and commands, sent by Enter or the button.

import { byId, isComposing, newId } from "./dom.js";
import { Completion } from "./completion.js";
import * as pictures from "./pictures.js";
import { noteWords } from "./own_words.js";
import { Tray } from "./tray.js";

const DRAFT = "draft";
const ATTACHED = "attached";
const UNSENT = "unsent";
const MOST_UPLOADS = 4; // of a picture: what is lost each time is refused in the end

export class Composer {
  constructor(state, link, log) {
    this.state = state;
    this.link = link;
    this.log = log;
    this.box = byId("message");
    this.completion = new Completion(this.box, () => this.changed());
    /** By client_id, in order: what the server has not taken yet, and what it refused. A reload loses none of it. */
    this.outgoing = new Map();
    this.sending = Promise.resolve();
    const attached = read(ATTACHED);
    this.tray = new Tray(state, link, (sentence) => this.remark(sentence), (ids) => keep(ATTACHED, JSON.stringify(ids)));
    this.tray.restore(attached);
    pictures.forgetOld();
    this.box.addEventListener("input", () => this.changed());
    this.box.addEventListener("keydown", (event) => this.key(event));
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !isComposing(event) && !event.defaultPrevented) this.log.stopNewest();
    });
    new ResizeObserver(([dock]) => {
      document.documentElement.style.setProperty("--dock", `${dock.target.offsetHeight}px`);
    }).observe(document.querySelector(".dock"));
    this.fill(sessionStorage.getItem(DRAFT) ?? "", false);
  }

  /** Sends again what a reload of the page interrupted. */
  async resume() {
    if (this.resumed) return;
    this.resumed = true;
    for (const entry of read(UNSENT)) {
      this.outgoing.set(entry.client_id, entry);
      this.sending = this.sending.then(() => this.resumeOne(entry));
    }
  }

  async resumeOne(entry) {
    const shown = await Promise.all(entry.attached.map((id) => pictures.resume(id)));
    this.log.addPending(entry.client_id, entry.text, shown.filter(Boolean));
    if (entry.refused) return this.log.reject(entry.client_id, entry.refused, this);
    return this.deliver(entry, shown);
  }

  offer(commands) {
    this.completion.commands = commands;
  }

  fill(text, focus = true) {
    this.box.value = text;
    this.changed();
    if (focus) this.box.focus();
  }

  changed() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
    this.remark("");
    this.completion.update();
    keep(DRAFT, this.box.value);
  }

  remark(sentence) {
    byId("remark").textContent = sentence;
  }

  key(event) {
    if (isComposing(event) || this.completion.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.send();
    }
  }

  async send() {
    const text = this.box.value;
    const bytes = new TextEncoder().encode(JSON.stringify(text)).length;
    if (!text.trim() && this.tray.empty) return this.refuse("Write a message or attach a picture first.");
    if (bytes + 2000 > this.state.limits.message_bytes) {
      return this.refuse(`This message is too long: at most ${Math.floor(this.state.limits.message_bytes / 1024)} kB fit.`);
    }
    const taken = this.tray.take();
    const entry = { client_id: newId(), text, attached: taken.map(({ id }) => id) };
    this.outgoing.set(entry.client_id, entry);
    this.keepOutgoing();
    noteWords(entry.client_id, text);
    this.fill("");
    this.log.addPending(entry.client_id, text, taken);
    // One after the other: a message does not overtake one whose pictures are still being uploaded.
    this.sending = this.sending.then(() => this.deliver(entry, taken));
    return undefined;
  }

  async deliver(entry, shown) {
    try {
      if (!entry.pictures && shown.includes(undefined)) throw new Error("A picture was lost on the way. Please attach it again.");
      entry.pictures ??= await Promise.all(shown.map((each) => each.uploaded));
      this.keepOutgoing();
      this.link.sendSurely({ type: "message", client_id: entry.client_id, text: entry.text, pictures: entry.pictures });
    } catch (error) {
      this.rejected(entry.client_id, error.message);
    }
  }

  /** The server has taken the message. */
  accepted(clientId) {
    this.link.settle(clientId);
    this.log.settle(clientId);
    this.forget(clientId);
  }

  /**
   * The message was refused: its text stays, also over a reload, until it is edited. Where the server has lost a picture
   * (`lost`), the pictures are uploaded once more, and the message is sent again.
   */
  rejected(clientId, sentence, lost = false) {
    this.link.settle(clientId);
    const entry = this.outgoing.get(clientId);
    if (entry && lost && (entry.uploads ?? 1) < MOST_UPLOADS) {
      entry.uploads = (entry.uploads ?? 1) + 1;
      delete entry.pictures;
      this.keepOutgoing();
      this.sending = this.sending.then(async () => {
        await this.deliver(entry, await Promise.all(entry.attached.map((id) => pictures.again(id))));
      });
      return;
    }
    if (entry) entry.refused = sentence;
    this.keepOutgoing();
    if (!clientId || !this.log.reject(clientId, sentence, this)) this.remark(sentence);
  }

  /** A refused message is written once more. */
  edit(clientId, text) {
    this.forget(clientId);
    this.fill(text);
  }

  forget(clientId) {
    const entry = this.outgoing.get(clientId);
    if (!entry) return;
    for (const id of entry.attached) pictures.forget(id);
    this.outgoing.delete(clientId);
    this.keepOutgoing();
  }

  keepOutgoing() {
    keep(UNSENT, JSON.stringify([...this.outgoing.values()]));
  }

  refuse(sentence) {
    this.remark(sentence);
    this.box.focus();
  }
}

function read(name) {
  return JSON.parse(sessionStorage.getItem(name) ?? "[]");
}

function keep(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // What does not fit is only not kept over a reload.
  }
}
