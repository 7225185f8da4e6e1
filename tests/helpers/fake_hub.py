"""A stand-in for huggingface_hub: repositories are folders, and nothing asks a network."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class FakeHub:
    """Repositories by their ids, in a folder; what is asked of them is written down.

    Attributes:
        calls: what was asked for, with its arguments.
        failure: what every call raises, if anything.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.calls = folder, list[tuple[str, dict[str, Any]]]()
        self.failure: Exception | None = None
        module = ModuleType("huggingface_hub")
        module.__dict__.update(snapshot_download=self._download, HfApi=lambda: self)
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)

    def files(self, repository: str) -> list[str]:
        return sorted(path.name for path in (self.folder / repository).iterdir())

    def create_repo(self, repository: str, *, exist_ok: bool) -> Any:
        self._note("create_repo", repository=repository)
        (self.folder / repository).mkdir(parents=True, exist_ok=exist_ok)
        return SimpleNamespace(repo_id=repository)

    def upload_folder(self, *, repo_id: str, folder_path: Path, allow_patterns: list[str]) -> None:
        self._note("upload_folder", repo_id=repo_id, allow_patterns=allow_patterns)
        for name in allow_patterns:
            shutil.copy(Path(folder_path, name), self.folder / repo_id)

    def _download(self, repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self._note("download", repository=repository, allow_patterns=allow_patterns)
        if not (self.folder / repository).is_dir():
            raise FileNotFoundError("404 Client Error. Not there")
        return str(self.folder / repository)

    def _note(self, call: str, **arguments: Any) -> None:
        self.calls.append((call, arguments))
        if self.failure is not None:
            raise self.failure
