// Shows the text of a line's nearest point next to the pointer. A picture lists its lines and
// their texts in data-tooltips: {"id of the line's group": ["text of its first point", ...]}.
"use strict";
{
  const REACH = 30; // CSS pixels from the pointer to a point
  const tooltip = document.createElement("div");
  tooltip.id = "tooltip";
  tooltip.ariaHidden = "true"; // the picture has its own label
  tooltip.hidden = true;
  document.body.append(tooltip);

  // The points of a line, in the picture's units: those of its markers, or else of its path.
  function pointsOf(group) {
    const markers = [...group.querySelectorAll("use")];
    if (markers.length) {
      return markers.map((use) => [use.x.baseVal.value, use.y.baseVal.value]);
    }
    const path = group.querySelector("path")?.getAttribute("d") ?? "";
    return [...path.matchAll(/[ML] ([-\d.]+) ([-\d.]+)/g)].map((match) => [+match[1], +match[2]]);
  }

  function nearest(svg, x, y) {
    const toScreen = svg.getScreenCTM();
    let found = null;
    for (const [id, texts] of Object.entries(JSON.parse(svg.dataset.tooltips))) {
      const group = svg.getElementById(id);
      if (!group) continue;
      pointsOf(group).forEach((point, index) => {
        const place = new DOMPoint(...point).matrixTransform(toScreen);
        const distance = Math.hypot(place.x - x, place.y - y);
        if (distance < (found?.distance ?? REACH)) found = { distance, place, text: texts[index] };
      });
    }
    return found;
  }

  function show(event) {
    const svg = event.target.closest?.("svg[data-tooltips]");
    const found = svg && nearest(svg, event.clientX, event.clientY);
    tooltip.hidden = !found;
    if (!found) return;
    tooltip.textContent = found.text;
    const { width, height } = tooltip.getBoundingClientRect();
    const left = Math.min(found.place.x + 12, document.documentElement.clientWidth - width - 4);
    const top = found.place.y - height - 8;
    tooltip.style.left = `${Math.max(4, left)}px`;
    tooltip.style.top = `${top < 4 ? found.place.y + 12 : top}px`;
  }

  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  const hide = () => { tooltip.hidden = true; };
  document.addEventListener("scroll", hide, { passive: true });
  document.addEventListener("replaced", hide);
}
