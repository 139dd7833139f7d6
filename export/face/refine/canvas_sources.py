"""Which files the rough canvas is made by: its module, what that imports of this project, and the data that they read.

They are found by following the imports, so that nobody has to keep a list of them.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import facestream

import export
from export.face.mouth_interior import PICTURE

PACKAGES: Final = {package.__name__: Path(str(package.__file__)).parent for package in (export, facestream)}

ROOT: Final = "export.face.refine.rough_canvas"

APART: Final = ("export.face.refiner",)
"""Modules that are imported on the way and draw nothing of the rough canvas: the networks that better it. Drawing all
canvases anew for each change of these would cost minutes."""


def canvas_sources() -> list[Path]:
    """The files, sorted."""
    found: dict[str, Path] = {}
    waiting = [ROOT]
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if path is None or module in found or module in APART:
            continue
        found[module] = path
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:  # a name may be a module, too
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    avatar = PACKAGES["facestream"] / "avatar"
    return sorted([*found.values(), PICTURE, *avatar.rglob("*.npz"), *avatar.rglob("*.tflite")])


def _file(module: str) -> Path | None:
    """Where a module of this project lies; None for all else."""
    package, *parts = module.split(".")
    if package not in PACKAGES:
        return None
    path = PACKAGES[package].joinpath(*parts)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
