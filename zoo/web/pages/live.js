// Updates parts of the page: data-live is the address of a part, fetched every two seconds;
// data-load is the address of the content of a <details>, fetched when it is opened.
"use strict";
{
  const PAUSE = 2000; // milliseconds
  const GONE = "The server no longer responds.";

  function follow(part) {
    let shown = null;

    function show(text) {
      const focused = part.contains(document.activeElement) && document.activeElement.href;
      part.innerHTML = text;
      if (focused) [...part.querySelectorAll("a")].find((link) => link.href === focused)?.focus();
      document.dispatchEvent(new Event("replaced")); // the picture of a tooltip may be gone
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
          // the server does not respond
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
      content.textContent = "Scoring the test set and drawing pictures…";
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
