"""Training of the refiner: its examples, its loss and its course, on made-up pictures."""

from __future__ import annotations

import itertools
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[export]'")
cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed: pip install -e '.[server]'")

from facestream.parameters import INDEX, PARAMETERS  # noqa: E402
from torch import Tensor  # noqa: E402

from export.face.refine import __main__ as refine_command  # noqa: E402
from export.face.refine import evaluate, train  # noqa: E402
from export.face.refine import rough_canvas as rough_canvas_module  # noqa: E402
from export.face.refine.augmentation import (  # noqa: E402
    Batch,
    augmented,
    jpeg,
    mirrored,
    mirrored_parameters,
    moved_source,
    on_photo,
    toned,
)
from export.face.refine.canvas_sources import ROOT, canvas_sources  # noqa: E402
from export.face.refine.evaluate import BEFORE, similarity, steepness  # noqa: E402
from export.face.refine.loss import refiner_loss, with_own_detail  # noqa: E402
from export.face.refine.rough_canvas import PersonError, RoughCanvas, people, rough_canvas  # noqa: E402
from export.face.refine.train import Folk, batches, fit, refined  # noqa: E402
from export.face.refiner import Refiner  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Threads that wait for each other on a busy machine take minutes."""
    torch.set_num_threads(1)


def made_up(seed: int = 0) -> Batch:
    """A face-like example whose truth is what the canvas shows already."""
    generator = torch.Generator().manual_seed(seed)
    soft = torch.nn.functional.interpolate(
        torch.rand(1, 3, 22, 18, generator=generator), scale_factor=16, mode="bilinear"
    )
    source = 40.0 + 170.0 * soft
    flow = 6.0 * torch.nn.functional.interpolate(
        torch.rand(1, 2, 8, 6, generator=generator) - 0.5, scale_factor=32, mode="bilinear"
    )
    cover = torch.zeros(1, 1, 256, 192)
    cover[:, :, 120:150, 70:120] = 0.8
    texture = torch.cat([cover * torch.tensor([90.0, 60.0, 50.0]).reshape(1, 3, 1, 1), cover], 1)
    parameters = torch.zeros(1, len(PARAMETERS))
    parameters[0, INDEX["jawOpen"]] = 0.4
    truth = moved_source(source, flow) * (1.0 - cover) + texture[:, :3]
    return Batch(parameters, flow, texture, source, torch.full((1, 80), 0.5), truth)


def shown(given: Batch) -> Tensor:
    """What the canvas shows before any network."""
    return moved_source(given.source, given.flow) * (1.0 - given.texture[:, 3:]) + given.texture[:, :3]


def test_mirror_swaps_sides_and_comes_back() -> None:
    """A wrong swap would teach the right half of every face with the left one's motion."""
    index, factor = mirrored_parameters()
    values = torch.arange(len(PARAMETERS), dtype=torch.float32)
    assert torch.equal((values[index] * factor)[index] * factor, values)
    other = values[index] * factor
    assert other[INDEX["eyeBlinkLeft"]] == INDEX["eyeBlinkRight"]
    assert other[INDEX["jawLeft"]] == INDEX["jawRight"]
    assert other[INDEX["gazeYawLeft"]] == -INDEX["gazeYawRight"]
    assert other[INDEX["gazePitchLeft"]] == INDEX["gazePitchRight"]
    assert other[INDEX["jawOpen"]] == INDEX["jawOpen"]
    given = mirrored(made_up())
    assert (shown(given) - given.truth).abs().max() < 0.05


def test_other_light_changes_picture_and_truth_alike() -> None:
    """Else the network would learn to change the colours of a photo."""
    given = made_up()
    for seed in range(5):
        other = toned(given, np.random.default_rng(seed))
        painted = (given.texture != 0.0).any(1, keepdim=True)
        difference = (shown(other) - other.truth).abs()
        assert (difference * painted).max() < 0.6
        assert difference.mean() < 0.6  # sampling and tone curves do not commute exactly
        assert (other.truth - given.truth).abs().mean() > 0.5


