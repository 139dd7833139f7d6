"""Tensors that are sent again: always the right ones, and not more of them than there is room for."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from facestream.resent_tensors import ResentTensors

from tests.unit.triton_stub import StubTriton


@pytest.fixture(autouse=True)
def _triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", StubTriton().module())


def test_an_array_is_made_a_tensor_once() -> None:
    """1.5 MB of an avatar would be copied for every frame."""
    photo, tensors = np.arange(6, dtype=np.uint8).reshape(2, 3), ResentTensors(4)
    first = tensors.tensor("AVATAR_PHOTO", photo)
    np.testing.assert_array_equal(first.array, photo[None])
    assert tensors.tensor("AVATAR_PHOTO", photo) is first


def test_each_name_and_each_array_has_its_own() -> None:
    """Somebody else's face, or a mask in a portrait's place."""
    tensors = ResentTensors(100)
    for number in range(50):
        # A new array may be given the address, and so the id, of one that has gone.
        assert tensors.tensor("A", np.full(3, number)).array[0, 0] == number
    same = np.zeros(3)
    assert (tensors.tensor("A", same).label, tensors.tensor("B", same).label) == ("A", "B")


def test_no_more_is_kept_than_there_is_room_for() -> None:
    """Shared memory is scarce in a container: visitors with a new avatar each must not fill it up."""
    arrays, tensors = [np.full(3, number) for number in range(3)], ResentTensors(2)
    first, second = (tensors.tensor("A", array) for array in arrays[:2])
    assert tensors.tensor("A", arrays[0]) is first
    tensors.tensor("A", arrays[2])  # in the place of the second, which was sent longest ago
    assert tensors.tensor("A", arrays[0]) is first
    assert tensors.tensor("A", arrays[1]) is not second
