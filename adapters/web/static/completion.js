// The list of commands while a slash is being typed. Enter always sends, unless an entry was chosen with the arrows.

import { byId, element } from "./dom.js";

export class Completion {
  constructor(box, changed) {
    this.box = box;
    this.changed = changed;
    this.list = byId("commands");
    this.commands = [];
    this.chosen = -1;
    box.addEventListener("blur", () => this.close());
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
  }

  update() {
    const typed = /^\/(\w*)$/.exec(this.box.value);
    this.found = typed ? this.commands.filter(({ name }) => name.startsWith(typed[1].toLowerCase())) : [];
    if (this.found.length === 1 && this.found[0].name === typed[1]) this.found = [];
    this.chosen = -1;
    this.draw();
  }

  close() {
    this.found = [];
    this.draw();
  }

  /** Whether the key was for the list. */
  key(event) {
    if (!this.found?.length) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") this.move(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Tab" && !event.shiftKey) this.take(this.found[Math.max(this.chosen, 0)]);
    else if (event.key === "Enter" && this.chosen >= 0) this.take(this.found[this.chosen]);
    else if (event.key === "Escape") this.close();
    else return false;
    event.preventDefault();
    return true;
  }

  move(by) {
    const count = this.found.length;
    this.chosen = this.chosen < 0 && by < 0 ? count - 1 : (this.chosen + by + count) % count;
    this.draw();
    this.list.children[this.chosen].scrollIntoView({ block: "nearest" });
  }

  take({ name }) {
    this.box.value = `/${name} `;
    this.changed();
    this.box.focus();
  }

  draw() {
    const items = this.found.map((command, index) => {
      const chosen = index === this.chosen;
      const item = element("li", { role: "option", id: `command-${command.name}`, "aria-selected": String(chosen) }, [
        element("b", {}, [`/${command.name}`]),
        element("span", {}, [command.summary]),
      ]);
      item.addEventListener("click", () => this.take(command));
      return item;
    });
    this.list.replaceChildren(...items);
    this.list.hidden = items.length === 0;
    if (this.chosen >= 0) this.box.setAttribute("aria-activedescendant", this.list.children[this.chosen].id);
    else this.box.removeAttribute("aria-activedescendant");
  }
}
