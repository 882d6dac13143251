// What is copied of a drawn formula is its source.

const DELIMITERS = { block: ["\\[", "\\]"], inline: ["\\(", "\\)"] };

/** Takes over a copy in which there is mathematics; any other is the browser's. */
export function copyFormulas(event) {
  const selection = document.getSelection();
  const parts = Array.from({ length: selection.rangeCount }, (_, index) => withWholeFormulas(selection.getRangeAt(index)));
  if (!parts.some((part) => part.querySelector("math"))) return;
  event.clipboardData.setData("text/plain", parts.map(plain).join("\n"));
  event.preventDefault();
}

function withWholeFormulas(range) {
  const whole = range.cloneRange();
  const [first, last] = [range.startContainer, range.endContainer].map((node) => (node.closest ? node : node.parentElement)?.closest("math"));
  if (first) whole.setStartBefore(first);
  if (last) whole.setEndAfter(last);
  return whole.cloneContents();
}

/** The text as it is laid out, with the source in place of each formula. */
function plain(part) {
  for (const formula of part.querySelectorAll("math")) {
    const [opening, closing] = DELIMITERS[formula.getAttribute("display")] ?? DELIMITERS.inline;
    formula.replaceWith(`${opening}${formula.getAttribute("alttext")}${closing}`);
  }
  for (const bar of part.querySelectorAll(".code-bar")) bar.remove();
  const sheet = document.createElement("div");
  sheet.className = "sheet";
  sheet.append(part);
  document.body.append(sheet);
  const text = sheet.innerText;
  sheet.remove();
  return text;
}
