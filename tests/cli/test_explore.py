"""``fastjvae explore`` and ``fastjvae export --to html``."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import fails, tiny_flags, write_arrays

from fastjvae import JointVAE
from fastjvae.cli import main
from fastjvae.cli.explore import server_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert main([*tiny_flags(write_arrays(folder), folder / "run"), "--no-figures"]) == 0
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path, capsys: Capture) -> Path:
    shutil.copytree(trained, tmp_path / "squares")
    capsys.readouterr()
    return tmp_path / "squares"


def facts_of(page: str) -> dict[str, Any]:
    facts = re.search(r'id="facts">(.*?)</script>', page)
    assert facts is not None
    content: dict[str, Any] = json.loads(facts[1])
    return content


def test_a_page_of_a_run_has_its_evaluation(run: Path, capsys: Capture):
    assert main(["export", str(run), "--to", "html"]) == 0
    assert capsys.readouterr().out == f"wrote explorer.html to {run / 'export-html'}\n"
    facts = facts_of((run / "export-html" / "explorer.html").read_text())
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert facts["name"] == "squares"
    kl = {each["unit"]: each["kl"] for each in facts["units"]}
    assert [kl[0], kl[1]] == evaluation["kl_cont"]
    (variable,) = facts["variables"]
    (right,) = evaluation["variables"]
    assert [each["share"] for each in variable["categories"]] == right["shares"]
    assert [each["name"] for each in variable["categories"]] == right["names"]


def test_an_evaluation_of_another_step_is_left_out(run: Path):
    evaluation = json.loads((run / "evaluation.json").read_text())
    (run / "evaluation.json").write_text(json.dumps({**evaluation, "steps": 5}))
    assert main(["export", str(run), "--to", "html", "--range", "-3", "3"]) == 0
    facts = facts_of((run / "export-html" / "explorer.html").read_text())
    assert {each["kl"] for each in facts["units"]} == {None}
    assert [facts["values"][0], facts["values"][-1]] == [-3, 3]


def test_a_model_without_a_run_has_a_page_too(tmp_path: Path):
    JointVAE((3, 16, 16), {"cont": 2}).save_pretrained(tmp_path / "saved")
    out = tmp_path / "out"
    assert main(["export", str(tmp_path / "saved"), "--to", "html", "--out", str(out)]) == 0
    assert facts_of((out / "explorer.html").read_text())["name"] == "saved"


def test_what_cannot_be_is_said(run: Path, capsys: Capture):
    command = ["export", str(run), "--to", "torch", "--range", "-3", "3"]
    assert "--range is for --to html, got --to torch" in fails(command, 2, capsys)
    command = ["explore", str(run), "--port", "70000"]
    assert "--port must be from 0, a free one, to 65535, got 70000" in fails(command, 2, capsys)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = fails(["explore", str(run), "--port", str(port)], 1, capsys)
        assert f"cannot serve at port {port}: " in said
        assert "--port 0 takes a free one" in said
    (run / "evaluation.json").write_text("[]")
    assert "evaluation.json cannot be taken up" in fails(["explore", str(run)], 1, capsys)


@pytest.mark.parametrize(("flags", "display", "opens"), [
    ([], ":0", True), ([], "", False), (["--only-serve"], ":0", False),
])  # fmt: skip
def test_explore_says_the_address_and_serves_until_it_is_interrupted(
    run: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    display: str,
    opens: bool,
):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    def interrupted(self: ThreadingHTTPServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", interrupted)
    assert main(["explore", str(run), *flags]) == 0
    out = capsys.readouterr().out
    address = re.fullmatch(r"explorer: (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", out)
    assert address is not None
    assert opened == ([address[1]] if opens else [])


def test_the_server_has_the_page_and_nothing_else():
    with server_of("<p>é</p>", 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}"
            with urllib.request.urlopen(f"{address}/") as answer:
                assert answer.read().decode() == "<p>é</p>"
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
                assert answer.headers["Cache-Control"] == "no-store"
            with pytest.raises(urllib.error.HTTPError, match="404") as error:
                urllib.request.urlopen(f"{address}/etc/passwd")
            error.value.close()
        finally:
            server.shutdown()
            thread.join()


def test_a_reader_that_goes_away_is_no_error(capsys: Capture):
    with server_of("<p>" + "page " * 1_000_000, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            for request in (b"", b"GET / HT", b"GET / HTTP/1.0\r\n\r\n"):
                with socket.create_connection(server.server_address[:2]) as reader:
                    reader.sendall(request)
                    time.sleep(0.1)
                    # Closing says at once that no more is read, and not politely.
                    reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.1)
        finally:
            server.shutdown()
            thread.join()
    assert capsys.readouterr().err == ""
