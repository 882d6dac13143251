// The way in: sends the password and opens the page.

const form = document.getElementById("enter");
const said = document.getElementById("enter-said");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  said.textContent = "";
  try {
    const response = await fetch("/enter", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ password: form.password.value }),
    });
    if (response.ok) return location.reload();
    said.textContent = response.status === 429 ? await response.text() : (await response.json()).sentence;
  } catch {
    said.textContent = "The page can't be reached right now. Please try again in a moment.";
  }
  button.disabled = false;
  form.password.select();
  return undefined;
});