def test_flaws_of_the_photo_belong_to_the_truth() -> None:
    """Noise and compression are the photo's own: a network that removed them would change who is seen."""
    given = made_up()
    noisy = on_photo(given, given.source + 4.0 * torch.randn(given.source.shape))
    assert (shown(noisy) - noisy.truth).abs().mean() < 0.1
    assert 0.0 < (jpeg(given.source, 60) - given.source).abs().mean() < 12.0
    many = [augmented(given, np.random.default_rng(seed)) for seed in range(12)]
    assert all(torch.isfinite(tensor).all() for other in many for tensor in other)
    assert all(tuple(other.truth.shape) == (1, 3, 256, 192) for other in many)


def test_loss_prefers_the_truth_and_punishes_new_errors() -> None:
    """What was right must stay right: an error that was not there before costs more than one that was."""
    truth = 255.0 * torch.rand(1, 3, 256, 192)
    wrong = truth + 20.0 * torch.randn(truth.shape)
    assert refiner_loss(truth, truth, truth) < refiner_loss(wrong, wrong, truth)
    assert refiner_loss(wrong, truth, truth) > 1.5 * refiner_loss(wrong, wrong, truth)


def test_skin_keeps_its_detail() -> None:
    """Truth's denoised skin would teach the network to wipe off pores and stubble."""
    before = 255.0 * torch.rand(1, 3, 256, 192)
    truth = torch.full_like(before, 100.0)
    paint = torch.zeros(1, 1, 256, 192)
    paint[:, :, 128:] = 1.0
    wanted = with_own_detail(before, truth, paint)
    assert torch.equal(wanted[:, :, 128:], truth[:, :, 128:])
    assert steepness(wanted[0, :, :128]) > 0.8 * steepness(before[0, :, :128])
    assert torch.nn.functional.avg_pool2d(wanted - truth, 32).abs().max() < 12.0  # its light is still the truth's


def test_network_learns_what_geometry_does_not_know(tmp_path: Path) -> None:
    """A course that does not lower the error, or cannot go on where it stopped, is of no use to anybody."""
    given = made_up()
    dark = given.truth.clone()
    dark[:, :, 140:210, 40:150] *= 0.7  # the truth: a shadow under the mouth
    given = given._replace(truth=dark)

    torch.manual_seed(0)
    checkpoint = tmp_path / "refiner.pt"
    fit(Refiner("fast"), lambda step: itertools.repeat(given), checkpoint, steps=12, save_every=6)
    network = fit(Refiner("fast"), lambda step: itertools.repeat(given), checkpoint, steps=36, save_every=12)
    with torch.no_grad():
        _, after, before = refined(network, given)
    assert ((after - dark) ** 2).mean() < 0.95 * ((before - dark) ** 2).mean()  # still warming up


def someone(name: str, pictures: int, seed: int) -> RoughCanvas:
    """A made-up person whose pictures can be told apart."""
    one, half = made_up(seed), torch.float16
    photo = torch.full((3, 512, 512), 20 * seed, dtype=torch.uint8)
    flow, texture = (part.to(half).expand(pictures, -1, -1, -1) for part in (one.flow, one.texture))
    parameters = one.parameters.repeat(pictures, 1)
    parameters[:, INDEX["jawOpen"]] = 0.1 * seed + 0.01 * torch.arange(pictures)
    truth = one.truth.byte().expand(pictures, -1, -1, -1)
    return RoughCanvas(name, photo, one.constants[0], parameters, flow, texture, truth, ("",) * pictures)


class Known(Folk):
    """People who need no folder."""

    def __init__(self, *known: RoughCanvas) -> None:
        self._found = {person.name: person for person in known}

    def refresh(self) -> None:
        """Nobody comes."""


def test_every_picture_has_its_turn_whatever_step_a_course_goes_on_from() -> None:
    """Begun again, it saw its first examples once more, varied as before, and the later ones had fewer turns."""
    folk, jaw = Known(someone("a", 3, 1), someone("b", 2, 2)), INDEX["jawOpen"]
    drawn = list(itertools.islice(batches(folk, 2, 7), 6))
    turns = torch.cat([batch.parameters[:, jaw] for batch in drawn]).tolist()
    assert len(set(turns[:5])) == len(set(turns[5:10])) == 5
    assert turns[:5] != turns[5:10]
    for batch, again in zip(drawn[3:], batches(folk, 2, 7, 3), strict=False):
        assert all(map(torch.equal, batch, again))
    assert not torch.equal(next(batches(folk, 2, 8)).source, drawn[0].source)


