// A canvas to draw on; the net of drawn_net.js answers while one draws.
"use strict";
{
  const PEN = 18; // canvas pixels
  const STEP = 10; // of an arrow key
  const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
  const canvas = document.getElementById("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pen = document.getElementById("pen"); // where the keyboard's pen is
  const list = document.getElementById("answer");
  const note = document.getElementById("note");
  const seen = document.getElementById("seen");
  const bytes = Uint8Array.from(atob(drawnNet.safetensors), (letter) => letter.charCodeAt(0));
  const arrays = zooNet.readSafetensors(bytes.buffer);
  const bars = Array.from({ length: drawnNet.num_classes }, () => document.createElement("li"));
  let place = [canvas.width / 2, canvas.height / 2]; // of the pen
  let isDown = false;
  let isWaiting = false; // for the next frame, to answer
  let numAsked = 0; // questions to the net

  // Logits of an image, or a promise of them; another script of the page may bring another runtime.
  const logitsOf =
    globalThis.drawnLogits ?? ((image) => zooNet.logits(drawnNet.layers, arrays, image));

  function clear() {
    context.fillStyle = "black";
    context.fillRect(0, 0, canvas.width, canvas.height);
    lift();
    answer();
  }

  function lift() {
    isDown = false;
    pen.classList.remove("down");
  }

  function placeOf(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) * canvas.width) / box.width,
      ((event.clientY - box.top) * canvas.height) / box.height,
    ];
  }

  function moveTo(next) {
    if (isDown) {
      context.strokeStyle = context.fillStyle = "white";
      context.lineWidth = PEN;
      context.lineCap = "round";
      context.beginPath();
      context.arc(...next, PEN / 2, 0, 2 * Math.PI); // some browsers draw no line of zero length
      context.fill();
      context.beginPath();
      context.moveTo(...place);
      context.lineTo(...next);
      context.stroke();
      answerSoon();
    }
    place = next;
    pen.style.left = `${(100 * place[0]) / canvas.width}%`;
    pen.style.top = `${(100 * place[1]) / canvas.height}%`;
  }

  function answerSoon() {
    list.ariaBusy = true;
    if (!isWaiting) requestAnimationFrame(answer);
    isWaiting = true;
  }

  async function answer() {
    isWaiting = false;
    const number = ++numAsked;
    const { width, height } = canvas;
    const { data } = context.getImageData(0, 0, width, height);
    const ink = Float32Array.from({ length: width * height }, (_, index) => data[4 * index] / 255);
    const [rows, columns] = drawnNet.image_shape;
    const image = zooFraming.place({ height, width, data: ink }, drawnNet.framing, rows, columns);
    const input = image && { shape: drawnNet.image_shape, data: image.data };
    try {
      const logits = input && (await logitsOf(input));
      if (number !== numAsked) return; // more was drawn meanwhile
      show(image, logits && zooNet.softmax(logits));
      list.ariaBusy = false;
    } catch (error) {
      note.textContent = error.message;
    }
  }

  // Both are null if nothing is drawn.
  function show(image, probabilities) {
    const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
    list.dataset.predicted = best;
    bars.forEach((bar, label) => {
      const percent = probabilities ? `${(100 * probabilities[label]).toFixed(1)}%` : "";
      bar.textContent = `${label}  ${percent}`;
      bar.classList.toggle("best", label === best);
      bar.style.setProperty("--share", probabilities?.[label] ?? 0);
    });
    const context = seen.getContext("2d");
    [seen.height, seen.width] = drawnNet.image_shape; // which blanks it
    if (image) {
      const picture = new ImageData(image.width, image.height);
      image.data.forEach((level, index) => {
        const grey = Math.round(255 * level);
        picture.data.set([grey, grey, grey, 255], 4 * index);
      });
      context.putImageData(picture, 0, 0);
    }
    tell(probabilities && `${best}, with ${(100 * probabilities[best]).toFixed(0)}%.`);
  }

  // A screen reader reads it out: not while a line is drawn.
  function tell(text) {
    if (!isDown) note.textContent = text ?? "Draw a digit.";
  }

  function end() {
    if (!isDown) return;
    lift();
    answerSoon();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return; // one finger, and no other button
    canvas.setPointerCapture(event.pointerId);
    place = placeOf(event);
    isDown = true;
    moveTo(place);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.isPrimary && event.buttons) moveTo(placeOf(event));
  });
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("blur", end);
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in ARROWS) {
      const [x, y] = ARROWS[event.key];
      moveTo([
        Math.min(canvas.width, Math.max(0, place[0] + STEP * x)),
        Math.min(canvas.height, Math.max(0, place[1] + STEP * y)),
      ]);
    } else if (event.key === " " && isDown) {
      end();
    } else if (event.key === " ") {
      note.textContent = "The pen is down.";
      isDown = true;
      pen.classList.add("down");
      moveTo(place);
    } else if (event.key === "Escape") {
      clear();
    } else return;
    event.preventDefault();
  });
  document.getElementById("clear").addEventListener("click", clear);
  list.replaceChildren(...bars);
  clear();
}
