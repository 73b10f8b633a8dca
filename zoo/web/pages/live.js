// Keeps parts of the page fresh: data-live names what a part shows, read again every two seconds;
// data-load what an opened <details> shows.
"use strict";
{
  const PAUSE = 2000; // milliseconds
  const GONE = "The server does not answer any more.";

  function follow(part) {
    let shown = null;

    function show(text) {
      const focused = part.contains(document.activeElement) && document.activeElement.href;
      part.innerHTML = text;
      if (focused) [...part.querySelectorAll("a")].find((link) => link.href === focused)?.focus();
      document.dispatchEvent(new Event("replaced")); // a tooltip's picture may have gone
      shown = text;
    }

    async function refresh() {
      if (!document.hidden) {
        let problem = GONE;
        try {
          const response = await fetch(part.dataset.live, { cache: "no-cache" });
          const text = await response.text();
          problem = response.ok ? "" : text;
          if (response.ok && text !== shown) show(text);
        } catch {
          // the server has gone
        }
        part.classList.toggle("stale", problem !== "");
        part.title = problem;
      }
      setTimeout(refresh, PAUSE);
    }

    refresh();
  }

  function load(details) {
    const content = details.querySelector("div");
    let isLoading = false;
    details.addEventListener("toggle", async () => {
      if (!details.open || isLoading) return;
      isLoading = true;
      content.textContent = "Scoring the test set and drawing…";
      try {
        const response = await fetch(details.dataset.load);
        const text = await response.text();
        if (response.ok) content.innerHTML = text;
        else content.textContent = text;
      } catch {
        content.textContent = GONE;
      }
      isLoading = false;
    });
  }

  document.querySelectorAll("[data-live]").forEach(follow);
  document.querySelectorAll("details[data-load]").forEach(load);
}