def test_a_course_that_was_killed_comes_to_the_same_end(tmp_path: Path) -> None:
    """Who trains for hours is told that seed, steps and people make the course, broken off or not."""
    folk = Known(someone("a", 3, 1), someone("b", 2, 2))

    def course(checkpoint: Path, killed_at: int | None = None) -> Refiner:
        def draws(step: int) -> Iterator[Batch]:
            left = None if killed_at is None else killed_at - step
            yield from itertools.islice(batches(folk, 1, 7, step), left)
            raise KeyboardInterrupt

        torch.manual_seed(0)
        return fit(Refiner("fast"), draws, checkpoint, steps=5, seed=7, save_every=2)

    whole = course(tmp_path / "whole.pt").state_dict()
    with pytest.raises(KeyboardInterrupt):
        course(tmp_path / "broken.pt", killed_at=3)
    assert torch.load(tmp_path / "broken.pt")["step"] == 2
    broken = course(tmp_path / "broken.pt").state_dict()
    for name, value in whole.items():
        assert torch.allclose(value, broken[name], atol=1e-6), name


def test_a_checkpoint_that_cannot_be_gone_on_from_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ended in a list of all layers, or of what a pickle lacks, and no file's name."""
    path = tmp_path / "refiner.pt"

    def train_on(tier: str) -> None:
        fit(Refiner(tier), lambda step: itertools.repeat(made_up()), path, steps=1)

    for data in (b"", b"no checkpoint", pickle.dumps([1], protocol=2)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"refiner\.pt: is no "):
            train_on("fast")
    path.unlink()
    train_on("fast")
    whole = path.read_bytes()
    capsys.readouterr()
    train_on("fast")
    assert f"{path}: has done its 1 steps, 1 are asked for: remove it" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"refiner\.pt: is not of today's high network"):
        train_on("high")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"refiner\.pt: is no readable checkpoint"):
        train_on("fast")


def test_commands_refuse_before_they_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A course of -1 steps kept an untrained network in place of the shipped one; a misspelt name left nobody out."""
    where = ["--people", str(tmp_path)]
    (tmp_path / "train" / "person_01056").mkdir(parents=True)
    monkeypatch.setattr(train, "train", lambda *_, **__: pytest.fail("it trains"))
    for command, arguments, complaint in (
        (train.main, ["--steps", "-1"], "--steps is -1, expected at least 1"),
        (train.main, ["--batch", "0"], "--batch is 0, expected at least 1"),
        (train.main, ["--rate", "nan"], "--rate is nan, expected more than 0"),
        (train.main, ["--without", "person_01056", "01058"], "--without 01058: "),
        (refine_command.main, ["--steps", "0"], "--steps is 0, expected at least 1"),
        (refine_command.main, [], "heldout holds nobody to judge by"),
        (evaluate.main, ["--set", "train"], "train holds nobody; make them"),
        (evaluate.main, ["--set", "train", "--only", "01058"], "train holds no 01058; make them"),
    ):
        with pytest.raises(SystemExit):
            command([*where, *arguments])
        assert complaint in capsys.readouterr().err


def test_the_judge_has_every_tier_better_the_answer_of_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--tiers standard` judged it on what it never sees; named before `fast`, its row `geometry` was fast's answer."""
    folk = [someone("heldout/a", 1, 1)]
    monkeypatch.setattr(evaluate, "Folk", lambda *_: Known(*folk))
    chosen: list[list[str]] = []

    def judge(_: Any, tiers: dict[str, Refiner]) -> list[dict[str, Any]]:
        chosen.append(list(tiers))
        return []

    monkeypatch.setattr(evaluate, "judge", judge)
    for tiers in (["standard"], ["high", "fast"], ["fast"]):
        assert evaluate.main(["--tiers", *tiers, "--out", str(tmp_path / "x.json")]) == 0
    assert chosen == [["fast", "standard"], ["fast", "high"], ["fast"]]
    assert json.loads((tmp_path / "x.json").read_text())["people"] == ["heldout/a"]
    given = made_up()
    shown_by = evaluate.shown_by({"fast": Refiner("fast").eval(), "standard": Refiner("standard").eval()}, given)
    assert list(shown_by) == [BEFORE, "fast", "standard"]


def test_similarity_is_one_for_the_same_picture() -> None:
    """The judge's figure must mean what its name says."""
    picture = 255.0 * torch.rand(3, 64, 64)
    assert similarity(picture, picture) == pytest.approx(1.0)
    assert similarity(picture, 255.0 * torch.rand(3, 64, 64)) < 0.3


