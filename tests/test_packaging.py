"""The wheel, the sdist and an editable install, each used from outside the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

pytest.importorskip("build", reason="needs the dev extra's build")

PACKAGES = ("fastjvae", "fastjvae_kernels")


def _run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind in it."""
    copy = tmp_path_factory.mktemp("source") / "fastjvae"
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", ".*_*")

    def left_out(folder: str, names: list[str]) -> set[str]:
        return ignored(folder, names) | ({"runs"} if Path(folder) == ROOT else set())

    shutil.copytree(ROOT, copy, ignore=left_out)
    return copy


@pytest.fixture(scope="module")
def built(source: Path) -> dict[str, Path]:
    """The sdist with the wheel made from it, and the wheel made from the checkout."""
    build = [sys.executable, "-m", "build", "--no-isolation"]
    _run(*build, "--outdir", source / "dist", cwd=source)
    _run(*build, "--wheel", "--outdir", source / "direct", cwd=source)
    return {
        "sdist": next((source / "dist").glob("*.tar.gz")),
        "wheel from sdist": next((source / "dist").glob("*.whl")),
        "wheel": next((source / "direct").glob("*.whl")),
    }


def _new_environment(folder: Path) -> tuple[Path, Path]:
    """A virtual environment that finds torch and the other requirements in this one's."""
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / Path(sys.executable).name
    if not python.exists():
        python = scripts / "python"
    site = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    # A line of a .pth file only extends sys.path: this environment's own .pth files, and with them
    # its editable fastjvae, stay out.
    (Path(site.strip()) / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python, Path(site.strip())


USE = """
import fastjvae, fastjvae_kernels, importlib.util, pathlib, torch
from fastjvae.cli import main
model = fastjvae.JointVAE((1, 32, 32), {"cont": 4, "disc": [3]})
model.loss(torch.rand(2, 1, 32, 32), 1).loss.backward()
assert importlib.util.find_spec("kernels") is None
for package in (fastjvae, fastjvae_kernels):
    folder = pathlib.Path(package.__file__).parent
    assert (folder / "py.typed").is_file()
    print(folder)
"""


def test_both_wheels_hold_both_packages_and_no_top_level_kernels(built: dict[str, Path]):
    contents = {}
    for name in ("wheel", "wheel from sdist"):
        with zipfile.ZipFile(built[name]) as wheel:
            contents[name] = set(wheel.namelist())
    assert contents["wheel"] == contents["wheel from sdist"]
    files = contents["wheel"]
    assert {file.split("/")[0] for file in files if ".dist-info/" not in file} == set(PACKAGES)
    for package, folder in (
        ("fastjvae", "fastjvae"),
        ("fastjvae_kernels", "kernels/fastjvae_kernels"),
    ):
        sources = {
            f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
            for path in (ROOT / folder).rglob("*")
            if path.suffix in (".py", ".typed", ".html", ".css", ".js")
        }
        assert sources <= files
    assert any(file.endswith("licenses/LICENSE") for file in files)


def test_tests_run_from_the_sdist(built: dict[str, Path], tmp_path: Path):
    with tarfile.open(built["sdist"]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    tracked = _run("git", "ls-files", cwd=ROOT).split() if (ROOT / ".git").exists() else []
    missing = [file for file in tracked if not (root / file).is_file()]
    assert set(missing) <= {".gitignore"}
    few = ["tests/test_release.py", "tests/test_imports.py", "tests/functional/test_capacity.py"]
    said = _run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *few, cwd=root)
    assert " passed" in said


def test_the_index_takes_the_description(built: dict[str, Path]):
    said = _run(sys.executable, "-m", "twine", "check", "--strict", *built.values(), cwd=ROOT)
    assert said.count("PASSED") == len(built)


def test_the_installed_wheel_works_outside_the_checkout(built: dict[str, Path], tmp_path: Path):
    python, site = _new_environment(tmp_path / "env")
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
         built["wheel"], cwd=tmp_path)  # fmt: skip
    folders = _run(python, "-c", USE, cwd=tmp_path).split()
    assert folders == [str(site / package) for package in PACKAGES]
    assert "train" in _run(python.parent / "fastjvae", "--help", cwd=tmp_path)


def test_an_editable_install_works_outside_the_checkout(source: Path, tmp_path: Path):
    python, _ = _new_environment(tmp_path / "env")
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
         "--no-build-isolation", "--editable", source, cwd=tmp_path)  # fmt: skip
    folders = _run(python, "-c", USE, cwd=tmp_path).split()
    assert folders == [str(source / "fastjvae"), str(source / "kernels" / "fastjvae_kernels")]
