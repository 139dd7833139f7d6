"""The judge of the face: a wrong measure here would praise or blame every renderer to come."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.landmark_topology import FACE_OVAL
from facestream.parameters import INDEX, PARAMETERS

from perf.face import report, seams
from perf.face.__main__ import Judge
from perf.face.ablation import Drawn
from perf.face.against_truth import AgainstTruth, correlation
from perf.face.closures import SpokenClosures, closures
from perf.face.people import (
    CANVAS_IN_FRAME,
    COMMAND,
    FRAME_HEIGHT,
    FRAME_WIDTH,
    WINDOW,
    Film,
    NoPeople,
    Person,
    films_of,
    held_back,
    regions_of,
)
from perf.face.picture_measures import EXACT_DB, PictureMeasures, decibels, gmsd, luma, squared_error, ssim_map
from perf.face.response import monotone, ramp
from perf.face.targets import TARGETS, verdicts
from perf.face.temporal_measures import TruthMotion, change_variance, flicker

Image = Any


def texture(seed: int = 0, height: int = 96, width: int = 80) -> Image:
    """Something with detail of all sizes, uint8 [height, width, 3]."""
    draw = np.random.default_rng(seed)
    picture = sum(
        cv2.resize(
            draw.normal(0, 1, (height // size, width // size, 3)), (width, height), interpolation=cv2.INTER_CUBIC
        )
        for size in (2, 4, 8, 16)
    )
    return np.clip(128 + 25 * picture, 0, 255).astype(np.uint8)


ALL = np.ones((96, 80), bool)


# ---- pictures


def test_psnr_is_that_of_the_definition_and_equal_pictures_are_capped() -> None:
    one = texture()
    assert decibels(float(squared_error(one, one).mean())) == EXACT_DB
    assert decibels(25.0) == pytest.approx(20 * np.log10(255 / 5), abs=1e-9)


@pytest.mark.parametrize("measure", [lambda a, b: -ssim_map(a, b).mean(), lambda a, b: gmsd(a, b, ALL)])
def test_more_spoilt_is_judged_worse(measure: Any) -> None:
    """In the order in which anybody would put them."""
    one = texture()
    blurred = [cv2.GaussianBlur(one, (0, 0), sigma) for sigma in (0.6, 1.2, 2.4)]
    found = [measure(picture, one) for picture in (one, *blurred)]
    assert found == sorted(found)
    assert found[0] < found[1] < found[3]


def test_ssim_of_equal_pictures_is_one_and_is_blind_to_no_blur() -> None:
    one = texture()
    assert ssim_map(one, one).mean() == pytest.approx(1.0, abs=1e-9)
    assert gmsd(one, one, ALL) == pytest.approx(0.0, abs=1e-12)
    blurred = np.asarray(cv2.GaussianBlur(one, (0, 0), 2.0), np.uint8)
    assert ssim_map(blurred, one).mean() < 0.8


def test_regions_do_not_leak_into_each_other() -> None:
    left, right = ALL.copy(), ALL.copy()
    left[:, 40:], right[:, :40] = False, False
    measures = PictureMeasures({"left": left, "right": right})
    truth = texture()
    shown = truth.copy()
    shown[:, 60:] = 0
    measures.add(shown, truth)
    figures = measures.figures()
    assert figures["psnr_left"] == EXACT_DB
    assert figures["psnr_right"] < 15
    assert figures["sharpness_left"] == pytest.approx(1.0)


def test_psnr_of_a_film_is_of_the_mean_error_not_the_mean_of_decibels() -> None:
    """One exact frame would otherwise hide a bad one behind a hundred decibels."""
    measures = PictureMeasures({"all": ALL})
    truth = np.full((96, 80, 3), 100, np.uint8)
    measures.add(truth, truth)
    measures.add(truth + np.uint8(10), truth)
    assert measures.figures()["psnr_all"] == pytest.approx(decibels(50.0))


# ---- time


def rolling(frames: int, pixels: float, seed: int = 0) -> list[Image]:
    """A film of a texture that moves to the right."""
    wide = texture(seed, 96, 160)
    shift = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    film = []
    for number in range(frames):
        shift[0, 2] = number * pixels - 40
        film.append(cv2.warpAffine(wide, shift, (80, 96), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
    return film


def test_the_truth_moves_like_itself_and_others_do_not() -> None:
    truth = rolling(4, 1.0)
    motion = TruthMotion(truth)
    still = [truth[0]] * 4
    assert motion.flow_distance(truth) == 0.0
    assert motion.flow_distance(still) == pytest.approx(1.0, abs=0.25)
    noisy = [np.clip(frame + np.random.default_rng(n).normal(0, 8, frame.shape), 0, 255).astype(np.uint8)
             for n, frame in enumerate(truth)]  # fmt: skip
    assert motion.warping_error(truth) < 0.5 * motion.warping_error(noisy)


def test_flicker_is_none_where_all_follows_the_motion_and_grows_with_noise() -> None:
    truth = rolling(5, 1.0)
    flows = [np.zeros((2, 96, 80), np.float32) for _ in truth]
    for number, flow in enumerate(flows):
        flow[0] = -float(number)
    inner = ALL.copy()
    inner[:, :12], inner[:, -12:] = False, False
    calm = flicker(truth, flows, inner)
    assert calm < 0.7  # levels: rounding of bytes
    sizes = []
    for size in (2.0, 4.0):
        noisy = [np.clip(frame + np.random.default_rng(n).normal(0, size, frame.shape), 0, 255).astype(np.uint8)
                 for n, frame in enumerate(truth)]  # fmt: skip
        sizes.append(flicker(noisy, flows, inner))
    assert calm < sizes[0] < 0.7 * sizes[1]


def test_steady_change_has_no_variance() -> None:
    ramped = [np.full((8, 8, 3), 10 * number, np.uint8) for number in range(5)]
    assert change_variance(ramped) == pytest.approx(0.0)
    assert change_variance([ramped[0], ramped[0], ramped[4], ramped[4]]) > 100


# ---- seams


@pytest.fixture(scope="module")
def skin() -> Image:
    """A picture with shading, grain, and a dark edge that runs near the border."""
    down, across = np.mgrid[0:512, 0:512]
    picture = 150 + 40 * np.sin(down / 90) + 30 * np.cos(across / 70)
    picture = picture[..., None] + np.random.default_rng(2).normal(0, 2, (512, 512, 3))
    picture[:, 140:144] = 30  # a strand of hair, 16 px outside of the canvas
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_a_face_at_rest_has_no_seam(skin: Image) -> None:
    assert seams.jump(skin, skin) == 0.0


@pytest.mark.parametrize("side", ["right", "bottom"])
def test_a_step_of_eight_levels_along_the_border_is_found(skin: Image, side: str) -> None:
    seamed = skin.astype(np.int16)
    bottom, right = canvas.CANVAS_Y + canvas.CANVAS_HEIGHT, canvas.CANVAS_X + canvas.CANVAS_WIDTH
    half = slice(canvas.CANVAS_Y + 100, bottom), slice(canvas.CANVAS_X + 60, right)
    if side == "right":
        half = slice(canvas.CANVAS_Y + 40, canvas.CANVAS_Y + 120), half[1]
    seamed[half] += 8
    assert seams.jump(np.clip(seamed, 0, 255).astype(np.uint8), skin) > 2.5, side


def test_an_edge_of_the_portrait_that_moves_onto_the_border_is_no_seam(skin: Image) -> None:
    moved = skin.copy()
    moved[:, 140:144] = skin[:, 150:154]
    moved[:, 158:162] = 30
    assert seams.jump(moved, skin) < 2.0


def test_an_edge_that_motion_makes_steeper_is_no_seam_but_a_step_beside_it_is(skin: Image) -> None:
    """A cheek that is pushed against dark hair, with a canvas or without."""
    bare = skin.copy()
    bare[:, 150:158] = 8
    seamed = bare.astype(np.int16)
    seamed[canvas.CANVAS_Y + 100 : canvas.CANVAS_Y + canvas.CANVAS_HEIGHT, 200 : canvas.CANVAS_X + 192] += 8
    assert seams.jump(bare, skin) > 2.0
    assert seams.jump(bare, skin, bare) == 0.0
    assert seams.jump(np.clip(seamed, 0, 255).astype(np.uint8), skin, bare) > 2.5


def test_sheets_show_every_look_twice_as_large() -> None:
    shown = [seams.Look(f"{n}", float(n), np.full((512, 512, 3), 10 * n, np.uint8)) for n in range(5)]
    left, top, width, height = seams.CROPS["lips"]
    assert seams.sheet("lips", shown, columns=3).shape == (2 * 2 * height, 3 * 2 * width, 3)
    assert (left, top) == (canvas.CANVAS_X + 32, canvas.MOUTH_Y + 28)


# ---- parameters


def test_monotone_forgives_trembling_and_nothing_more() -> None:
    assert monotone(np.array([0.0, 0.1, 0.098, 0.2]), 0.004)
    assert not monotone(np.array([0.0, 0.1, 0.09, 0.2]), 0.004)
    # Slow decay, each step within the tolerance, is seen against the highest so far.
    assert not monotone(np.array([0.2, 0.197, 0.194, 0.191]), 0.004)


def test_ramps_move_what_they_name() -> None:
    found = ramp(["jawOpen"], 0.8, 5)
    assert found[:, INDEX["jawOpen"]].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert np.count_nonzero(found) == 4


def test_what_does_not_vary_has_no_correlation() -> None:
    assert np.isnan(correlation(np.zeros(5), np.arange(5.0)))
    assert correlation(np.arange(5.0), np.arange(5.0)) == pytest.approx(1.0)


# ---- held-back people


def rendered(folder: Path, frames: int, numbers: list[int] | None = None) -> Path:
    folder.mkdir(parents=True)
    np.save(folder / "parameters.npy", np.zeros((frames, len(PARAMETERS)), np.float32))
    for number in range(frames) if numbers is None else numbers:
        part = np.full((FRAME_HEIGHT, FRAME_WIDTH, 3), (1, 2, number), np.uint8)
        cv2.imwrite(str(folder / f"frame_{number:04d}.png"), part)
    return folder


def test_stills_may_be_missing_but_a_film_ends_where_rendering_stopped(tmp_path: Path) -> None:
    """Frames with a hole between them would be judged as a jerk of the face."""
    rendered(tmp_path / "p", 4, [0, 2])
    rendered(tmp_path / "p" / "sentence", 5, [0, 1, 3])
    stills, film = sorted(films_of(tmp_path / "p"), key=lambda one: one.name)
    assert (stills.name, len(stills.frames), film.name, len(film.frames)) == ("", 2, "sentence", 2)
    assert stills.frames[1][0, 0].tolist() == [2, 2, 1]  # RGB, and of the right parameters


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: np.save(path / "parameters.npy", np.zeros((2, 5))), r"parameters.npy has the shape \(2, 5\)"),
        (lambda path: cv2.imwrite(str(path / "frame_0000.png"), np.zeros((9, 8, 3), np.uint8)), "is 8 x 9 px"),
        (lambda path: (path / "frame_0000.png").write_bytes(b"no picture"), "no picture"),
    ],
)
def test_a_broken_person_is_named(tmp_path: Path, spoil: Any, words: str) -> None:
    path = rendered(tmp_path / "p", 1)
    spoil(path)
    with pytest.raises(ValueError, match=words):
        list(films_of(path))


@pytest.mark.parametrize("made", [False, True])
def test_nobody_held_back_names_the_command(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "unfinished").mkdir()
    with pytest.raises(NoPeople, match=COMMAND):
        list(held_back(tmp_path if made else tmp_path / "nothing"))


def test_windows_of_frame_and_canvas_fit() -> None:
    picture = np.zeros((512, 512))
    picture[canvas.CANVAS_Y : canvas.CANVAS_Y + 256, canvas.CANVAS_X : canvas.CANVAS_X + 192] = 1
    assert (picture[WINDOW][CANVAS_IN_FRAME] == 1).all()
    assert picture[WINDOW].sum() == picture.sum()


# ---- the table


class Painter:
    """Draws every frame as the truth of `film`, with `off` levels too much in a row."""

    def __init__(self, off: dict[str, float]) -> None:
        self._off = off
        self.film: list[Image] = []

    def draw(self, avatar: Any, parameters: Any, rows: list[str]) -> Iterator[dict[str, Drawn]]:
        flow = np.zeros((2, canvas.CANVAS_HEIGHT, canvas.CANVAS_WIDTH), np.float32)
        for truth in self.film:
            whole = np.zeros((512, 512, 3), np.uint8)
            found = {}
            for row in rows:
                whole[WINDOW] = truth + np.uint8(self._off[row])
                found[row] = Drawn(whole.copy(), flow, flow)
            yield found


def somebody(name: str, film: list[Image]) -> Person:
    parameters = np.zeros((len(film), len(PARAMETERS)), np.float32)
    landmarks = np.zeros((478, 3))
    landmarks[list(FACE_OVAL), :2] = 256 + 100 * np.array(
        [(np.sin(angle), -np.cos(angle)) for angle in np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)]
    )
    photo = np.zeros((512, 512, 3), np.uint8)
    return Person(name, {}, photo, (Film("sentence", parameters, film),), regions_of(landmarks))


def test_people_count_alike_and_their_errors_are_averaged_before_decibels() -> None:
    """A person of many frames, or one drawn without any error, would decide the gain of a network by himself."""
    picture = texture(3, FRAME_HEIGHT, FRAME_WIDTH) // 2
    painter = Painter({"geometry": 10.0, "fast": 0.0})
    judged = AgainstTruth(painter, ["geometry", "fast"])  # type: ignore[arg-type]
    for name, frames, off in (("one", 12, 10.0), ("other", 6, 20.0)):
        painter._off["geometry"], painter.film = off, [picture] * frames
        judged.add(somebody(name, painter.film), read_back=False)
    table = {row["row"]: row for row in judged.table()}
    assert list(table) == ["still", "geometry", "fast", "truth"]
    for region in ("mouth", "eyes", "face"):
        assert table["geometry"][f"psnr_{region}"] == pytest.approx(decibels((100.0 + 400.0) / 2))
        assert table["fast"][f"psnr_{region}"] == EXACT_DB
    assert [row["mouth_geometry"] for row in judged.by_person()] == pytest.approx([decibels(100.0), decibels(400.0)])
    assert judged.made_worse("fast", "geometry") == {"share": 0.0, "greatest_loss_db": 0.0, "frames": 18.0}
    assert judged.made_worse("geometry", "fast")["share"] == 1.0
    assert judged.made_worse("geometry", "fast")["greatest_loss_db"] == pytest.approx(EXACT_DB - decibels(400.0))
    assert table["truth"]["flicker"] == table["geometry"]["flicker_off_truth"] == 0.0


def test_the_networks_flicker_is_told_by_itself_beside_a_mouth_that_moves() -> None:
    """Told by what it adds to the flicker of the speech, the stabiliser took away more of it than it does."""
    rows = ["geometry", "steadied", "network", "fast"]
    flow = np.zeros((2, canvas.CANVAS_HEIGHT, canvas.CANVAS_WIDTH), np.float32)
    drawn = []
    for number in range(6):
        mouth = np.zeros((4, canvas.CANVAS_HEIGHT, canvas.CANVAS_WIDTH), np.float32)
        mouth[:3, :, 96:] = 100.0 * (number % 3)  # half of it is never still
        drawn.append({row: Drawn(np.zeros((512, 512, 3), np.uint8), mouth.copy(), flow) for row in rows})
        drawn[-1]["network"].texture[:3] += number % 2
        drawn[-1]["fast"].texture[:3] += 0.25 * (number % 2)
    judged = AgainstTruth(Painter({}), rows)  # type: ignore[arg-type]
    person = somebody("one", [texture(3, FRAME_HEIGHT, FRAME_WIDTH)] * 6)
    person.avatar["AVATAR_PHOTO"] = np.zeros((3, 512, 512), np.uint8)
    assert judged.network_flicker() is None
    judged._over_time(person, person.films[0], dict.fromkeys(rows, person.films[0].frames), drawn)
    assert judged.network_flicker() == pytest.approx((2.0, 0.5))


def test_closures_are_those_that_were_asked_for_and_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A p that lasts three frames is closed if one of them is; the worst of them is told in pixels."""
    gaps = [5.0, 0.4, 5.0, 5.0, 2.5, 5.0, 5.0, 0.0]

    class Look:
        unit = 100.0

        def __init__(self, rest: Image) -> None:
            pass

        def __call__(self, frame: Image) -> dict[str, float]:
            return {"teeth": frame[0, 0, 0] / 10.0 / self.unit, "cavity": 0.0}

    class Speaker:
        def draw(self, avatar: Any, parameters: Any, rows: list[str]) -> Iterator[dict[str, Any]]:
            for number, _ in enumerate(parameters):
                yield {"fast": SimpleNamespace(frame=np.full((1, 1, 1), 10 * gaps[number]))}

    monkeypatch.setattr("perf.face.closures.FrameMeasure", Look)
    spoken = object.__new__(SpokenClosures)
    spoken.parameters = [np.zeros((8, len(PARAMETERS)), np.float32), np.zeros((5, len(PARAMETERS)), np.float32)]
    spoken.spans = [[(0, 2), (3, 5), (6, 7)], []]
    found = closures(Speaker(), {}, spoken)  # type: ignore[arg-type]
    assert found == {"asked": 3.0, "closed": pytest.approx(2 / 3), "widest_px": pytest.approx(2.5)}
    spoken.spans = [[], []]
    assert np.isnan(closures(Speaker(), {}, spoken)["closed"])  # type: ignore[arg-type]


