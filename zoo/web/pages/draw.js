// A canvas to draw on; after each piece of a stroke, the net is asked for a prediction.
"use strict";
{
  const PEN = 18; // canvas pixels
  const canvas = document.getElementById("canvas");
  const context = canvas.getContext("2d");
  const run = document.getElementById("run");
  const list = document.getElementById("answer");
  const note = document.getElementById("note");
  const seen = document.getElementById("seen");
  let last = null; // where the pen was, null when it is up
  let asking = false;
  let drawn = false; // whether there is anything on the canvas
  let changed = false; // since the last request
  let sheet = 0; // counts clearings: an answer about a cleared drawing is not shown

  function clear() {
    context.fillStyle = "black";
    context.fillRect(0, 0, canvas.width, canvas.height);
    note.textContent = "Draw with mouse, pen or finger.";
    drawn = changed = false;
    forget();
  }

  // Removes the answer and discards a pending one.
  function forget() {
    list.replaceChildren();
    delete list.dataset.predicted;
    seen.width = seen.height = 1;
    sheet += 1;
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) * canvas.width) / box.width,
      ((event.clientY - box.top) * canvas.height) / box.height,
    ];
  }

  function stroke(event) {
    if (!last) return;
    const next = place(event);
    context.strokeStyle = context.fillStyle = "white";
    context.lineWidth = PEN;
    context.lineCap = "round";
    context.beginPath();
    context.arc(...next, PEN / 2, 0, 2 * Math.PI); // a dot: some browsers draw no line of zero length
    context.fill();
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...next);
    context.stroke();
    last = next;
    drawn = changed = true;
    ask();
  }

  // One request at a time: strokes drawn in the meantime are part of the next request.
  async function ask() {
    list.ariaBusy = asking || changed;
    if (asking || !changed) return;
    asking = true;
    changed = false;
    const asked = sheet;
    try {
      const drawing = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
      const response = await fetch(run.value, { method: "POST", body: drawing });
      const answer = response.ok ? await response.json() : await response.text();
      if (asked === sheet) {
        if (response.ok) show(answer);
        else complain(answer);
      }
    } catch {
      complain("The server no longer responds.");
    }
    asking = false;
    ask();
  }

  function complain(text) {
    forget();
    note.textContent = text;
  }

  function show({ epoch, pixels, probabilities }) {
    const best = probabilities.indexOf(Math.max(...probabilities));
    list.dataset.predicted = best;
    list.replaceChildren(
      ...probabilities.map((probability, label) => {
        const item = document.createElement("li");
        item.classList.toggle("best", label === best);
        item.style.setProperty("--share", probability);
        item.textContent = `${label}  ${(100 * probability).toFixed(1)}%`;
        return item;
      }),
    );
    const share = (100 * probabilities[best]).toFixed(0);
    note.textContent = `${best}, with ${share}%. (Net after epoch ${epoch}.)`;
    seen.width = pixels[0].length;
    seen.height = pixels.length;
    const image = new ImageData(seen.width, seen.height);
    pixels.flat().forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
    seen.getContext("2d").putImageData(image, 0, 0);
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return; // one finger, and no other button
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (event.isPrimary) stroke(event); });
  canvas.addEventListener("pointerup", () => { last = null; });
  canvas.addEventListener("pointercancel", () => { last = null; });
  document.getElementById("clear").addEventListener("click", clear);
  run.addEventListener("change", () => {
    forget();
    changed = drawn;
    ask();
  });
  clear();
}
