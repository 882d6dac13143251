// Who is here, and what oneself is called.

import { byId, element, isComposing } from "./dom.js";

export class People {
  constructor(state, link) {
    this.state = state;
    this.link = link;
    this.input = byId("own-name");
    this.input.addEventListener("change", () => this.save());
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !isComposing(event)) this.save();
    });
    byId("people").addEventListener("toggle", () => this.look());
    for (const type of ["click", "focusin"]) {
      addEventListener(type, (event) => {
        if (!byId("people").contains(event.target)) byId("people").open = false;
      });
    }
  }

  save() {
    const name = this.input.value.trim();
    if (name && name !== this.state.name) this.link.send("name", { type: "name", name });
    else this.input.value = this.state.name;
  }

  rename(name) {
    this.state.name = name;
    this.look();
    if (document.activeElement !== this.input || !this.input.value) this.input.value = name;
  }

  /** How many are here. Who they are is asked for while somebody looks. */
  count(count) {
    byId("people").querySelector("summary").textContent = count === 1 ? "Only you" : `${count} people`;
    this.look();
  }

  look() {
    if (byId("people").open) this.link.send("people", { type: "people" });
  }

  show(people, count) {
    const items = people.map(({ id, name }) =>
      element("li", { dir: "auto" }, [id === this.state.person ? `${name} (you)` : name]),
    );
    if (count > people.length) items.push(element("li", { class: "more" }, [`and ${count - people.length} more`]));
    byId("people").querySelector("ul").replaceChildren(...items);
  }
}
