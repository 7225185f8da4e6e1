"""The files of a release say the same."""

from __future__ import annotations

import re

import yaml
from conftest import ROOT

from fastjvae._version import __version__


def test_the_newest_heading_of_the_changelog_is_this_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0].rstrip(",") == __version__
    assert len(set(headings)) == len(headings)


def test_the_citation_has_this_version_and_the_papers_address():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["references"][0]["url"].endswith("1804.00104")
    assert citation["title"] == "fastjvae"


def test_the_template_of_bug_reports_asks_for_versions_and_settings():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug_report.yml").read_text())
    labels = [field["attributes"]["label"] for field in form["body"]]
    assert {"fastjvae --version", "config.json of the run"} <= {*labels}


def test_the_docs_name_the_oldest_versions():
    project = (ROOT / "pyproject.toml").read_text()
    (torch,) = re.findall(r'"torch>=([\d.]+)"', project)
    (python,) = re.findall(r'^requires-python = ">=([\d.]+)"', project, re.M)
    for page in ("README.md", "docs/install.md", "CONTRIBUTING.md"):
        assert f"PyTorch {torch}" in (ROOT / page).read_text(), page
    assert f"Python {python} and PyTorch {torch}" in (ROOT / "docs/install.md").read_text()
