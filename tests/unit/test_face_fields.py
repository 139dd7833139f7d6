"""Fields of motion: the quick way to a sampling grid must be the plain one, or the picture shifts by parts of a px."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from export.face import fields  # noqa: E402
from export.face.compositor import block_kernel  # noqa: E402


@pytest.mark.parametrize("window", [fields.PICTURE, fields.CANVAS])
def test_a_fine_grid_is_the_refined_field(window: fields.Window) -> None:
    nodes = torch.randn(2, 2, 12, 9) * 20.0
    left, top, factor = 16, 40, 4
    fine = fields.FineGrid(window, left, top, 7 * factor, 10 * factor, factor)(nodes)
    plain = fields.refine(nodes, fields.refinement_kernel(factor), factor)
    at = fields.pixel_centres(left, top, 7 * factor, 10 * factor)
    np.testing.assert_allclose(fine.numpy(), fields.sampling_grid(window, at, plain).numpy(), atol=2e-6)


def test_a_picture_sampled_in_blocks_is_the_plain_one() -> None:
    """Pixels are sampled block by block and put in order at the end: one in a wrong place tears the face."""
    nodes, picture = torch.randn(2, 2, 12, 9) * 5.0, torch.rand(2, 3, 512, 512)
    place = (fields.PICTURE, 16, 40, 28, 40, 4)
    plain = fields.sample_at(picture, fields.FineGrid(*place)(nodes))
    blocks = fields.sample_at(picture, fields.FineGrid(*place, blocks=True)(nodes))
    made = fields.from_blocks(blocks, 4).permute(0, 3, 1, 2)
    np.testing.assert_allclose(made.numpy(), plain.numpy(), atol=1e-3)


def test_outside_of_the_picture_its_border_goes_on() -> None:
    """A head that leaves the picture must not draw a black frame along."""
    picture, grid = torch.rand(1, 3, 16, 16), torch.rand(1, 30, 30, 2) * 4.0 - 2.0
    expected = fields.sample_at(picture, grid, "border")
    np.testing.assert_allclose(fields.sample_inside(picture, grid).numpy(), expected.numpy(), atol=1e-5)


def test_a_field_at_rest_samples_pixels_exactly() -> None:
    """The resting frame is the photo bit for bit: what is sampled may be off by less than half a level."""
    picture = torch.randint(0, 256, (1, 3, 512, 512)).float()
    grid = fields.FineGrid(fields.PICTURE, 0, 0, 512, 512, 4)(torch.zeros(1, 2, 130, 130))
    assert (fields.sample_inside(picture, grid) - picture).abs().max() < 0.1


def test_one_grid_serves_two_windows() -> None:
    nodes = torch.randn(1, 2, 8, 8)
    place = (200, 240, 24, 24, 4)
    scale, shift = fields.from_grid(fields.PICTURE, fields.CANVAS)
    turned = fields.FineGrid(fields.PICTURE, *place)(nodes) * scale + shift
    np.testing.assert_allclose(turned.numpy(), fields.FineGrid(fields.CANVAS, *place)(nodes).numpy(), atol=5e-6)


def test_colours_are_refined_as_positions_are() -> None:
    """The background's colours go through the same bilinear phases: a ramp stays a ramp, also where blocks meet."""
    ramp = torch.arange(10.0).reshape(1, 1, 1, 10) + 0.5 * torch.arange(6.0).reshape(1, 1, 6, 1)
    fine = torch.nn.functional.conv2d(ramp, block_kernel(4, 2), stride=2)
    picture = fields.from_blocks(fine.permute(0, 2, 3, 1).reshape(1, 1, 2, -1), 4)[0, :, :, 0]
    np.testing.assert_allclose(picture[0].numpy(), np.arange(0.75, 8.75, 0.5) + 0.375, atol=1e-6)
    np.testing.assert_allclose(picture[:, 0].numpy(), np.arange(0.375, 2.375, 0.25) + 0.75, atol=1e-6)