# ---- report


def test_what_was_not_measured_is_not_met() -> None:
    found = {entry["name"]: entry for entry in verdicts({"mouth_gain_db": 3.4, "lip_lag_ms": float("nan")})}
    assert len(found) == len(TARGETS)
    assert found["mouth_gain_db"]["met"]
    assert not found["lip_lag_ms"]["met"]
    assert found["lip_lag_ms"]["value"] is None
    assert not found["seam_levels"]["met"]


def test_the_page_says_missed_targets_and_what_was_left_out(tmp_path: Path) -> None:
    result = {
        "machine": {"processor": "a processor", "cores": 2},
        "date": "2026-01-01",
        "targets": verdicts({"mouth_gain_db": 1.25}),
        "left_out": ["tier high: its network corrects nothing yet"],
        "judged_on": "1 held-back person, 3 frames",
        "rows": [{"row": "geometry", "psnr_mouth": 25.0}, {"row": "truth", "flicker": float("nan")}],
        "made_worse": {"share": 0.25, "greatest_loss_db": 0.5, "frames": 4.0},
        "people": [{"person": "p", "mouth_geometry": 25.0, "eyes_geometry": 30.0}],
        "portraits": [{"name": "somebody", "said": ["the mouth is open"]}],
    }
    report.write(tmp_path, result)
    page = (tmp_path / "face.md").read_text()
    assert "| mouth_gain_db | 1.25 | 3 | **missed** |" in page
    assert "tier high: its network corrects nothing yet" in page
    assert "| geometry | 25.00 | - |" in page
    assert "- somebody: the mouth is open" in page
    assert "25% of 4 frames" in page
    assert json.loads((tmp_path / "face.json").read_text())["rows"][1]["flicker"] is None


