"""A live view of a directory of runs, for a browser on this machine; it only reads them."""

import functools
import socket
from pathlib import Path

import flask
import waitress
import waitress.server
from werkzeug.exceptions import HTTPException
from werkzeug.routing import PathConverter
from werkzeug.wrappers import Response

import zoo
from zoo.data import NOWHERE, DataDirs
from zoo.system.errors import ZooError
from zoo.system.files import as_text
from zoo.web import drawing, listing, pages, views

HOST = "127.0.0.1"  # only this machine
DEFAULT_FOLDER = Path("runs")
_MAX_DRAWING_BYTES = 2_000_000


class _NameConverter(PathConverter):
    """A run's name in addresses: as werkzeug's paths, and it may have line breaks."""

    regex = r"[^/](?:.|\n)*?"


def serve(
    folder: Path | None, port: int, given: DataDirs = NOWHERE
) -> waitress.server.BaseWSGIServer:
    """Creates a server that listens; its `run()` answers until the process ends.

    Args:
        folder: contains run directories, or is one; None: "runs", which need not exist.
        port: a port of this machine; 0: any free port.
        given: where the data of the runs lies, as for `zoo.data.find`.

    Raises:
        ZooError: no such directory; the port is in use or not allowed.
    """
    watched = folder or DEFAULT_FOLDER
    if not watched.is_dir() and (folder or watched.exists()):
        raise ZooError(f"{watched} is not a directory: name the one with the runs")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # reusable right after a stop
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise ZooError(
            f"port {port} of {HOST} cannot be used ({error.strerror}): name another with --port"
        ) from None
    return waitress.create_server(make_app(watched, given), sockets=[listener])


def make_app(folder: Path, given: DataDirs = NOWHERE) -> flask.Flask:
    """Creates the app with the pages of the runs in the directory."""
    app = flask.Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # unusual addresses are not corrected
    app.url_map.converters["name"] = _NameConverter
    app.config["MAX_CONTENT_LENGTH"] = _MAX_DRAWING_BYTES
    _protect(app)
    _tell_errors(app)
    _show_runs(app, folder, given)
    drawing.answer_drawings(app, folder, given)
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
    def index() -> str | Response:
        if not listing.has_runs(folder):
            return flask.redirect("/draw")
        return pages.render("watch.html", folder=as_text(str(folder)))

    @app.get("/parts/runs")
    def part_runs() -> str:
        return pages.render("watch_runs.html", runs=listing.list_runs(folder))

    @app.get("/runs/<name:name>")
    def page_of_run(name: str) -> str:
        workdir = listing.find(folder, name)
        run = _view_run(workdir, name, listing.changed_ns(workdir))
        return pages.render("watch_run.html", name=name, run=run)

    @app.get("/parts/history/<name:name>")
    def part_history(name: str) -> flask.Response:
        workdir = listing.find(folder, name)
        changed = listing.changed_ns(workdir)
        response = flask.Response()
        response.set_etag(f"{zoo.__version__}-{changed}")
        response.make_conditional(flask.request)
        if response.status_code != 304:
            run = _view_run(workdir, name, changed)
            response.set_data(pages.render("watch_history.html", run=run))
        return response

    @app.get("/parts/net/<name:name>")
    def part_net(name: str) -> str:
        workdir = listing.find(folder, name)
        net = _view_net(workdir, listing.state_of(workdir), given)
        return pages.render("watch_net.html", net=net, kinds=views.KINDS)


@functools.lru_cache(maxsize=4)  # a page asks for its parts at once, and other tabs do
def _view_run(workdir: Path, name: str, changed: int) -> views.RunView:
    return views.view_run(workdir, name, "live")


@functools.lru_cache(maxsize=4)
def _view_net(workdir: Path, state: tuple[int, int], given: DataDirs) -> views.NetView:
    return views.view_net(workdir, "net", given)
