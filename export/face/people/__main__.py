"""Render synthetic people: `python -m export.face.people --ict-facekit PATH --set train --people 40 --frames 16`.

What is there already is kept, so a run that was stopped goes on where it was. See export.face.people.dataset for the
files, export.face.people.recorded_speech for --speech.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

try:
    import bpy  # noqa: F401  first: it does not load beside the threads that others start
except ImportError:
    sys.exit("export.face.people needs Blender's Python module: pip install --no-deps bpy==4.5.11 (Python 3.11)")

import numpy as np
from facestream.avatar.face_model import load_face_model

from export.face.face_model_source import add_source_argument, chosen_source
from export.face.people import dataset
from export.face.people.camera import draw_camera
from export.face.people.head import Head
from export.face.people.light import draw_light
from export.face.people.person import make_person
from export.face.people.portrait import Portrait, Quality


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_source_argument(parser)
    parser.add_argument("--set", choices=tuple(dataset.SEEDS), default="train", help="which people")
    parser.add_argument("--people", type=int, default=40, metavar="N", help="how many")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="skip the people before this one")
    parser.add_argument("--frames", type=int, default=16, metavar="N", help="expressions of each")
    parser.add_argument("--speaking", type=int, default=0, metavar="N", help="consecutive frames of speech of each")
    parser.add_argument("--speech", type=Path, metavar="FILE", help="recorded parameters (.npz)")
    parser.add_argument("--samples", type=int, default=Quality.frame_samples, help="paths for each pixel of a frame")
    parser.add_argument("--photo-samples", type=int, default=Quality.photo_samples, help="and of the photo")
    parser.add_argument("--hair", type=float, default=Quality.hair_density, metavar="X", help="share of the strands")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/people"), metavar="FOLDER")
    options = parser.parse_args()
    for name, least in (("people", 1), ("frames", 1), ("first", 0), ("speaking", 0), ("samples", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}, expected at least {least}")
    if options.speaking and options.speech is None:
        parser.error("--speaking needs --speech FILE: see python -m export.face.people.recorded_speech --help")
    clips = {}
    if options.speech is not None:
        if not options.speech.is_file():
            parser.error(f"--speech {options.speech}: there is no such file")
        with np.load(options.speech, allow_pickle=False) as data:
            clips = {name: data[name] for name in data.files}
    speech = np.concatenate(list(clips.values())) if clips else None
    longest = max((len(clip) for clip in clips.values()), default=0)
    if options.speaking > longest:  # said before the stills are rendered, not after them
        parser.error(f"--speaking is {options.speaking}, and the longest clip of {options.speech} has {longest} frames")

    head = Head(chosen_source(parser, options))
    sources = dataset.source_vertices(head, load_face_model())
    (options.out / options.set).mkdir(parents=True, exist_ok=True)
    np.save(options.out / options.set / "source_vertices.npy", sources)
    quality = Quality(options.photo_samples, options.samples, options.threads, options.hair)
    for number in dataset.unfinished(options.out, options.set, options.people, options.frames, options.speaking):
        if number < options.first:
            continue
        begun = time.monotonic()
        person = make_person(head, dataset.SEEDS[options.set] + number)
        portrait = Portrait(person, draw_camera(person), draw_light(person), quality)
        path = dataset.person_folder(options.out, options.set, number)
        try:
            dataset.render_stills(portrait, path, sources, speech, options.frames)
            if options.speaking:
                dataset.render_speaking(portrait, path / "speaking", sources, clips, options.speaking)
        except ValueError as error:
            parser.error(str(error))
        print(f"{path}: {time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
