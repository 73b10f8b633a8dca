// A canvas to draw on; after each piece of a stroke, all nets are asked for a prediction.
"use strict";
{
  const PEN = 18; // canvas pixels
  const PAUSE = 500; // milliseconds, between questions which nets are loaded
  const MOST_BARS = 10;
  const INVITATION = "Draw with mouse, pen or finger.";
  const canvas = document.getElementById("canvas");
  const context = canvas.getContext("2d");
  const run = document.getElementById("run"); // null if there are no runs
  const summary = document.getElementById("answer");
  const note = document.getElementById("note");
  const seen = document.getElementById("seen");
  const rowOfRun = document.getElementById("of-run");
  const rows = new Map([...document.querySelectorAll("[data-net]")].map((row) => [row.dataset.net, row]));
  let last = null; // where the pen was, null when it is up
  let asking = false;
  let drawn = false; // whether there is anything on the canvas
  let changed = false; // since the last request
  let sheet = 0; // counts clearings: an answer about a cleared drawing is not shown
  let loading = [...rows.keys()]; // names of nets that cannot answer yet
  let following = false; // whether it asks again and again which nets are loaded

  function clear() {
    context.fillStyle = "black";
    context.fillRect(0, 0, canvas.width, canvas.height);
    drawn = changed = false;
    forget();
    say(INVITATION);
  }

  // Removes the answers and discards pending ones.
  function forget() {
    for (const row of [rowOfRun, ...rows.values()]) blank(row);
    delete summary.dataset.predicted;
    seen.replaceChildren();
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
    summary.ariaBusy = asking || changed;
    if (asking || !changed) return;
    asking = true;
    changed = false;
    const asked = sheet;
    try {
      const drawing = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
      const address = run?.value ? `/answers/${run.value}` : "/answers";
      const response = await fetch(address, { method: "POST", body: drawing });
      const answer = response.ok ? await response.json() : await response.text();
      if (response.ok) showLoading(answer);
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
    say(text);
  }

  function say(text) {
    if (summary.textContent !== text) summary.textContent = text; // else it would be read again
  }

  function blank(row, state = "") {
    row.querySelector(".said strong").textContent = row.querySelector(".said span").textContent = "";
    row.querySelector(".chances").replaceChildren();
    row.querySelector(".chances").ariaLabel = "no answer yet";
    if (!row.classList.contains("problem")) row.querySelector(".state").textContent = state;
    row.classList.remove("unsure", "other");
    delete row.dataset.predicted;
  }

  function tellProblem(row, problem) {
    row.classList.toggle("problem", problem !== "");
    if (problem) blank(row);
    row.querySelector(".state").textContent = problem;
  }

  function percent(probability, digits = 1) {
    return `${(100 * probability).toFixed(digits)}%`;
  }

  function show({ answers, run: ofRun, seen: pictures }) {
    const given = Object.entries(answers).map(([name, answer]) => [rows.get(name), answer]);
    if (ofRun) {
      tellProblem(rowOfRun, ofRun.problem ?? "");
      if (!ofRun.problem) given.push([rowOfRun, ofRun]);
    }
    const shown = given.filter(([row]) => row); // a newer server may have more nets than the page
    shown.forEach(([row, answer]) => showAnswer(row, answer));
    if (shown.length) summarize(shown);
    else say(loading.length ? "The nets are still loading." : "No net can answer.");
    showPictures(shown, pictures);
  }

  function showAnswer(row, { probabilities, doubt, epoch, names = [] }) {
    const nameOf = (label) => names[label] ?? String(label); // digits have no other name
    const likely = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
    const labels = likely.slice(0, MOST_BARS).sort((a, b) => a - b);
    const [best] = likely;
    row.dataset.predicted = nameOf(best);
    row.classList.toggle("unsure", doubt !== "");
    row.querySelector(".said strong").textContent = nameOf(best);
    row.querySelector(".said span").textContent = percent(probabilities[best]);
    const states = [epoch === undefined ? "" : `epoch ${epoch}`, doubt && `not sure: ${doubt}`];
    row.querySelector(".state").textContent = states.filter(Boolean).join(", ");
    const chances = row.querySelector(".chances");
    const spoken = likely.slice(0, 3).map((label) => `${nameOf(label)} with ${percent(probabilities[label])}`);
    chances.ariaLabel = spoken.join(", ");
    chances.replaceChildren(
      ...labels.map((label) => {
        const bar = document.createElement("span");
        bar.style.setProperty("--share", probabilities[label]);
        bar.classList.toggle("best", label === best);
        bar.textContent = nameOf(label);
        return bar;
      }),
    );
  }

  // What most nets say; of equally many, that of which they are surer.
  function summarize(shown) {
    const counts = new Map();
    const sums = new Map();
    for (const [row, { probabilities }] of shown) {
      const label = row.dataset.predicted;
      counts.set(label, (counts.get(label) ?? 0) + 1);
      sums.set(label, (sums.get(label) ?? 0) + Math.max(...probabilities));
    }
    const labels = [...counts.keys()].sort(
      (a, b) => counts.get(b) - counts.get(a) || sums.get(b) - sums.get(a),
    );
    const [first, ...others] = labels;
    shown.forEach(([row]) => row.classList.toggle("other", row.dataset.predicted !== first));
    summary.dataset.predicted = first;
    const total = shown.length;
    let text = `${counts.get(first)} of ${total} nets say ${first}`;
    if (total === 1) text = `The net says ${first}`;
    else if (!others.length) text = `${total === 2 ? "Both" : `All ${total}`} nets say ${first}`;
    for (const label of others) {
      text += `, ${counts.get(label)} ${counts.get(label) === 1 ? "says" : "say"} ${label}`;
    }
    const unsure = shown.filter(([, { doubt }]) => doubt).length;
    if (unsure) text += `; ${total === 1 ? "it is" : unsure === 1 ? "1 is" : `${unsure} are`} not sure`;
    say(`${text}.`);
  }

  function showPictures(shown, pictures) {
    const figures = pictures.map((pixels, index) => {
      const names = shown
        .filter(([, answer]) => answer.seen === index)
        .map(([row]) => row.querySelector(".name").textContent);
      const who = names.length > 1 ? `${names.length} nets see` : `${names[0]} sees`;
      return figureOf(pixels, pictures.length > 1 ? `as ${who} it` : "as the nets see it");
    });
    seen.replaceChildren(...figures);
  }

  function figureOf(pixels, text) {
    const figure = document.createElement("figure");
    const picture = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    [picture.width, picture.height] = [pixels[0].length, pixels.length];
    const image = new ImageData(picture.width, picture.height);
    pixels.flat().forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
    picture.getContext("2d").putImageData(image, 0, 0);
    picture.role = "img";
    picture.ariaLabel = `the drawing, ${text}`;
    caption.textContent = text;
    figure.append(picture, caption);
    return figure;
  }

  function showLoading({ loading: names, problems }) {
    const isNew = loading.some((name) => !names.includes(name));
    loading = names;
    for (const [name, row] of rows) {
      const isLoading = loading.includes(name);
      if (isLoading) blank(row, "loading…");
      else if (problems[name] || row.classList.contains("problem")) tellProblem(row, problems[name] ?? "");
      else if (!row.dataset.predicted) blank(row);
      row.ariaBusy = isLoading;
    }
    const text = loading.length ? `Loading nets: ${rows.size - loading.length} of ${rows.size} are ready.` : "";
    if (note.textContent !== text) note.textContent = text;
    if (loading.length) follow();
    return isNew;
  }

  // Asks which nets are loaded until all are; each that comes answers the drawing that is there.
  async function follow() {
    if (following) return;
    following = true;
    while (loading.length) {
      try {
        const response = await fetch("/nets", { cache: "no-cache" });
        if (response.ok && showLoading(await response.json()) && drawn) {
          changed = true;
          ask();
        }
      } catch {
        // the server does not respond: the next stroke says so
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    following = false;
  }

  function chooseRun() {
    const [chosen] = run.selectedOptions;
    rowOfRun.hidden = !run.value;
    rowOfRun.querySelector(".name").textContent = chosen.textContent;
    rowOfRun.querySelector(".about").textContent = chosen.dataset.facts ?? "";
    tellProblem(rowOfRun, "");
    forget();
    changed = drawn;
    ask();
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
  clear();
  if (run) {
    run.addEventListener("change", chooseRun);
    chooseRun();
  }
  showLoading({ loading, problems: {} });
}
