// Who is here, and what oneself is called.

import { byId, element } from "./dom.js";

export class People {
  constructor(state, link) {
    this.state = state;
    this.link = link;
    this.input = byId("own-name");
    this.input.addEventListener("change", () => this.save());
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.save();
    });
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
    if (document.activeElement !== this.input || !this.input.value) this.input.value = name;
  }

  show(people) {
    const count = people.length;
    const details = byId("people");
    details.querySelector("summary").textContent = count === 1 ? "Only you" : `${count} people`;
    const items = people.map(({ id, name }) =>
      element("li", {}, [id === this.state.person ? `${name} (you)` : name]),
    );
    details.querySelector("ul").replaceChildren(...items);
  }
}
