"""The site's pages to draw on, in headless Chromium: their net is the package's."""

import base64
import functools
import http.server
import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import test_browser
from conftest import ROOT
from drawings import STROKES, draw_strokes
from PIL import Image

import zoo.data.framing
import zoo.models
from zoo.models import layer_lists, layers
from zoo.models.net import ConvNet
from zoo.models.packaged import packaged_weights

pytest.importorskip("furo", reason="the extra `docs` brings it")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = test_browser.pytestmark
browser = test_browser.browser

NORMALIZED: layers.Net = (
    layers.Crop(1),
    layers.Conv(6, 5, "SAME"),
    layers.BatchNorm(),
    layers.MaxPool(3, stride=2, padding="SAME"),
    layers.Conv(7, 2, "SAME"),
    layers.BatchNorm(epsilon=0.1),
    layers.MaxPool(2, stride=1, padding="SAME"),
    layers.Conv(5, 3),
    layers.MaxPool(3),
    layers.Flatten(),
    layers.Dropout(0.5),
    layers.Dense(9),
    layers.BatchNorm(),
    layers.Head(),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    options = ("-q", "-W", "--keep-going", "-b", "html")
    command = [sys.executable, "-m", "sphinx", *options, "docs", folder]
    subprocess.run(command, cwd=ROOT, check=True, timeout=600)
    return folder


@pytest.fixture
def page(browser: Any, site: Path) -> Any:
    """The browser with the page, opened from disk and without a network."""
    browser.set_network_conditions(offline=True, latency=0, throughput=0)
    browser.get((site / "draw.html").as_uri())
    return browser


def logits_in(page: Any, net: layers.Net, file: Path, images: np.ndarray) -> np.ndarray:
    """What the page's interpreter answers to images [N, height, width, 1] float."""
    given = page.execute_script(
        """
        const [layers, file, shape, images] = arguments;
        const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
        const arrays = zooNet.readSafetensors(bytes.buffer);
        return images.map((image) => {
          const data = Float32Array.from(image);
          return [...zooNet.logits(layers, arrays, { shape, data })];
        });
        """,
        layer_lists.to_content(net),
        base64.b64encode(file.read_bytes()).decode(),
        images.shape[1:],
        images.reshape(len(images), -1).tolist(),
    )
    return np.array(given)


def some_images(height: int, width: int) -> np.ndarray:
    """One of noise, one blank, one with a digit."""
    digit = draw_strokes(3, 28, "white", "black").convert("L").resize((width, height))
    noise = np.random.default_rng(0).random((height, width))
    return np.stack([noise, np.zeros((height, width)), np.asarray(digit) / 255])[..., None]


def test_the_page_computes_the_logits_of_the_packaged_net(page: Any) -> None:
    (entry,) = (each for each in packaged_weights() if each["net"] == "pooling_cnn3")
    model, variables = zoo.models.from_pretrained("pooling_cnn3")
    images = some_images(28, 28)
    file = ROOT / "zoo/models/weights" / entry["file"]
    expected = model.apply(variables, images, train=False)
    np.testing.assert_allclose(logits_in(page, model.net, file, images), expected, atol=1e-4)
    shown = page.execute_script("return drawnNet")
    assert shown["safetensors"] == base64.b64encode(file.read_bytes()).decode()
    text = page.find_element(By.TAG_NAME, "article").text
    assert f"{entry['num_parameters']:,} parameters" in text
    assert f"{entry['test']['accuracy']:.2%}" in text


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_net_with_batch_normalization_and_padding(page: Any, tmp_path: Path, dtype: str) -> None:
    model, images = ConvNet(NORMALIZED), some_images(19, 16)
    rng = np.random.default_rng(1)
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.1, 0.6, leaf.shape) * rng.choice([-1, 1, 1], leaf.shape),
        model.init(jax.random.key(0), images, train=False),
    )
    variables["batch_stats"] = jax.tree.map(abs, variables["batch_stats"])
    zoo.models.save_pretrained(tmp_path, model, variables, image_shape=(19, 16, 1), dtype=dtype)
    model, variables = zoo.models.from_pretrained(tmp_path)
    expected = model.apply(variables, images, train=False)
    found = logits_in(page, model.net, tmp_path / "model.safetensors", images)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("size", [(28, 28), (40, 21)])
def test_the_page_frames_drawings_as_the_package_does(page: Any, size: tuple[int, int]) -> None:
    framing = zoo.data.framing.MNIST
    for digit in STROKES:
        picture = draw_strokes(digit, 90 + digit, "white", "black").convert("L")
        ink = np.asarray(picture)[:89, :77] / 255
        found = page.execute_script(
            "const [data, height, width, framing, size] = arguments;"
            "return [...zooFraming.place({ data, height, width }, framing, ...size).data];",
            ink.ravel().tolist(),
            *ink.shape,
            framing.to_content(),
            size,
        )
        expected = framing.place(ink, *size)
        np.testing.assert_allclose(np.reshape(found, size), expected, atol=1.01 / 255)


