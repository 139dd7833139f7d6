"""What is computed of the corpus once and kept beside it: where it lies, and whether it still fits.

A file fits its shard while it is the younger of the two, and its code while it lies in the folder named by that code's
digest. Without the second, a phoneme that moves to another class of lips would be trained on as it was before.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

Part = ModuleType | Callable[..., Any] | type | float | str


def cache_folder(corpus: Path, kind: str, *made_by: Part) -> Path:
    """The folder CORPUS.KIND/DIGEST, made if need be, for files that `made_by` computed: modules, functions, values.

    Folders of other digests stay as they are: whoever goes back to older code finds them again.
    """
    folder = corpus.with_suffix(f".{kind}") / digest(*made_by)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fits(kept: Path, shard: Path) -> bool:
    """Whether `kept` is there and was computed after `shard` was written."""
    return kept.exists() and kept.stat().st_mtime > shard.stat().st_mtime


@contextmanager
def whole(kept: Path) -> Iterator[Path]:
    """Give a path beside `kept` to write to; at the end what is there becomes `kept`, whole or not at all.

    The path is this process's own: two trainings that begin side by side compute the same and must not meet in a file.
    """
    unfinished = kept.with_name(f"{kept.stem}.{os.getpid()}.tmp{kept.suffix}")
    try:
        yield unfinished
        unfinished.replace(kept)
    finally:
        unfinished.unlink(missing_ok=True)


def digest(*parts: Part) -> str:
    """12 hexadecimal digits for what code does and values are; comments, docstrings and layout do not count."""
    told = hashlib.sha256()
    for part in parts:
        told.update(_code(part).encode() if callable(part) or inspect.ismodule(part) else repr(part).encode())
    return told.hexdigest()[:12]


def _code(part: Any) -> str:
    tree = ast.parse(inspect.getsource(part))
    for node in ast.walk(tree):
        for block in ("body", "orelse", "finalbody"):
            lines = getattr(node, block, None)
            if isinstance(lines, list) and lines:  # a lambda's body is no list
                setattr(node, block, [line for line in lines if not _is_text(line)] or [ast.Pass()])
    return ast.unparse(tree)


def _is_text(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
