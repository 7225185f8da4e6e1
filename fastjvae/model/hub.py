"""The Hugging Face Hub: files of a repository come and go, nothing that is fetched is run."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastjvae.errors import ArgumentError, CheckpointError, RunError, first_sentence


def is_repository(name: str) -> bool:
    """Whether a name can be the id of a repository of somebody's, as ``user/name``.

    >>> is_repository("user/digits"), is_repository("digits"), is_repository("./runs/digits")
    (True, False, False)
    """
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII) is not None


def fetch(repository: str, files: Collection[str], revision: str | None = None) -> Path:
    """A folder with these files of a repository, of which no others are fetched.

    Raises:
        ArgumentError: the ``hub`` extra is missing.
        CheckpointError: there is no such repository, it cannot be read, or lacks a file.
    """
    hub = _library()
    try:
        folder = Path(hub.snapshot_download(repository, revision=revision, allow_patterns=[*files]))
    except Exception as error:  # of the library and of those that it calls, without a common base
        raise CheckpointError(
            f"{repository} is neither a folder nor a Hub repository that can be read:"
            f" {first_sentence(error)}"
        ) from error
    if lacking := [name for name in files if not (folder / name).is_file()]:
        raise CheckpointError(
            f"the Hub repository {repository} lacks {' and '.join(lacking)}: a model is read from"
            f" {' and '.join(files)} alone, and what could run code is not fetched"
        )
    return folder


def upload(folder: Path, files: Collection[str], repository: str) -> str:
    """Put these files of a folder into a repository, which is made if it does not exist.

    Returns:
        The id of the repository, with its owner.

    Raises:
        ArgumentError: the ``hub`` extra is missing.
        RunError: the Hub does not take them.
    """
    api = _library().HfApi()
    try:
        made: str = api.create_repo(repository, exist_ok=True).repo_id
        api.upload_folder(repo_id=made, folder_path=folder, allow_patterns=[*files])
    except Exception as error:  # as in fetch
        raise RunError(
            f"{folder} cannot be uploaded to the Hub repository {repository}:"
            f" {first_sentence(error)}; the token of `hf auth login` or HF_TOKEN must be one that"
            f" may write there"
        ) from error
    return made


def check_library() -> None:
    """Raise ArgumentError where the Hub's library is missing, with the command that installs it."""
    _library()


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise ArgumentError("Hub ids need the extra: pip install 'fastjvae[hub]'") from None
    return huggingface_hub
