"""``fastjvae explore``: a model in the browser, moved by sliders."""

import os
import sys
import webbrowser
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fastjvae.cli.command import LoadsModel, RunPath
from fastjvae.errors import ArgumentError, RunError
from fastjvae.figures.explorer.page import explorer_page
from fastjvae.files import printable
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Span
from fastjvae.training.model_card import saved_evaluation
from fastjvae.training.run_folder import run_of

_HOST = "127.0.0.1"  # no other machine reaches it


class Explore(LoadsModel):
    """Open a model in the browser: sliders, categories, traversals, pictures of your own.

    It is the page that fastjvae export RUN --to html writes, for as long as the command runs.
    """

    model_path: RunPath
    """a run folder, or any model that fastjvae or the published code saved"""
    range: tuple[float, float] | None = None
    """first and last value of a unit, in standard deviations of its prior; by default its 5 % and
    95 % quantile"""
    port: int = 0
    """port of this machine to serve the page at; 0: a free one"""
    only_serve: bool = False
    """say the address, and leave the browser alone"""

    def run(self) -> int:
        if not 0 <= self.port < 2**16:
            raise ArgumentError(f"--port must be from 0, a free one, to 65535, got {self.port}")
        page = page_of(self.loaded(self.model_path), self.model_path, self.range)
        with server_of(page, self.port) as server:
            address = f"http://{_HOST}:{server.server_address[1]}/"
            print(f"explorer: {address} (Ctrl-C ends it)", flush=True)
            if not self.only_serve and _has_screen():
                webbrowser.open(address)
            with suppress(KeyboardInterrupt):
                server.serve_forever()
        return 0


def page_of(model: JointVAE, path: str, span: Span | None) -> str:
    """The explorer's page of the model at a path, with what its run knows of it."""
    run = run_of(path)
    evaluation = saved_evaluation(run)
    known = None if evaluation is None else evaluation.to_dict()
    return explorer_page(model, known, span=span, title=printable(run.path.resolve().name))


def server_of(page: str, port: int) -> ThreadingHTTPServer:
    """A server of one page at / of this machine; its caller lets it serve, and closes it.

    Raises:
        RunError: the port is taken, or not allowed.
    """
    content = page.encode()

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):  # a reader that has gone
                super().handle()

        def do_GET(self) -> None:
            if self.path != "/":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")  # the next model may have this port
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    try:
        return ThreadingHTTPServer((_HOST, port), Handler)
    except OSError as error:
        raise RunError(
            f"cannot serve at port {port}: {error.strerror or error}; --port 0 takes a free one"
        ) from error


def _has_screen() -> bool:
    """Whether there is a screen to open a browser on; without one a text browser would start."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(variable) for variable in ("DISPLAY", "WAYLAND_DISPLAY"))
