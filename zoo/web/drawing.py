"""The page to draw on, and what nets say of a drawing: those of the package, and a run's."""

import functools
import io
from pathlib import Path
from typing import Any

import flask
from PIL import Image

from zoo.analysis import trained
from zoo.analysis.net import TrainedNet
from zoo.analysis.prediction import Prediction
from zoo.data import DataDirs, images
from zoo.data.framing import Framing
from zoo.data.preparation import Prepared, prepare
from zoo.system.errors import ZooError
from zoo.system.files import as_text
from zoo.web import listing, loading, pages

_MAX_PIXELS = 1_000_000
_NAME = "the drawing"  # for messages


def answer_drawings(app: flask.Flask, folder: Path, given: DataDirs) -> None:
    """Adds the page, the answers, and how far the nets of the package are loaded."""
    nets = loading.PackagedNets()

    def states() -> dict[str, Any]:
        return {"loading": nets.loading(), "problems": nets.problems()}

    @app.get("/draw")
    def draw() -> str:
        nets.load(again=True)
        runs = listing.list_runs(folder)
        return pages.render(
            "watch_draw.html",
            nets=loading.about_packaged(),
            runs=[run for run in runs if not run.problem],
            chosen=flask.request.args.get("run", ""),
            folder=as_text(str(folder)),
            has_list=bool(runs),
        )

    @app.get("/nets")
    def tell_states() -> dict[str, Any]:
        nets.load()
        return states()

    @app.post("/answers")
    @app.post("/answers/<name:name>")
    def answer(name: str | None = None) -> dict[str, Any]:
        workdir = None if name is None else listing.find(folder, name)
        nets.load()
        drawing = _Drawing(flask.request.get_data())
        told = states()  # first: a net that is loaded meanwhile is asked next time
        answers = {name: drawing.answer(net) for name, net in nets.ready().items()}
        of_run = _answer_of_run(drawing, workdir, given) if workdir else None
        return {**told, "answers": answers, "run": of_run, "seen": drawing.seen()}


class _Drawing:
    """A drawing, prepared once for all nets with the same form and framing of images."""

    def __init__(self, content: bytes) -> None:
        self._picture: Image.Image = images.decode(io.BytesIO(content), _NAME, _MAX_PIXELS)
        self._prepared: dict[tuple[tuple[int, int, int], Framing | None], Prepared] = {}
        self._seen: dict[bytes, list[list[float]]] = {}  # grey, by the pixels

    def answer(self, net: TrainedNet) -> dict[str, Any]:
        """What the net says, and the number of the picture that it sees."""
        form = (net.image_shape, net.framing)
        if form not in self._prepared:
            self._prepared[form] = prepare(self._picture, *form, _NAME)
        prepared = self._prepared[form]
        probabilities = net.probabilities(prepared.pixels[None])[0]
        key = prepared.pixels.tobytes()
        self._seen.setdefault(key, prepared.pixels.mean(axis=2).tolist())
        return {
            "probabilities": probabilities.tolist(),
            "doubt": Prediction(net.name, _NAME, prepared, None, probabilities).doubt,
            "seen": list(self._seen).index(key),
            "names": net.data.class_names,
        }

    def seen(self) -> list[list[list[float]]]:
        """The different pictures that nets see, in grey."""
        return list(self._seen.values())


def _answer_of_run(drawing: _Drawing, workdir: Path, given: DataDirs) -> dict[str, Any]:
    try:
        net = _load_net(workdir, listing.state_of(workdir), given)
        return {"epoch": net.epoch, **drawing.answer(net)}
    except ZooError as error:
        return {"problem": as_text(str(error))}


@functools.lru_cache(maxsize=2)
def _load_net(workdir: Path, state: tuple[int, int], given: DataDirs) -> TrainedNet:
    """The run's net, loaded again when the run has another state."""
    return trained.load(workdir, given=given)
