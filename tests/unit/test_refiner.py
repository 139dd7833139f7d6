"""The learned network of the renderer: what holds by construction, whatever it has learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[export]'")

from facestream.avatar.bundle import load_bundle  # noqa: E402
from facestream.avatar.layers_canvas import ADAPTER_SIZE  # noqa: E402
from facestream.avatar.preview import parameter_vector  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from export.ensembles import REPOSITORY  # noqa: E402
from export.face.refiner import TIERS, Refiner, make_refiner, save_weights  # noqa: E402

AVATAR = REPOSITORY / "avatar_store" / "avatars" / "ada.avatar"
SPEAKING = {"jawOpen": 0.4, "mouthFunnel": 0.2, "eyeBlinkLeft": 0.6, "eyeBlinkRight": 0.6, "gazeYawLeft": 0.2}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Threads that wait for each other on a busy machine take minutes."""
    torch.set_num_threads(1)


def trained(tier: str, seed: int = 0) -> Refiner:
    """A network whose every layer says something."""
    torch.manual_seed(seed)
    network = Refiner(tier).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network


def inputs(batch: int = 1, seed: int = 0) -> list[Tensor]:
    """A made-up canvas in motion: the arguments of Refiner.forward."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        made: Tensor = torch.rand(batch, *shape, generator=generator)
        return made

    def soft(*shape: int) -> Tensor:
        return nn.functional.interpolate(noise(*shape), scale_factor=16, mode="bilinear")

    texture = torch.cat([40.0 * soft(3, 16, 12), soft(1, 16, 12)], 1)
    texture[:, :, :100] = 0.0
    photo = (255.0 * soft(3, 32, 32)).to(torch.uint8)
    flow = 12.0 * (soft(2, 16, 12) - 0.5)
    return [noise(73), flow, texture, photo, noise(80), torch.zeros(batch, ADAPTER_SIZE)]


@pytest.mark.parametrize("tier", TIERS)
def test_untrained_network_changes_nothing(tier: str) -> None:
    """Whoever exports before training must get the picture of geometry, not noise."""
    given = inputs()
    with torch.no_grad():
        assert (Refiner(tier).eval()(*given) - given[2]).abs().max() < 0.01  # levels


@pytest.mark.parametrize("tier", TIERS)
def test_at_rest_the_texture_is_exactly_zero(tier: str) -> None:
    """A listener's avatar is its photo, bit for bit, whatever the network has learned and whoever's it is."""
    given = inputs()
    given[1], given[2] = torch.zeros_like(given[1]), torch.zeros_like(given[2])
    given[5] = torch.ones_like(given[5])
    with torch.no_grad():
        assert not trained(tier)(*given).any()


@pytest.mark.parametrize("tier", TIERS)
def test_correction_vanishes_along_the_border(tier: str) -> None:
    """Else a rectangle shows about the eyes and the mouth of everybody who speaks."""
    given = inputs()
    with torch.no_grad():
        added = (trained(tier)(*given) - given[2]).abs().amax(1)[0]
    edge = torch.cat([added[:2].flatten(), added[-2:].flatten(), added[:, :2].flatten(), added[:, -2:].flatten()])
    assert added.max() > 1.0
    assert not edge.any()
    for line in (added[2:6].max(), added[-6:-2].max(), added[:, 2:6].max(), added[:, -6:-2].max()):
        assert line < 0.35 * added.max()


@pytest.mark.parametrize("tier", TIERS)
def test_far_from_any_motion_nothing_is_corrected(tier: str) -> None:
    """A mouth that speaks must not make the eyes flicker."""
    given = inputs()
    given[1][:, :, :110] = 0.0  # a calm upper face
    given[2][:, :, :110] = 0.0
    with torch.no_grad():
        added = trained(tier)(*given) - given[2]
    assert not added[:, :, :64].any()
    assert added[:, :, 128:].abs().max() > 1.0


def test_faces_of_a_batch_do_not_meet() -> None:
    """Two sessions that are served together must each get their own face."""
    network, given = trained("fast"), inputs(2)
    with torch.no_grad():
        together = network(*given)
        for index in (0, 1):
            alone = network(*(tensor[index : index + 1] for tensor in given))
            assert (together[index] - alone[0]).abs().max() < 1e-3


def test_adapter_changes_the_answer() -> None:
    """The refinement for one person would be without effect."""
    network, given = trained("fast"), inputs()
    with torch.no_grad():
        general = network(*given)
        given[5] = torch.randn(1, ADAPTER_SIZE)
        assert (network(*given) - general).abs().max() > 0.5


@pytest.mark.parametrize("tier", TIERS)
def test_cost_is_bounded(tier: str) -> None:
    """A wider network would make every session's frames late."""
    operations = 0

    def count(module: nn.Conv2d, _: object, made: Tensor) -> None:
        nonlocal operations
        operations += 2 * module.weight.numel() * made.shape[2] * made.shape[3]

    network = Refiner(tier).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(*inputs())
    assert 0.3 * TIERS[tier].gflop < operations / 1e9 <= TIERS[tier].gflop


def test_weights_come_back_and_foreign_ones_are_refused(tmp_path: Path) -> None:
    """Weights of another size would otherwise draw noise into faces."""
    network = trained("fast")
    path = save_weights(network, tmp_path)
    again = make_refiner("fast", tmp_path)
    given = inputs()
    with torch.no_grad():
        assert (again(*given) - network(*given)).abs().max() < 1.0  # kept in half precision
    path.rename(tmp_path / "refiner_standard.npz")
    with pytest.raises(ValueError, match="train it again"):
        make_refiner("standard", tmp_path)
    empty = make_refiner("high", tmp_path)
    with torch.no_grad():
        assert (empty(*given) - given[2]).abs().max() < 0.01


@pytest.mark.parametrize("tier", TIERS)
def test_exported_network_says_the_same(tier: str, tmp_path: Path) -> None:
    """The server draws with the exported network, not with the one that was judged."""
    onnxruntime = pytest.importorskip("onnxruntime")
    names = ["PARAMETERS", "CANVAS_FLOW", "CANVAS_TEXTURE", "AVATAR_PHOTO", "AVATAR_CONSTANTS", "AVATAR_ADAPTER"]
    network, given = trained(tier), inputs(2)
    path = tmp_path / "refiner.onnx"
    torch.onnx.export(
        network,
        tuple(given),
        str(path),
        input_names=names,
        output_names=["REFINED_TEXTURE"],
        dynamic_axes={name: {0: "batch"} for name in [*names, "REFINED_TEXTURE"]},
        opset_version=18,
        dynamo=False,
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    one = inputs(1, seed=3)
    (made,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, one, strict=True)})
    with torch.no_grad():
        assert np.abs(made - network(*one).numpy()).max() < 0.05


@pytest.mark.parametrize("tier", TIERS)
def test_kept_weights_fit_and_leave_rest_alone(tier: str) -> None:
    """A change of the network without a new training would break the export for everybody."""
    network = make_refiner(tier)
    bundle = load_bundle(AVATAR).tensors
    given = inputs()
    given[0] = torch.from_numpy(parameter_vector({}))[None]
    given[1], given[2] = torch.zeros_like(given[1]), torch.zeros_like(given[2])
    given[3] = torch.from_numpy(np.array(bundle["AVATAR_PHOTO"]))[None]
    given[4] = torch.from_numpy(np.array(bundle["AVATAR_CONSTANTS"]))[None]
    with torch.no_grad():
        assert not network(*given).any()
        given[0] = torch.from_numpy(parameter_vector(SPEAKING))[None]
        assert not network(*given).any()  # parameters alone do not open the gate