def test_the_worst_mouth_comes_first_whatever_the_eyes_do() -> None:
    """A sheet shows twelve of them: the worst one was missing where other frames had worse brows."""
    truth = np.full((FRAME_HEIGHT, FRAME_WIDTH, 3), 100, np.uint8)
    mouth, brows = truth.copy(), truth.copy()
    mouth[210, 108] = 160
    brows[:90] = 160
    examples = [("brows", {"fast": brows, "truth": truth}), ("mouth", {"fast": mouth, "truth": truth})]
    assert [caption for caption, _ in report.worst_first(examples, "mouth")] == ["mouth", "brows"]
    assert [caption for caption, _ in report.worst_first(examples, "eyes")] == ["brows", "mouth"]


def test_the_cost_is_that_of_the_judged_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report on another repository told the time of the one beside it."""
    asked: list[list[str]] = []

    def measure(command: list[str], **options: Any) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(stderr="no such stage")

    monkeypatch.setattr("subprocess.run", measure)
    judge = object.__new__(Judge)
    judge.options = argparse.Namespace(repository=tmp_path / "mine", quick=False)
    judge.found = {"left_out": []}
    judge.cost()
    ((*_, option, repository),) = asked
    assert (option, repository) == ("--repository", str(tmp_path / "mine"))
    assert "no such stage" in judge.found["left_out"][0]


def test_luma_of_white_is_white() -> None:
    assert luma(np.full((1, 1, 3), 255, np.uint8))[0, 0] == pytest.approx(255.0)


# ---- drawing


def test_all_rows_show_the_photo_at_rest_and_the_network_can_be_taken_out() -> None:
    pytest.importorskip("onnx", reason="the renderer's network is taken out of its graph with onnx")
    from facestream.avatar.bundle import load_bundle

    from perf.drawn_frames import AVATARS
    from perf.face.ablation import Ablation
    from perf.face.portraits import photo_of

    ablation = Ablation(threads=1)
    avatar = dict(load_bundle(AVATARS / "ada.avatar").tensors)
    rows = ablation.rows()
    assert {"geometry", "fast"} <= set(rows)
    rest = np.zeros(len(PARAMETERS), np.float32)
    speaking = rest.copy()
    speaking[INDEX["jawOpen"]] = 0.4
    first, second = ablation.draw(avatar, [rest, speaking], rows)
    for row in rows:
        np.testing.assert_array_equal(first[row].frame, photo_of(avatar), err_msg=row)
    if ablation.learned["fast"]:
        assert not np.array_equal(second["geometry"].frame, second["network"].frame)
    with pytest.raises(ValueError, match="row is 'best'"):
        ablation.rows(["best"])
