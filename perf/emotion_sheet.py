"""See the emotions of an avatar: `python -m perf.emotion_sheet NAME.avatar -o build/emotions.png`.

Three rows: half and whole intensity at rest, and whole while an open vowel is said. Each face is what `motion` shows
after the emotion has blended in.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from facestream.avatar.preview import FacePreview, Image, both, contact_sheet, parameter_vector
from facestream.contract import LOOKAHEAD_FRAMES
from facestream.parameters import ARKIT, EMOTIONS, INDEX
from facestream.prosody import Prosody
from numpy.typing import NDArray

from export.chain import stage_folder
from perf.face_sheet import write_sheet

SILENCE = np.array(Prosody(-90.0, 0.0, 0.0, 0.0, -90.0), np.float32)
VOWEL: Mapping[str, float] = {"jawOpen": 0.19, **both("mouthLowerDown", 0.12), **both("mouthUpperUp", 0.16)}
ROWS: tuple[tuple[str, float, Mapping[str, float]], ...] = (
    ("0.5", 0.5, {}),
    ("1.0", 1.0, {}),
    ("1.0, ah", 1.0, VOWEL),
)


def settled(
    repository: Path, emotion: str, intensity: float, said: Mapping[str, float], seed: int
) -> NDArray[np.float32]:
    """PARAMETERS [73] of a session that has felt `emotion` for 4 s, in its moment of the widest open eyes since."""
    stage_folder(repository, "motion")
    from face_motion import FaceMotion

    motion = FaceMotion(seed)
    wanted = np.zeros(len(EMOTIONS), np.float32)
    wanted[EMOTIONS.index(emotion)] = intensity
    face = parameter_vector(said)[: len(ARKIT)]
    shown = [motion.step(face, SILENCE, wanted, frame - LOOKAHEAD_FRAMES) for frame in range(130)]
    parameters: NDArray[np.float32] = min(shown[100:], key=lambda frame: float(frame[INDEX["eyeBlinkLeft"]]))
    return parameters


def emotion_sheet(repository: Path, preview: FacePreview, seed: int) -> Image:
    """The sheet, RGB."""
    cells = [
        (f"{emotion} {label}", preview.draw(settled(repository, emotion, intensity, said, seed))[80:464, 64:448])
        for label, intensity, said in ROWS
        for emotion in EMOTIONS
    ]
    return contact_sheet(cells, columns=len(EMOTIONS), size=300)


def main() -> int:
    """Draw the sheet of one bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatar", type=Path, help="the bundle, NAME.avatar")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/emotions.png"), help="picture to write")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="where the stages are")
    parser.add_argument("--seed", type=int, default=3, help="of the session: another one is another person")
    options = parser.parse_args()
    return write_sheet(parser, options, lambda preview: emotion_sheet(options.repository, preview, options.seed))


if __name__ == "__main__":
    sys.exit(main())
