"use strict";
// Buttons that only a script can serve, and a page that follows the server.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  });
}
const shown = document.body.dataset.state + document.querySelector(".why").textContent;
const follow = async () => {
  try {
    const answer = await fetch("/status", { cache: "no-store" });
    if (answer.ok) {
      const status = await answer.json();
      if (status.state + status.why !== shown) location.replace("/");
    }
  } catch { /* Offline for a moment: the next look tells. */ }
  setTimeout(follow, document.hidden ? 60000 : 5000);
};
setTimeout(follow, 5000);
