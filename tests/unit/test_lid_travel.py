"""A blink closes an eye all along its lids: no slit that stays open, no lid that hangs over the other."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.avatar import lid_travel
from facestream.avatar.bundle import load_bundle
from facestream.avatar.face_model import load_face_model
from facestream.avatar.layers_canvas import CONSTANTS, MESH_PITCH, SEAM_COLUMN, SEAM_COLUMNS
from facestream.avatar.layers_seams import LEFT_LOWER_LID, LEFT_UPPER_LID, Seam
from facestream.parameters import ARKIT

from export.ensembles import REPOSITORY

LINE = np.linspace(100.0, 140.0, 81)
ARCH = 1.0 - ((LINE - 120.0) / 20.0) ** 2
UPPER = Seam(LINE, 200.0 - 10.0 * ARCH, True, LEFT_UPPER_LID, reach=1.9)
LOWER = Seam(LINE, 200.0 + 3.0 * ARCH, False, LEFT_LOWER_LID, reach=1.6)
X = np.arange(102.0, 140.0, 4.0)


def test_every_column_closes() -> None:
    """The model draws its own lid down too far on one side and too little on the other."""
    closing = 12.0 + 0.2 * (X - 120.0)
    left_open = LOWER.at(X) - UPPER.at(X) - lid_travel.upper_share(X, LOWER, UPPER, closing) * closing
    inner = slice(2, -2)
    assert left_open[inner].max() < 0.0
    assert left_open[inner].min() > -3.0


def test_what_hardly_moves_is_left_alone() -> None:
    assert lid_travel.lower_share(np.array([-0.4, 0.0, 0.9])).tolist() == [1.0, 1.0, 1.0]
    assert lid_travel.lower_share(np.array([4.0, -8.0])).tolist() == [0.25, 0.125]


def test_a_gain_stays_within_what_faces_have() -> None:
    """Else a portrait of eyes wide open, or shut, would throw its lids about."""
    assert lid_travel.blink_gain(np.full(3, 12.0), np.full(3, 13.5)) == pytest.approx(1.0)
    assert lid_travel.blink_gain(np.full(3, 40.0), np.full(3, 10.0)) == 1.6
    assert lid_travel.blink_gain(np.zeros(3), np.full(3, 10.0)) == 0.7


def test_shares_end_on_the_face_about_the_eye() -> None:
    """Brows, cheeks and nose must go on following the model."""
    points = np.array([[120.0, 186.0], [120.0, 160.0], [120.0, 230.0], [60.0, 195.0], [180.0, 195.0]])
    share = lid_travel.skin_share(points, X, np.full(len(X), 0.5), LOWER, UPPER, scale=14.0)
    assert share.tolist() == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_nothing_moves_between_the_lids() -> None:
    points = np.array([[120.0, 196.0], [120.0, 186.0], [120.0, 208.0], [90.0, 200.0]])
    assert lid_travel.beside_opening(points, LOWER, UPPER).tolist() == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["ada", "nia"])
def test_lids_of_the_ready_avatars_come_down_in_one_sweep(name: str) -> None:
    """The layer of an upper lid must not fold, or a piece of it is seen below the lower lid. Nia's eyes are large."""
    model = load_face_model()
    tensors = load_bundle(REPOSITORY / "avatar_store" / "avatars" / f"{name}.avatar").tensors
    first, count = CONSTANTS["gain"]
    gains = tensors["AVATAR_CONSTANTS"][first : first + count]
    first, count = CONSTANTS["projection"]
    down = tensors["AVATAR_CONSTANTS"][first : first + count].reshape(2, 3)[1]
    names = [entry.name for entry in ARKIT]
    moved = sum(
        gains[names.index(blink)] * (model.expression[model.row(blink)] @ down)
        for blink in ("eyeBlinkLeft", "eyeBlinkRight")
    )
    columns = (moved[tensors["AVATAR_SEAM_INDEX"][3]] * tensors["AVATAR_SEAM_WEIGHT"][3].astype(np.float32)).sum(0)
    mesh = (moved[tensors["AVATAR_MESH_INDEX"]] * tensors["AVATAR_MESH_WEIGHT"].astype(np.float32)).sum(0)
    rows = slice(42, 42 + 17)
    assert tensors["AVATAR_SEAM_BLEND"].shape[2] == SEAM_COLUMNS
    field = mesh[rows, SEAM_COLUMN : SEAM_COLUMN + SEAM_COLUMNS]
    blend = tensors["AVATAR_SEAM_BLEND"][1, : field.shape[0]].astype(np.float32)
    layer = field + blend * (columns[None] - field)
    middle = columns > 0.6 * columns.max()
    slope = np.diff(layer[:, middle], axis=0) / MESH_PITCH
    assert columns.max() > 10.0
    assert slope.min() > -0.95
