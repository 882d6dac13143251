// The message box: text, pictures and commands, sent by Enter or the button.

import { byId, newId } from "./dom.js";
import { Completion } from "./completion.js";
import { Tray } from "./tray.js";

const DRAFT = "draft";
const UNSENT = "unsent";

export class Composer {
  constructor(state, link, log) {
    this.state = state;
    this.link = link;
    this.log = log;
    this.box = byId("message");
    this.completion = new Completion(this.box, () => this.changed());
    this.tray = new Tray(state, link, (sentence) => this.remark(sentence));
    this.box.addEventListener("input", () => this.changed());
    this.box.addEventListener("keydown", (event) => this.key(event));
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.log.stopNewest();
    });
    addEventListener("pagehide", () => keep(UNSENT, JSON.stringify([...link.unsettled.values()])));
    new ResizeObserver(([dock]) => {
      document.documentElement.style.setProperty("--dock", `${dock.target.offsetHeight}px`);
    }).observe(document.querySelector(".dock"));
    this.fill(sessionStorage.getItem(DRAFT) ?? "", false);
  }

  /** Sends again what a reload of the page interrupted. */
  resume() {
    const unsent = JSON.parse(sessionStorage.getItem(UNSENT) ?? "[]");
    sessionStorage.removeItem(UNSENT);
    for (const message of unsent) {
      this.log.addPending(message.client_id, message.text, []);
      this.link.sendSurely(message);
    }
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
    if (event.isComposing || this.completion.key(event)) return;
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
    const clientId = newId();
    const { pictures, uploaded } = this.tray.take();
    this.fill("");
    this.log.addPending(clientId, text, pictures);
    try {
      this.link.sendSurely({ type: "message", client_id: clientId, text, pictures: await uploaded });
    } catch (error) {
      this.log.reject(clientId, error.message, this);
    }
    return undefined;
  }

  refuse(sentence) {
    this.remark(sentence);
    this.box.focus();
  }
}

function keep(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // What does not fit is only not kept over a reload.
  }
}