def test_incomplete_people_are_named(tmp_path: Path) -> None:
    """Rendering takes hours: a folder that is not ready must be said, not crash the course."""
    assert list(people("train", tmp_path)) == []
    folder = tmp_path / "train" / "someone"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "photo.png"), np.zeros((512, 512, 3), np.uint8))
    assert list(people("train", tmp_path)) == []
    np.save(folder / "parameters.npy", np.zeros((2, 7), np.float32))
    assert [path.name for path in people("train", tmp_path)] == ["someone"]
    with pytest.raises(PersonError, match=r"parameters\.npy is \(2, 7\)"):
        rough_canvas(folder, tmp_path / "rough")
    (folder / "parameters.npy").write_bytes(b"")
    with pytest.raises(PersonError, match=r"parameters\.npy cannot be read"):
        rough_canvas(folder, tmp_path / "rough")
    np.save(folder / "parameters.npy", np.zeros((2, len(PARAMETERS)), np.float32))
    with pytest.raises(PersonError, match="no frame_0000"):
        rough_canvas(folder, tmp_path / "rough")
    cv2.imwrite(str(folder / "frame_0000.png"), np.zeros((280, 216, 3), np.uint8))
    with pytest.raises(PersonError, match="no face"):
        rough_canvas(folder, tmp_path / "rough")


def test_the_canvas_is_drawn_anew_after_any_change_of_what_it_is_made_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refiner would learn on the canvases of a mask of hair that nobody makes any more."""
    source, drawn = tmp_path / "source.py", 0

    def draw(avatar: object, parameters: object) -> dict[str, object]:
        nonlocal drawn
        drawn += 1
        return {"flow": np.zeros(drawn)}

    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((512, 512, 3), np.uint8))
    monkeypatch.setattr(rough_canvas_module, "canvas_sources", lambda: [source])
    monkeypatch.setattr(rough_canvas_module, "make_avatar", lambda photo: {})
    monkeypatch.setattr(rough_canvas_module, "draw", draw)
    for text, times in (("1", 1), ("1", 1), ("2", 2), ("3", 3), ("3", 4)):
        if drawn == 3:
            (tmp_path / "kept.npz").write_bytes(b"")  # as a machine that lost its power leaves a file
        source.write_text(text)
        rough_canvas_module._sources.cache_clear()
        made = rough_canvas_module._drawn(tmp_path, np.zeros((1, len(PARAMETERS)), np.float32), tmp_path / "kept.npz")
        assert len(made["flow"]) == drawn == times
    rough_canvas_module._sources.cache_clear()


def test_what_the_canvas_is_made_by_is_found() -> None:
    """A file that is missed changes the canvas, and nobody draws it anew."""
    root = Path(__file__).parents[2]
    found = {str(path.relative_to(root)) for path in canvas_sources()}
    face = ("face_geometry", "renderer", "eyes_window", "mouth_window", "mouth_interior", "canvas_layers", "fields")
    avatar = ("fit", "layers", "layers_eyes", "lid_travel", "lip_closing", "hair", "matte", "photo", "picture_header")
    assert {f"export/face/{name}.py" for name in face} <= found
    assert {f"client/facestream/avatar/{name}.py" for name in avatar} <= found
    assert {"client/facestream/parameters.py", "client/facestream/contract.py"} <= found
    assert {"export/face/refine/rough_canvas.py", "export/face/mouth_interior.png"} <= found
    assert {"client/facestream/avatar/face_model.npz"} <= found
    networks = ("face_detection_short_range", "face_landmark_with_attention", "selfie_segmentation")
    assert {f"client/facestream/avatar/mediapipe/{name}.tflite" for name in networks} <= found
    # What was imported to draw is among them, but for the networks that better what was drawn.
    command = f"import sys, {ROOT}; print(*(getattr(m, '__file__', '') or '' for m in list(sys.modules.values())))"
    loaded = subprocess.run([sys.executable, "-c", command], cwd=root, capture_output=True, text=True, check=True)
    own = {Path(path) for path in loaded.stdout.split() if Path(path).is_relative_to(root)}
    sources = {str(path.relative_to(root)) for path in own if ".venv" not in path.parts}
    assert sources - found <= {"export/face/refiner.py", "export/face/refine/__init__.py"}
