"""The frame of every command: streams, warnings, interrupts, and what is imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
import torch

import fastjvae
from fastjvae.cli import main
from fastjvae.cli import version as cli_version


def test_interrupted_while_torch_is_loaded():
    script = (
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from fastjvae.cli import main\nsys.exit(main(['evaluate', 'run']))"
    )
    result = _run_python(script)
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "fastjvae: interrupted\n"


def test_the_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    out, err = capsys.readouterr()
    first, below, device = out.splitlines()
    assert (first, err) == (f"fastjvae {fastjvae.__version__}", "")
    assert f"torch {torch.__version__}, triton {version('triton')}, numpy {np.__version__}" in below
    kind = "cuda" if torch.cuda.is_available() else f"cpu, threads: {torch.get_num_threads()}"
    assert device.startswith(f"device: {kind}")


def test_the_version_without_triton_and_with_a_gpu(monkeypatch: pytest.MonkeyPatch):
    def installed(package: str) -> str:
        if package == "triton":
            raise PackageNotFoundError(package)
        return "1.2"

    monkeypatch.setattr(cli_version, "version", installed)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "some GPU")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    said = cli_version.versions()
    assert "triton not installed, numpy 1.2;" in said
    assert said.endswith("\ndevice: cuda, some GPU, CUDA 13.0")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_files_of_ours(closed: str, tmp_path: Path):
    script = (
        "import os, sys\nfrom fastjvae.cli import program\n"
        "def run():\n"
        "    print('to stdout')\n    print('to stderr', file=sys.stderr)\n"
        "    file = open('own', 'w')\n    assert file.fileno() > 2\n"
        "    os.write(2, b'of a library')\n    return 5\n"
        "sys.exit(program._exit_code(run))"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert (tmp_path / "own").read_text() == ""


def test_a_disk_that_is_full_is_said_of_what_is_printed():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    script = "import sys\nfrom fastjvae.cli import main\nsys.exit(main(['--version']))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "fastjvae: No space left on device\n")


def test_warnings_of_ours_are_a_line():
    script = (
        "import warnings\nfrom fastjvae.cli import program\n"
        "def run():\n"
        "    warnings.warn_explicit('look here', UserWarning, program.__file__, 1)\n"
        "    warnings.warn_explicit('or there', UserWarning, 'elsewhere.py', 1)\n"
        "    return 0\n"
        "program._exit_code(run)"
    )
    assert _run_python(script).stderr == (
        "fastjvae: look here\nelsewhere.py:1: UserWarning: or there\n"
    )


HEAVY = [
    "matplotlib", "sklearn", "scipy", "torchvision", "triton", "PIL", "pandas", "tensorboard",
    "safetensors", "filelock", "torch._dynamo", "torch._inductor", "torch.utils.tensorboard",
]  # fmt: skip


def test_what_help_does_not_import():
    script = (
        "import sys, torch\nbefore = set(sys.modules)\nfrom fastjvae.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules and m not in before])"
    )
    result = _run_python(script)
    assert result.stdout.endswith("\n[]\n"), result.stdout + result.stderr
    assert "train" in result.stdout


def test_import_loads_nothing_heavy_and_nothing_at_all_before_it_is_asked_for():
    script = (
        "import sys\nimport fastjvae, fastjvae.cli.program\nassert 'torch' not in sys.modules\n"
        "import torch\nbefore = set(sys.modules)\n"
        "for name in {*fastjvae.__all__} - {'Fit', 'fit'}:\n    getattr(fastjvae, name)\n"
        f"print([m for m in {[*HEAVY, 'tyro']} if m in sys.modules and m not in before])"
    )
    result = _run_python(script)
    assert result.stdout == "[]\n", result.stdout + result.stderr


def _run_python(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False
    )


def test_import_works_without_triton():
    script = "import sys\nsys.modules['triton'] = None\nimport fastjvae\nfastjvae.JointVAE"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_public_name_is_there():
    assert all(hasattr(fastjvae, name) for name in fastjvae.__all__)
    assert set(fastjvae.__all__) <= set(dir(fastjvae))
    assert not hasattr(fastjvae, "JoinVAE")
    assert fastjvae.figures.kl_growth  # type: ignore[attr-defined]  # any module of the package
    assert issubclass(fastjvae.FastJVAEError, Exception)
    assert isinstance(np.asarray(fastjvae.metrics.cluster_accuracy([0], [0])).item(), float)
