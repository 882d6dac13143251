// The settings panel: one control for each setting, saved while it is moved.

import { byId, element, isComposing } from "./dom.js";

const SAVE_DELAY_MS = 200;

export class Settings {
  constructor(link) {
    this.link = link;
    this.controls = new Map();
    this.timers = new Map();
    // What was sent and not yet confirmed: an answer to an earlier change must not move the control back.
    this.sent = new Map();
    this.panel = byId("settings");
    this.toggle = byId("settings-toggle");
    this.toggle.addEventListener("click", () => this.open(this.panel.hidden));
    byId("settings-close").addEventListener("click", () => this.open(false));
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || isComposing(event)) return;
      event.stopPropagation();
      this.open(false);
    });
  }

  open(yes) {
    this.panel.hidden = !yes;
    this.toggle.setAttribute("aria-expanded", String(yes));
    document.body.classList.toggle("with-panel", yes);
    (yes ? byId("settings-close") : this.toggle).focus();
  }

  show({ settings, sentence, refused, name }) {
    const names = settings.map((view) => view.name).join();
    if (names !== this.names) this.build(settings);
    this.names = names;
    for (const view of settings) {
      if (this.confirms(view, view.name === name, refused)) this.update(view);
    }
    if (name) this.say(sentence || "Saved.", refused);
  }

  confirms(view, named, refused) {
    if (!this.sent.has(view.name)) return true;
    const final = named && (refused || view.kind !== "range");
    if (!final && !same(this.sent.get(view.name), view.value)) return false;
    return this.sent.delete(view.name);
  }

  /** The connection is lost: what was sent may never be answered. */
  forget() {
    this.sent.clear();
  }

  say(sentence, refused = false) {
    const line = byId("settings-said");
    line.textContent = sentence;
    line.classList.toggle("refused", Boolean(refused));
  }

  build(settings) {
    this.controls.clear();
    const plain = settings.filter((view) => !view.advanced).map((view) => this.make(view));
    const advanced = settings.filter((view) => view.advanced).map((view) => this.make(view));
    const more = advanced.length ? [element("h3", {}, ["Advanced"]), ...advanced] : [];
    byId("controls").replaceChildren(...plain, ...more);
  }

  make(view) {
    const input = makers[view.kind](view);
    const id = `setting-${view.name}`;
    const output = element("span", { class: "value", "aria-hidden": "true" });
    // Both what people read and the setting's own word find it: "Top-p (top_p)".
    const alike = view.label.toLowerCase() === view.name.toLowerCase();
    const attributes = { id, name: view.name, "aria-describedby": `${id}-help` };
    if (!alike) attributes["aria-label"] = `${view.label} (${view.name})`;
    for (const [key, value] of Object.entries(attributes)) input.setAttribute(key, value);
    input.addEventListener("input", () => this.moved(view.name, SAVE_DELAY_MS));
    input.addEventListener("change", () => this.moved(view.name, 0));
    if (view.kind === "range") input.addEventListener("keydown", (event) => stride(event, view));
    this.controls.set(view.name, { input, output, saved: view.value });
    const head = element("div", { class: "setting-head" }, [element("label", { for: id }, [view.label]), output]);
    const ends =
      view.kind === "range"
        ? [element("div", { class: "ends", "aria-hidden": "true" }, [element("span", {}, [tidy(view.low)]), element("span", {}, [tidy(view.high)])])]
        : [];
    const help = element("p", { class: "help", id: `${id}-help` }, [describe(view)]);
    return element("div", { class: `setting ${view.kind}` }, [head, input, ...ends, help]);
  }

  update(view) {
    const control = this.controls.get(view.name);
    control.saved = view.value;
    if (view.kind === "choice" && control.input.length !== view.choices.length) control.input.replaceChildren(...options(view));
    if (this.timers.has(view.name)) return;
    const typing = view.kind === "text" && document.activeElement === control.input;
    if (!typing && !same(control.input.value, view.value)) control.input.value = view.value;
    this.paint(control, view.value);
  }

  paint({ input, output }, value = input.value) {
    if (input.type !== "range") return;
    output.textContent = value;
    const share = (input.value - input.min) / (input.max - input.min);
    input.style.setProperty("--share", `${100 * share}%`);
  }

  moved(name, delayMs) {
    const control = this.controls.get(name);
    this.paint(control);
    if (control.input.type === "text" && delayMs) return;
    clearTimeout(this.timers.get(name));
    const save = () => {
      this.timers.delete(name);
      if (same(control.input.value, control.saved)) return;
      control.saved = control.input.value;
      this.sent.set(name, control.saved);
      this.link.send(`setting ${name}`, { type: "setting", name, value: control.input.value });
    };
    if (delayMs) this.timers.set(name, setTimeout(save, delayMs));
    else save();
  }
}

const makers = {
  range: ({ low, high, step }) => element("input", { type: "range", min: low, max: high, step: step < 1 ? 0.01 : 1 }),
  choice: (view) => element("select", {}, options(view)),
  text: ({ default: usual }) => element("input", { type: "text", dir: "auto", placeholder: usual || "off", spellcheck: "false" }),
};

const options = ({ choices }) => choices.map((choice) => element("option", { value: choice }, [choice]));

const DIRECTIONS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };

/** The pointer moves finely; the arrow keys go by the setting's own step. */
function stride(event, { low, high, step }) {
  const direction = DIRECTIONS[event.key];
  if (!direction || !step) return;
  event.preventDefault();
  const input = event.target;
  const next = low + Math.round((Number(input.value) - low + direction * step) / step) * step;
  input.value = tidy(Math.min(high, Math.max(low, next)));
  for (const type of ["input", "change"]) input.dispatchEvent(new Event(type, { bubbles: true }));
}

/** "0.50" and "0.5" are one value, "" and "0" are two. */
const same = (a, b) => a === b || (a !== "" && b !== "" && Number(a) === Number(b));

const tidy = (number) => String(Number(number.toFixed(4)));

function describe(view) {
  const usual = view.default && view.kind !== "text" ? ` Default ${view.default}.` : "";
  return `${view.help}${usual}`;
}