def test_digits_drawn_with_the_pointer(page: Any) -> None:
    canvas = page.find_element(By.ID, "canvas")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    answer, note = page.find_element(By.ID, "answer"), page.find_element(By.ID, "note")
    said = []
    for strokes in STROKES.values():
        page.find_element(By.ID, "clear").click()
        assert answer.get_attribute("data-predicted") == "-1"
        assert note.text == "Draw a digit."
        test_browser.draw(page, canvas, strokes)
        test_browser.wait_for(lambda: answer.get_attribute("aria-busy") == "false")
        predicted = answer.get_attribute("data-predicted")
        assert note.text.startswith(f"{predicted}, with ")
        said.append(int(predicted))
    assert sum(a == b for a, b in zip(said, STROKES, strict=True)) >= 9
    assert seen_in(page).max() == 255


def seen_in(page: Any) -> np.ndarray:
    """[28, 28] uint8: the picture of what the net sees."""
    address = page.execute_script("return document.getElementById('seen').toDataURL()")
    file = io.BytesIO(base64.b64decode(address.partition(",")[2]))
    return np.asarray(Image.open(file).convert("L"))


def test_a_digit_drawn_with_the_keyboard(page: Any) -> None:
    canvas = page.find_element(By.ID, "canvas")
    answer = page.find_element(By.ID, "answer")
    canvas.send_keys(Keys.ARROW_UP * 8)
    assert answer.get_attribute("data-predicted") == "-1"  # the pen was up
    canvas.send_keys(" " + Keys.ARROW_DOWN * 16 + " ")
    test_browser.wait_for(lambda: answer.get_attribute("aria-busy") == "false")
    assert answer.get_attribute("data-predicted") == "1"
    canvas.send_keys(Keys.ESCAPE)
    assert answer.get_attribute("data-predicted") == "-1"


def test_a_phone_scrolls_down_only(page: Any) -> None:
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    assert page.find_element(By.ID, "canvas").rect["width"] >= 280


def test_only_this_page_loads_the_net(site: Path) -> None:
    assert "drawn_net.js" in (site / "draw.html").read_text()
    assert "drawn_net.js" not in (site / "index.html").read_text()
    begin = "const drawnNet = "
    script = (site / "_static/drawn_net.js").read_text()
    assert script.startswith(begin)
    assert json.loads(script.removeprefix(begin).rstrip(";\n"))["num_classes"] == 10


class _Silent(http.server.SimpleHTTPRequestHandler):
    """Serves files, and writes no log."""

    def do_GET(self) -> None:
        if self.path == "/favicon.ico":  # the browser asks for one, the site has none
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None: ...


def missing_onnx(site: Path) -> str:
    """Why the site has no ONNX file; empty if it has."""
    script = (site / "_static/onnx_is_missing.js").read_text()
    return json.loads(script.removeprefix("const onnxIsMissing = ").rstrip(";\n"))


@pytest.fixture
def onnx_page(browser: Any, site: Path) -> Iterator[Any]:
    """The browser with the page whose net is an ONNX file, from a server."""
    if reason := missing_onnx(site):
        pytest.skip(f"the site was built without its ONNX file: {reason}")
    handler = functools.partial(_Silent, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.get(f"http://127.0.0.1:{server.server_port}/draw_onnx.html")
        yield browser
        server.shutdown()


def test_the_onnx_file_answers_in_the_browser(onnx_page: Any) -> None:
    """With the logits of JAX; the same ones are not asked of the page's own layers."""
    model, variables = zoo.models.from_pretrained("pooling_cnn3")
    images = np.round(some_images(28, 28) * 255).astype(np.uint8)
    onnx_page.execute_script("zooNet.logits = () => { throw new Error('not these'); }")
    found = onnx_page.execute_async_script(
        """
        const [shape, images, done] = arguments;
        const ask = (image) => drawnLogits({ shape, data: image.map((level) => level / 255) });
        Promise.all(images.map(ask)).then((all) => done(all.map((logits) => [...logits])));
        """,
        images.shape[1:],
        images.reshape(len(images), -1).tolist(),
    )
    expected = model.apply(variables, images, train=False)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    test_digits_drawn_with_the_pointer(onnx_page)


def test_a_site_without_the_onnx_file_says_so(browser: Any, site: Path, tmp_path: Path) -> None:
    """As it does where npm or the extra is missing."""
    shutil.copytree(site, tmp_path, dirs_exist_ok=True)
    script = tmp_path / "_static/onnx_is_missing.js"
    script.write_text('const onnxIsMissing = "npm could not fetch it when the page was built";')
    browser.get((tmp_path / "draw_onnx.html").as_uri())
    test_browser.draw(browser, browser.find_element(By.ID, "canvas"), STROKES[1])
    note = browser.find_element(By.ID, "note")
    test_browser.wait_for(lambda: "npm could not fetch it" in note.text)
