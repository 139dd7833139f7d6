"""`facestream avatar`: make an avatar from a photo, list the avatars, look at one."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from facestream.avatar.bundle import BUNDLE_SUFFIX, CONSENT, BundleError, load_bundle, read_manifest
from facestream.avatar_name import check_avatar_name
from facestream.cli.serve import default_repository
from facestream.contract import AVATARS_VARIABLE

if TYPE_CHECKING:
    from facestream.avatar.build import Built


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser("avatar", help="make an avatar from a photo, or look into one", description=__doc__)
    actions = parser.add_subparsers(metavar="action", required=True)

    build = actions.add_parser(
        "build",
        help="make an avatar from a photo",
        description="Make an avatar from one photo: a single person, from the front, lips closed, eyes open, hair and"
        " shoulders in the picture, at least 80 px from eyes to mouth. More pictures of the same person help.",
    )
    build.add_argument("photo", type=Path, metavar="PHOTO", help="JPEG, PNG, WebP, TIFF or BMP, or a clip")
    build.add_argument(
        "--also",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="more pictures or clips (MP4, MOV, WebM, ...) of the same person: a smile gives the colour of the teeth, a"
        " blink the closed lids, and the best view is the portrait",
    )
    build.add_argument("--name", metavar="NAME", help="name to ask the server for (default: the photo's file name)")
    build.add_argument("-o", "--output", type=Path, metavar="FILE", help="bundle to write (default: NAME.avatar)")
    build.add_argument("--licence", default="not stated", metavar="TEXT", help="under which it may be passed on")
    build.add_argument(
        "--consent",
        required=True,
        choices=CONSENT,
        help="why this face may be animated: it is synthetic, your own, its owner has given consent, or the portrait"
        " is in the public domain",
    )
    _add_folder(build, "folder to write to")
    build.set_defaults(func=_build)

    again = actions.add_parser(
        "rebuild",
        help="make an avatar again from the photo in its bundle",
        description="Make an avatar again from the photo that its bundle holds, because an older version made it or"
        " because the code is better now. Name, licence and consent stay. Where the photo itself is at hand, build from"
        " it instead: the portrait in the bundle has 512 x 512 of its pixels.",
    )
    again.add_argument("bundle", type=Path, metavar="FILE", help="the bundle")
    again.add_argument("-o", "--output", type=Path, metavar="FILE", help="bundle to write (default: the same file)")
    again.set_defaults(func=_rebuild)

    show = actions.add_parser("list", help="list the avatars")
    _add_folder(show, "folder of your own avatars")
    _add_repository(show)
    show.set_defaults(func=_list)

    preview = actions.add_parser("preview", help="draw a sheet of an avatar's faces, without a server")
    preview.add_argument("avatar", metavar="NAME", help="an avatar's name, or a bundle's file")
    preview.add_argument("-o", "--output", type=Path, metavar="FILE", help="picture to write (default: NAME.png)")
    _add_folder(preview, "folder of your own avatars")
    _add_repository(preview)
    preview.set_defaults(func=_preview)


def _add_folder(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--avatars",
        type=Path,
        default=os.environ.get(AVATARS_VARIABLE) or None,
        metavar="DIR",
        help=f"{text} (default: the environment's {AVATARS_VARIABLE})",
    )


def _add_repository(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repository", type=Path, metavar="DIR", help="model repository (default: the checkout's)")


def _build(arguments: argparse.Namespace) -> int:
    from facestream.avatar.build import build_avatar  # OpenVINO and SciPy: slow to import

    try:
        if arguments.name is None:
            name = re.sub(r"[^A-Za-z0-9_-]+", "-", arguments.photo.stem).strip("-_")[:64]
        else:
            name = arguments.name
        check_avatar_name(name)
    except ValueError as error:
        return _fail(f"{error}; choose one with --name")
    folder = arguments.avatars or Path()
    output = arguments.output or folder / f"{name}{BUNDLE_SUFFIX}"
    if output.suffix != BUNDLE_SUFFIX:
        return _fail(f"--output {output}: a bundle's name ends in {BUNDLE_SUFFIX}")
    try:
        built = build_avatar(
            arguments.photo,
            output,
            name=name,
            licence=arguments.licence,
            consent=arguments.consent,
            also=arguments.also,
        )
    except OSError as error:
        return _not_written(output, error)
    _report(built)
    known = built.path.stem
    if known != name:
        try:
            print(f"note: the server knows it by its file's name, {check_avatar_name(known)}", file=sys.stderr)
        except ValueError as error:
            print(f"note: the server cannot know it by its file's name, so rename it: {error}", file=sys.stderr)
    return 0


def _rebuild(arguments: argparse.Namespace) -> int:
    from facestream.avatar.build import rebuild_avatar

    output = arguments.output or arguments.bundle
    if output.suffix != BUNDLE_SUFFIX:
        return _fail(f"--output {output}: a bundle's name ends in {BUNDLE_SUFFIX}")
    try:
        built = rebuild_avatar(arguments.bundle, output)
    except OSError as error:
        return _not_written(output, error)
    _report(built)
    return 0


def _not_written(output: Path, error: OSError) -> int:
    if error.strerror is None:  # of this package: it lacks a file of its own
        return _fail(str(error))
    return _fail(f"--output {output}: cannot be written ({error.strerror})")


def _report(built: Built) -> None:
    for warning in built.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for note in built.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{_printable(str(built.path))} ({built.path.stat().st_size / 1e6:.1f} MB, {built.seconds:.1f} s)")


def _list(arguments: argparse.Namespace) -> int:
    found = False
    for path in _bundles(arguments):
        found = True
        try:
            manifest = read_manifest(path)
        except BundleError as error:
            print(f"{_printable(path.stem):<20} broken: {_printable(str(error)[:400])}")
            continue
        doubts = len(manifest.get("warnings", []))
        print(
            f"{_printable(path.stem):<20} {manifest['consent']:<14} {_printable(manifest['licence'][:200]):<16}"
            f" {_printable(str(path))}" + (f"  ({doubts} warning{'s' if doubts > 1 else ''})" if doubts else "")
        )
    return 0 if found else _fail("no avatars found: make one with `facestream avatar build PHOTO`")


def _preview(arguments: argparse.Namespace) -> int:
    from facestream.avatar.preview import is_picture, preview_sheet

    repository = arguments.repository or default_repository()
    if repository is None:
        return _fail("no model repository here: name it with --repository DIR")
    path = Path(arguments.avatar)
    if path.suffix != BUNDLE_SUFFIX:
        known = {bundle.stem: bundle for bundle in reversed(list(_bundles(arguments)))}
        if arguments.avatar not in known:
            return _fail(f"avatar {arguments.avatar!r} is unknown, expected one of: {', '.join(sorted(known)) or '-'}")
        path = known[arguments.avatar]
    output = arguments.output or Path(f"{path.stem}.png")
    if not is_picture(output):
        return _fail(f"--output {output}: expected the name of a picture, such as {path.stem}.png or {path.stem}.jpg")
    try:
        sheet = preview_sheet(repository, load_bundle(path))
    except FileNotFoundError as error:
        return _fail(str(error))
    if not cv2.imwrite(str(output), sheet[..., ::-1]):
        return _fail(f"--output {output}: cannot be written")
    print(_printable(str(output)))
    return 0


def _bundles(arguments: argparse.Namespace) -> Iterator[Path]:
    """Bundles in the order in which the server looks for a name: one's own, then the ready ones."""
    repository = arguments.repository or default_repository()
    folders = [Path(arguments.avatars)] if arguments.avatars else []
    if repository is not None:
        folders.append(repository / "avatar_store" / "avatars")
    for folder in folders:
        try:
            next(folder.iterdir(), None)
        except OSError as error:  # `glob` would say nothing
            print(f"note: folder {folder}: {error.strerror}", file=sys.stderr)
        yield from sorted(folder.glob(f"*{BUNDLE_SUFFIX}"))


def _printable(text: str) -> str:
    """Text of a stranger's bundle or its file's name, for one line of a terminal: no escape sequences."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _fail(text: str) -> int:
    print(f"facestream avatar: {text}", file=sys.stderr)
    return 1
