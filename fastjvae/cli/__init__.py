"""The commands: their flags, what each does, exit codes."""

from fastjvae.cli.program import main, train_from_stdin

__all__ = ["main", "train_from_stdin"]
