"""Pages in a real browser, headless Chromium: no error, tooltips, a drawn digit is recognized."""

import datetime
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import REAL_MNIST_DIR, train_for_drawings
from drawings import STROKES
from test_history import history_of
from test_watch import serve

import zoo.training.history
from zoo.models import list_models
from zoo.web import report

webdriver = pytest.importorskip("selenium.webdriver", reason="the extra `browser` brings it")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.actions.action_builder import ActionBuilder  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Chromium and its driver"),
]
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1000,900",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, mnist_data_dir: Path | None) -> Path:
    """A directory with a run that can recognize drawn digits, as far as its data allows."""
    folder = tmp_path_factory.mktemp("runs")
    train_for_drawings(folder / "run", mnist_data_dir)
    return folder


@pytest.fixture
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    messages = driver.get_log("browser")
    driver.quit()
    assert messages == []


def wait_for(found: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def draw(browser: Any, canvas: Any, strokes: Sequence[Sequence[tuple[float, float]]]) -> None:
    """Moves the pointer over the middle of a canvas that is in view."""
    box = canvas.rect
    actions = ActionBuilder(browser, duration=10)
    pen = actions.pointer_action
    for stroke in strokes:
        for index, (x, y) in enumerate(stroke):
            right_of_middle = (x - 0.5) * 0.5 * box["width"]
            below_middle = (y - 0.5) * 0.65 * box["height"]
            pen.move_to(canvas, int(right_of_middle), int(below_middle))
            if index == 0:
                pen.pointer_down()
        pen.pointer_up()
    actions.perform()


def tooltip_at_a_point(browser: Any, svg: Any) -> str:
    """Moves the pointer to the last point of the picture's second line."""
    browser.execute_async_script(  # the scroll event, which hides a tooltip, comes a frame later
        """
        const [svg, done] = arguments;
        svg.scrollIntoView({block: "center"});
        requestAnimationFrame(() => requestAnimationFrame(done));
        """,
        svg,
    )
    x, y = browser.execute_script(
        """
        const svg = arguments[0];
        const id = Object.keys(JSON.parse(svg.dataset.tooltips))[1];
        const path = svg.getElementById(id).querySelector("path");
        const end = path.getPointAtLength(path.getTotalLength());
        const place = end.matrixTransform(path.getScreenCTM());
        return [Math.round(place.x), Math.round(place.y)];
        """,
        svg,
    )
    actions = ActionBuilder(browser)
    actions.pointer_action.move_to_location(x, y)
    actions.perform()
    tooltip = browser.find_element(By.ID, "tooltip")
    return tooltip.text if tooltip.is_displayed() else ""


def test_a_report_from_disk(browser: Any, runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report.make([runs / "run"], datetime.date.today()), encoding="utf-8")
    browser.set_network_conditions(offline=True, latency=0, throughput=0)
    browser.get(page.as_uri())
    assert browser.find_element(By.TAG_NAME, "h1").text == "run"
    loss = browser.find_element(By.CSS_SELECTOR, "svg[data-tooltips]")
    last = zoo.training.history.read(runs / "run").epochs[-1]
    expected = f"run, held out, epoch {last['epoch']}: {last['val_loss']:.4g}"
    assert tooltip_at_a_point(browser, loss) == expected
    for scheme, channel in (("light", 255), ("dark", 20)):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        color = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        assert color.startswith(f"rgba({channel},")
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= 390  # wider content scrolls within the page


def test_a_live_page_follows_a_run(browser: Any, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "run", tmp_path / "live")
    whole = zoo.training.history.read(tmp_path / "live")
    begun = zoo.training.history.read(tmp_path / "live")
    begun.epochs, begun.test = begun.epochs[:1], None
    begun.write(tmp_path / "live")
    with serve(tmp_path) as address:
        browser.get(address)
        wait_for(lambda: browser.find_elements(By.LINK_TEXT, "live"))
        browser.find_element(By.LINK_TEXT, "live").click()

        def says(text: str) -> bool:
            return text in browser.find_element(By.CSS_SELECTOR, "[data-live]").text

        wait_for(lambda: says(f"1 of {len(whole.epochs)} epochs"))
        whole.write(tmp_path / "live")
        wait_for(lambda: says("{0} of {0} epochs".format(len(whole.epochs))))
        svg = browser.find_element(By.CSS_SELECTOR, "svg[data-tooltips]")
        assert f"epoch {len(whole.epochs)}: " in tooltip_at_a_point(browser, svg)
        browser.find_element(By.CSS_SELECTOR, "details[data-load] summary").click()
        wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, "[data-kind=weights] svg"), 60)


