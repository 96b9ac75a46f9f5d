"""
A file that a command shall write, checked before the command does its work.

Owns: what is wrong with its name, as a sentence.
Knows nothing of: what is written.
Driven by: click.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class OutputFile(click.Path):
    """
    The path of a file that can be written, or made.
    """

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """
        Check a path.
        """
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        reason = _obstacle(path)
        if reason:
            self.fail(f"cannot write {path}: {reason}", param, ctx)
        return path


def _obstacle(path: Path) -> str:
    folder = path.parent
    try:
        if not folder.is_dir():
            return f"there is no folder {folder}"
        isWritable = os.access(path if path.exists() else folder, os.W_OK)
    except OSError as error:
        return error.strerror or str(error)
    return "" if isWritable else "permission denied"
