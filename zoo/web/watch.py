"""A live view of a directory of runs, for a browser on this machine; it only reads files."""

import functools
import io
import socket
from pathlib import Path
from typing import Any

import flask
import waitress
import waitress.server
from werkzeug.exceptions import HTTPException
from werkzeug.routing import PathConverter

import zoo
from zoo.analysis import trained
from zoo.analysis.net import TrainedNet
from zoo.data import NOWHERE, DataDirs, images
from zoo.data.preparation import prepare
from zoo.system.errors import ZooError
from zoo.system.files import as_text
from zoo.training.parameters import newest_step
from zoo.web import listing, pages, views

HOST = "127.0.0.1"  # only this machine
_MAX_DRAWING_BYTES = 2_000_000
_MAX_DRAWING_PIXELS = 1_000_000


class _NameConverter(PathConverter):
    """A run's name in addresses: as werkzeug's paths, and it may have line breaks."""

    regex = r"[^/](?:.|\n)*?"


def serve(folder: Path, port: int, given: DataDirs = NOWHERE) -> waitress.server.BaseWSGIServer:
    """Creates a server that listens; its `run()` answers until the process ends.

    Args:
        folder: contains run directories, or is one.
        port: a port of this machine; 0: any free port.
        given: where the data of the runs lies, as for `zoo.data.find`.

    Raises:
        ZooError: no such directory; the port is in use or not allowed.
    """
    if not folder.is_dir():
        raise ZooError(f"{folder} is not a directory: name the one with the runs")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # reusable right after a stop
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise ZooError(
            f"port {port} of {HOST} cannot be used ({error.strerror}): name another with --port"
        ) from None
    return waitress.create_server(make_app(folder, given), sockets=[listener])


def make_app(folder: Path, given: DataDirs = NOWHERE) -> flask.Flask:
    """Creates the app with the pages of the runs in the directory."""
    app = flask.Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # unusual addresses are not corrected
    app.url_map.converters["name"] = _NameConverter
    app.config["MAX_CONTENT_LENGTH"] = _MAX_DRAWING_BYTES
    _protect(app)
    _tell_errors(app)
    _show_runs(app, folder, given)
    _answer_drawings(app, folder, given)
    return app


def _protect(app: flask.Flask) -> None:
    """Lets no other site ask, frame or run anything."""

    @app.before_request
    def refuse_other_sites() -> None:
        """Other sites may link here; all other requests from them are refused.

        This includes requests under another host name that resolves to this machine.
        """
        if flask.request.host.partition(":")[0] not in (HOST, "localhost"):
            flask.abort(403)
        headers = flask.request.headers
        is_link = flask.request.method == "GET" and headers.get("Sec-Fetch-Mode") == "navigate"
        if headers.get("Sec-Fetch-Site", "none") in ("cross-site", "same-site") and not is_link:
            flask.abort(403)

    @app.after_request
    def restrict(response: flask.Response) -> flask.Response:
        policy = f"{pages.policy()}; connect-src 'self'; frame-ancestors 'none'"
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"
        return response


def _tell_errors(app: flask.Flask) -> None:
    """Answers errors with their sentence as plain text."""

    @app.errorhandler(ZooError)
    def tell(error: ZooError) -> flask.Response:
        return flask.Response(as_text(str(error)), 422, mimetype="text/plain")

    @app.errorhandler(HTTPException)
    def tell_plainly(error: HTTPException) -> flask.Response:
        text = error.description or error.name
        return flask.Response(text, error.code, mimetype="text/plain")


def _show_runs(app: flask.Flask, folder: Path, given: DataDirs) -> None:
    """The list of runs, the page of each, and their parts that are loaded again as they change."""

    @app.get("/")
    def index() -> str:
        return pages.render("watch.html", folder=as_text(str(folder)))

    @app.get("/parts/runs")
    def part_runs() -> str:
        return pages.render("watch_runs.html", runs=listing.list_runs(folder))

    @app.get("/runs/<name:name>")
    def page_of_run(name: str) -> str:
        run = views.view_run(listing.find(folder, name), name, "live")
        return pages.render("watch_run.html", name=name, run=run)

    @app.get("/parts/history/<name:name>")
    def part_history(name: str) -> flask.Response:
        workdir = listing.find(folder, name)
        response = flask.Response()
        response.set_etag(f"{zoo.__version__}-{listing.changed_ns(workdir)}")
        response.make_conditional(flask.request)
        if response.status_code != 304:
            run = views.view_run(workdir, name, "live")
            response.set_data(pages.render("watch_history.html", run=run))
        return response

    @app.get("/parts/net/<name:name>")
    def part_net(name: str) -> str:
        workdir = listing.find(folder, name)
        net = _view_net(workdir, newest_step(workdir), given)
        return pages.render("watch_net.html", net=net, kinds=views.KINDS)


def _answer_drawings(app: flask.Flask, folder: Path, given: DataDirs) -> None:
    """The page to draw on, and what a net says of a drawing."""

    @app.get("/draw")
    def draw() -> str:
        names = [run.name for run in listing.list_runs(folder) if not run.problem]
        chosen = flask.request.args.get("run", names[0] if names else "")
        return pages.render("watch_draw.html", names=names, chosen=chosen)

    @app.post("/answers/<name:name>")
    def answer(name: str) -> dict[str, Any]:
        workdir = listing.find(folder, name)
        net = _load_net(workdir, newest_step(workdir), given)
        file = io.BytesIO(flask.request.get_data())
        picture = images.decode(file, "the drawing", _MAX_DRAWING_PIXELS)
        prepared = prepare(picture, net.image_shape, net.framing, "the drawing")
        probabilities = net.probabilities(prepared.pixels[None])[0]
        return {
            "epoch": net.epoch,
            "pixels": prepared.pixels.mean(axis=2).tolist(),  # as the net sees it, in grey
            "probabilities": probabilities.tolist(),
        }


@functools.lru_cache(maxsize=2)
def _load_net(workdir: Path, newest_step: int, given: DataDirs) -> TrainedNet:
    """The run's net, loaded again when there is a newer checkpoint."""
    return trained.load(workdir, given=given)


@functools.lru_cache(maxsize=4)
def _view_net(workdir: Path, newest_step: int, given: DataDirs) -> views.NetView:
    return views.view_net(workdir, "net", given)
