// Keeps parts of the page fresh: data-live names what a part shows, read again every two seconds;
// data-load what an opened <details> shows.
"use strict";
{
  const EVERY = 2000; // milliseconds

  for (const part of document.querySelectorAll("[data-live]")) {
    let shown = null;
    const refresh = async () => {
      if (document.hidden) return;
      try {
        const response = await fetch(part.dataset.live, { cache: "no-cache" });
        const text = await response.text();
        part.classList.remove("stale");
        if (!response.ok || text === shown) return; // the next time it may be whole again
        shown = text;
        part.innerHTML = text;
      } catch {
        part.classList.add("stale"); // the server has gone
      }
    };
    refresh();
    setInterval(refresh, EVERY);
  }

  for (const details of document.querySelectorAll("details[data-load]")) {
    details.addEventListener("toggle", async () => {
      if (!details.open) return;
      const content = details.querySelector("div");
      content.textContent = "Scoring the test set and drawing…";
      const response = await fetch(details.dataset.load);
      const text = await response.text();
      if (response.ok) content.innerHTML = text;
      else content.textContent = text;
    });
  }
}