def test_a_long_name_leaves_the_accuracies_of_the_list_in_view(
    browser: Any, tmp_path: Path
) -> None:
    workdir = tmp_path / "sweep-pooling_cnn3-digits/learning_rate=3e-3,seed=1"
    workdir.mkdir(parents=True)
    history = history_of(3)
    history.config["model"] = "ablation_cnn3_dropout"
    history.write(workdir)
    with serve(tmp_path) as address:
        browser.get(address)
        wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, "table"))
        hidden = browser.execute_script(
            "const list = document.querySelector('.wide');"
            "return list.scrollWidth - list.clientWidth;"
        )
    assert hidden == 0


def draw_with_the_pointer(browser: Any, digit: int) -> None:
    canvas = browser.find_element(By.ID, "canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    draw(browser, canvas, STROKES[digit])
    answer = browser.find_element(By.ID, "answer")
    wait_for(lambda: answer.get_attribute("aria-busy") == "false")


def said(browser: Any, selector: str) -> dict[str, str | None]:
    """The answer in each row that the selector finds, by the net's name."""
    return {
        row.find_element(By.CLASS_NAME, "name").text: row.get_attribute("data-predicted")
        for row in browser.find_elements(By.CSS_SELECTOR, selector)
    }


def wait_for_nets(browser: Any) -> None:
    wait_for(lambda: not browser.find_element(By.ID, "note").text, 600)


def test_digits_drawn_with_the_pointer(browser: Any, runs: Path) -> None:
    """Ten digits: each net of the package must know 8, that of a run 9, or 4 if trained on 8x8."""
    right = dict.fromkeys(["run", *list_models(pretrained=True)], 0)
    with serve(runs) as address:
        browser.get(f"{address}/draw?run=run")
        wait_for_nets(browser)
        for digit in STROKES:
            browser.find_element(By.ID, "clear").click()
            assert browser.find_element(By.ID, "answer").text == "Draw with mouse, pen or finger."
            assert set(said(browser, ".nets li").values()) == {None}
            draw_with_the_pointer(browser, digit)
            answers = said(browser, ".nets li")
            assert answers.keys() == right.keys()
            for name, answer in answers.items():
                right[name] += answer == str(digit)
            most = browser.find_element(By.ID, "answer").get_attribute("data-predicted")
            counts = Counter(answers.values())
            assert counts[most] == max(counts.values())
    assert right.pop("run") >= (9 if REAL_MNIST_DIR else 4)
    assert min(right.values()) >= 8, right


def test_nets_answer_as_they_are_loaded_and_fit_a_phone(browser: Any, tmp_path: Path) -> None:
    """The first page, without any run; what is drawn meanwhile is answered by each net that comes.

    Another directory holds the compiled programs, so they are compiled while one draws.
    """
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    with serve(cwd=tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "cache")) as address:
        browser.get(address)
        assert browser.current_url == f"{address}/draw"
        draw_with_the_pointer(browser, 7)
        wait_for_nets(browser)
        answers = said(browser, "[data-net]")
        assert sorted(answers) == list_models(pretrained=True)
        wait_for(lambda: None not in said(browser, "[data-net]").values())
        assert set(said(browser, "[data-net]").values()) == {"7"}
        for width in (390, 800, 1280):
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == 390}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            inner = browser.execute_script("return document.documentElement.scrollWidth")
            assert inner <= width
        labels = [
            row.find_element(By.CLASS_NAME, "chances").get_attribute("aria-label")
            for row in browser.find_elements(By.CSS_SELECTOR, "[data-net]")
        ]
        assert all(label.startswith("7 with ") for label in labels)
