// Lets draw.js ask an ONNX file, by ONNX Runtime Web, in place of the layers in net.js.
"use strict";
{
  const folder = new URL(".", document.currentScript.src).href;

  function start() {
    if (onnxIsMissing) throw new Error(`ONNX Runtime Web is not part of this site: ${onnxIsMissing}.`);
    if (location.protocol === "file:") throw new Error("This page needs a server.");
    ort.env.wasm.numThreads = 1; // more need headers that few servers send
    ort.env.wasm.wasmPaths = folder;
    return ort.InferenceSession.create(`${folder}pooling_cnn3.onnx`);
  }

  let session = null; // a promise
  let last = Promise.resolve(); // a session answers one question after another

  globalThis.drawnLogits = ({ shape, data }) => {
    const pixels = Uint8Array.from(data, (level) => Math.round(255 * level));
    const run = async () => {
      session ??= start();
      const images = new ort.Tensor("uint8", pixels, [1, ...shape]);
      return (await (await session).run({ images })).logits.data;
    };
    return (last = last.catch(() => {}).then(run));
  };
}
