"""Fields of motion: the quick way to a sampling grid must be the plain one, or the picture shifts by parts of a px."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from export.face import fields  # noqa: E402


@pytest.mark.parametrize("window", [fields.PICTURE, fields.CANVAS])
def test_a_fine_grid_is_the_refined_field(window: fields.Window) -> None:
    nodes = torch.randn(2, 2, 12, 9) * 20.0
    left, top, factor = 16, 40, 4
    fine = fields.FineGrid(window, left, top, 7 * factor, 10 * factor, factor)(nodes)
    plain = fields.refine(nodes, fields.refinement_kernel(factor), factor)
    at = fields.pixel_centres(left, top, 7 * factor, 10 * factor)
    np.testing.assert_allclose(fine.numpy(), fields.sampling_grid(window, at, plain).numpy(), atol=2e-6)


def test_a_field_at_rest_samples_pixels_exactly() -> None:
    """The resting frame is the photo bit for bit: what is sampled may be off by less than half a level."""
    picture = torch.randint(0, 256, (1, 3, 512, 512)).float()
    grid = fields.FineGrid(fields.PICTURE, 0, 0, 512, 512, 4)(torch.zeros(1, 2, 130, 130))
    assert (fields.sample_at(picture, grid) - picture).abs().max() < 0.1


def test_one_grid_serves_two_windows() -> None:
    nodes = torch.randn(1, 2, 8, 8)
    place = (200, 240, 24, 24, 4)
    scale, shift = fields.from_grid(fields.PICTURE, fields.CANVAS)
    turned = fields.FineGrid(fields.PICTURE, *place)(nodes) * scale + shift
    np.testing.assert_allclose(turned.numpy(), fields.FineGrid(fields.CANVAS, *place)(nodes).numpy(), atol=5e-6)


def test_colours_are_refined_as_positions_are() -> None:
    """The background's colours go through the same bilinear phases: a ramp stays a ramp."""
    ramp = torch.arange(8.0).reshape(1, 1, 1, 8).expand(1, 3, 6, 8)
    fine = fields.refine(ramp, fields.refinement_kernel(2, channels=3), 2)
    np.testing.assert_allclose(fine[0, 1, 3].numpy(), np.arange(0.75, 6.75, 0.5), atol=1e-6)
