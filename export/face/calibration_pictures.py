"""Render posed faces to calibrate landmarks by: `python -m export.face.calibration_pictures -o FOLDER`.

Synthetic people (export.face.people) with all kinds of expressions, seen from up to 15 degrees beside, above and below,
384 x 384 px; beside each NAME.png the face model's vertices in it, NAME.npy, float32 [V, 3]: px x, px y (a pixel's
centre is at + 0.5), depth. What is there already is kept. Then: python -m export.face.calibrate_landmarks FOLDER.

Needs bpy (the extra `people`). About 5 s a picture on two cores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

try:
    import bpy  # first: it does not load beside the threads that others start
except ImportError:
    sys.exit("export.face.calibration_pictures needs Blender's module: pip install --no-deps bpy==4.5.11 (Python 3.11)")

import numpy as np
from facestream.avatar.face_model import load_face_model

from export.face.face_model_source import add_source_argument, chosen_source
from export.face.people.camera import place_camera
from export.face.people.dataset import source_vertices
from export.face.people.expressions import draw_expressions
from export.face.people.head import Head
from export.face.people.light import draw_light
from export.face.people.person import make_person
from export.face.people.portrait import Portrait, Quality, add_camera

FIRST_SEED: Final = 5000
"""People of no other set."""
SHRINK: Final = 0.75
"""The portrait's 512 px become 384: the landmark network sees 192 px of a face, which takes half of the height."""
SAMPLES: Final = 14
MAX_YAW, MAX_PITCH = np.radians(15.0), np.radians(12.0)


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_source_argument(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--people", type=int, default=16, metavar="N")
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="of each person")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for name in ("people", "pictures", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}, expected at least 1")
    head = Head(chosen_source(parser, options))
    sources = source_vertices(head, load_face_model())
    options.output.mkdir(parents=True, exist_ok=True)
    for seed in range(FIRST_SEED, FIRST_SEED + options.people):
        stems = [options.output / f"{seed}_{number:02d}" for number in range(options.pictures)]
        if all(stem.with_suffix(".png").is_file() for stem in stems):
            continue
        person = make_person(head, seed)
        chance = person.generator("calibration")
        cameras = [
            place_camera(
                person,
                float(np.exp(chance.uniform(np.log(50.0), np.log(120.0)))),
                yaw=float(chance.uniform(-MAX_YAW, MAX_YAW)),
                pitch=float(chance.uniform(-MAX_PITCH, MAX_PITCH)),
            )
            for _ in stems
        ]
        expressions = draw_expressions(chance, None, len(stems))
        portrait = Portrait(person, cameras[0], draw_light(person), Quality(SAMPLES, SAMPLES, options.threads, 0.25))
        bpy.context.scene.render.resolution_percentage = round(100 * SHRINK)
        for stem, camera, parameters in zip(stems, cameras, expressions, strict=True):
            if stem.with_suffix(".png").is_file():
                continue
            bpy.data.objects.remove(bpy.context.scene.camera)
            add_camera(camera)
            points = camera.project(portrait.show(parameters)[sources]) * SHRINK
            np.save(stem.with_suffix(".npy"), points.astype(np.float32))
            portrait.photo(stem.with_suffix(".png"))
        print(f"{stems[0]} ...", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
