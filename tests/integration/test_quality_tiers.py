"""Tiers of quality on a real server: drawn as asked, changed without a step, refused in words.

The refiners of this server are stand-ins whose answer is known: they light the canvas up by some levels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from facestream import aio
from facestream.avatar.layers_canvas import CANVAS_HEIGHT, CANVAS_WIDTH, CANVAS_X, CANVAS_Y
from facestream.errors import BadInput
from facestream.protocol import Frame
from facestream.quality import Quality, QualityName
from facestream.server import TritonServer
from facestream.session import Client, Session
from onnx import TensorProto, helper
from tritonclient.grpc import InferenceServerClient

from export.ensembles import REPOSITORY, read_config
from tests.integration.wire import Wire, chunks, connect

ROOT = Path(__file__).parents[2]
SPEECH = str(next((ROOT / "tests" / "data").glob("speech.*[vc]")))
AVATAR = min(path.stem for path in (REPOSITORY / "avatar_store" / "avatars").glob("*.avatar"))
LIGHT = {"refiner_standard": 16.0, "refiner_high": 32.0}
"""Levels that the stand-ins add."""
RIGHT = CANVAS_X + CANVAS_WIDTH - 24
FADE_FRAMES, SETTLED_FRAMES = 8, 20

Choose = Callable[[int], QualityName | None]


def stand_in(name: str, file: Path) -> None:
    """A graph with the inputs of a refiner: its texture, lit up."""
    config = read_config(REPOSITORY / name / "config.pbtxt")
    types = {"TYPE_FP32": TensorProto.FLOAT, "TYPE_UINT8": TensorProto.UINT8}
    kind = config.DESCRIPTOR.fields_by_name["input"].message_type.fields_by_name["data_type"].enum_type

    def value(tensor: object) -> onnx.ValueInfoProto:
        dtype = types[kind.values_by_number[tensor.data_type].name]  # type: ignore[attr-defined]
        return helper.make_tensor_value_info(tensor.name, dtype, ["batch", *tensor.dims])  # type: ignore[attr-defined]

    light = np.array([LIGHT[name]] * 3 + [0.0], np.float32).reshape(1, 4, 1, 1)
    graph = helper.make_graph(
        [helper.make_node("Add", ["CANVAS_TEXTURE", "light"], ["REFINED_TEXTURE"])],
        name,
        [value(tensor) for tensor in config.input],
        [value(tensor) for tensor in config.output],
        [onnx.numpy_helper.from_array(light, "light")],
    )
    file.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)


@pytest.fixture(scope="module")
def tiered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server with the tiers fast and standard; the model of the tier high is there, but not loaded."""
    folder = tmp_path_factory.mktemp("tiers")
    repository = folder / "models"
    repository.mkdir()
    for model in REPOSITORY.iterdir():
        if model.name in LIGHT:
            stand_in(model.name, repository / model.name / "1" / "model.onnx")
            (repository / model.name / "config.pbtxt").symlink_to(model / "config.pbtxt")
        else:
            (repository / model.name).symlink_to(model)
    server = TritonServer(repository, models=["avatar", "refiner_standard"], log_file=folder / "server.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def both(tiered: TritonServer) -> Iterator[TritonServer]:
    """The same server with the tier high loaded, too."""
    control = InferenceServerClient(tiered.grpc_url)
    control.load_model("refiner_high")
    yield tiered
    control.unload_model("refiner_high")


def play(session: Session, sounds: np.ndarray, choose: Choose) -> list[Frame]:
    """The frames of a session in which `choose` names the quality from a chunk on, or None: as before."""
    frames: list[Frame] = []
    for number, chunk in enumerate(sounds):
        quality = choose(number)
        if quality is not None:
            session.set_quality(quality)
        session.send(chunk)
        frames += session.frames(wait=False)
    session.finish()
    return [*frames, *session.frames()]


def talk(server: TritonServer, correlation_id: int, choose: Choose, count: int = 60) -> list[Frame]:
    with (
        Client(server.grpc_url) as client,
        client.session(AVATAR, correlation_id=correlation_id, deadline=60.0) as session,
    ):
        return play(session, chunks(SPEECH, 20, count), choose)


def pictures(frames: list[Frame]) -> np.ndarray:
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return np.array([frame.picture for frame in frames])


def middle(pictures: np.ndarray) -> np.ndarray:
    """A part of pictures [n, 512, 512, 3] that shows nothing but the canvas."""
    return pictures[:, CANVAS_Y + CANVAS_HEIGHT // 2 : CANVAS_Y + CANVAS_HEIGHT - 24, CANVAS_X + 24 : RIGHT]


def light(shown: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """How much lighter each picture is than the plain one, levels; only where neither is at white."""
    shown, plain = middle(shown).astype(float), middle(plain).astype(float)
    visible = plain < 200
    return np.array([(a - b)[mask].mean() for a, b, mask in zip(shown, plain, visible, strict=True)])


def always(quality: QualityName) -> Choose:
    return lambda number: quality


@pytest.fixture(scope="module")
def plain(tiered: TritonServer) -> np.ndarray:
    """The pictures of the tier fast."""
    return pictures(talk(tiered, 77, always("fast")))


def test_each_tier_is_drawn_by_its_model_from_the_first_frame_on(both: TritonServer, plain: np.ndarray) -> None:
    for quality, tier, level in (
        ("fast", Quality.FAST, 0.0),
        ("standard", Quality.STANDARD, LIGHT["refiner_standard"]),
        ("high", Quality.HIGH, LIGHT["refiner_high"]),
    ):
        frames = talk(both, 77, always(quality))  # type: ignore[arg-type]
        assert {frame.quality for frame in frames} == {tier}
        assert light(pictures(frames), plain) == pytest.approx(level, abs=0.6)


def test_old_client_without_quality_gets_what_the_server_chooses(tiered: TritonServer, plain: np.ndarray) -> None:
    """Without a GPU that is the tier fast, and bit for bit that of one who asks for it."""

    def without_quality(request: object) -> None:
        del request.inputs[3], request.raw_input_contents[3]  # type: ignore[attr-defined]

    with connect(tiered.grpc_url) as stub:
        wire = Wire(stub, 77, AVATAR)
        sounds = chunks(SPEECH, 20, 12)
        answers = [wire.send(sound, end=i == 11, edit=without_quality) for i, sound in enumerate(sounds)]
    assert {int(answer["QUALITY_USED"][0]) for answer in answers} == {Quality.FAST}
    assert np.array_equal([answer["FRAME"] for answer in answers[2:]], plain[:10])


@pytest.mark.parametrize(
    ("before", "after"), [("fast", "high"), ("high", "fast"), ("standard", "high"), ("fast", "standard")]
)
def test_switch_in_mid_sentence_is_not_seen(
    both: TritonServer, plain: np.ndarray, before: QualityName, after: QualityName
) -> None:
    """The fade is spread evenly: no frame differs from the one before it by more than speech and one small step."""
    levels = {"fast": 0.0, "standard": LIGHT["refiner_standard"], "high": LIGHT["refiner_high"]}
    at = 26
    frames = talk(both, 77, lambda number: after if number >= at else before)
    shown = pictures(frames)
    extra = light(shown, plain)
    first = at - 2  # the chunk completes the frame two before it
    assert extra[:first] == pytest.approx(levels[before], abs=0.6)
    assert extra[first + SETTLED_FRAMES :] == pytest.approx(levels[after], abs=0.6)
    steps = np.abs(np.diff(extra))
    assert steps.max() <= 1.5 * abs(levels[after] - levels[before]) / FADE_FRAMES
    change, speech = (np.abs(np.diff(middle(film).astype(int), axis=0)).mean(axis=(1, 2, 3)) for film in (shown, plain))
    assert (change - speech).max() <= steps.max() + 0.5, "a frame of the switch stands out"
    assert change.max() <= speech.max() + steps.max()
    used = [frame.quality for frame in frames]
    assert [a for a, b in zip(used, [None, *used], strict=False) if a != b] == [
        Quality[before.upper()],
        Quality[after.upper()],
    ]


def test_one_sessions_tier_is_nobody_elses(both: TritonServer, plain: np.ndarray) -> None:
    """Tiers meet in one batch of the stage: no bit of a picture may follow the neighbour's choice."""

    def wander(number: int) -> QualityName:
        return ("fast", "high", "standard")[number // 9 % 3]

    alone = pictures(talk(both, 81, wander))
    with ThreadPoolExecutor(4) as pool:
        films = list(
            pool.map(
                lambda case: pictures(talk(both, *case)),
                [(77, always("fast")), (81, wander), (82, always("standard")), (83, always("high"))],
            )
        )
    assert np.array_equal(films[0], plain)
    assert np.array_equal(films[1], alone)


def test_tier_that_is_not_loaded_is_refused_with_those_that_are(tiered: TritonServer) -> None:
    with Client(tiered.grpc_url) as client:
        for _ in range(3):
            with (
                pytest.raises(BadInput, match=r"QUALITY is 3 \(high\).*it has 1 \(fast\), 2 \(standard\)"),
                client.session(AVATAR, quality="high") as session,
            ):
                list(session.stream(chunks(SPEECH, 20, 4).reshape(-1)))


async def test_tier_that_is_not_loaded_is_refused_to_asyncio_too(tiered: TritonServer) -> None:
    async with aio.Client(tiered.grpc_url) as client, client.session(AVATAR, quality="high") as session:
        with pytest.raises(BadInput, match="QUALITY is 3"):
            [frame async for frame in session.stream(chunks(SPEECH, 20, 4).reshape(-1))]


def test_wrong_wish_in_mid_sentence_costs_a_chunk_and_not_the_session(tiered: TritonServer) -> None:
    with Client(tiered.grpc_url) as client, client.session(AVATAR, quality="standard", max_in_flight=1) as session:
        sounds = chunks(SPEECH, 20, 30)
        indexes, refusals = [], []
        for number, sound in enumerate(sounds):
            session.set_quality("high" if number == 10 else "standard")
            session.send(sound)
            if number == len(sounds) - 1:
                session.finish()
            while True:
                try:
                    indexes += [frame.index for frame in session.frames(wait=number == len(sounds) - 1)]
                    break
                except BadInput as error:
                    refusals.append(str(error))
    assert len(refusals) == 1
    assert "QUALITY is 3 (high)" in refusals[0]
    assert indexes == list(range(len(sounds) - 1))


def test_model_that_goes_away_leaves_its_sessions_with_the_tier_below(tiered: TritonServer, plain: np.ndarray) -> None:
    """An operator unloads a refiner while it is used: the frames go on, and say what they are."""
    control = InferenceServerClient(tiered.grpc_url)

    def unload_at_30(number: int) -> QualityName | None:
        if number == 30:
            control.unload_model("refiner_standard")
            deadline = time.monotonic() + 10.0
            while control.is_model_ready("refiner_standard") and time.monotonic() < deadline:
                time.sleep(0.05)
        return "standard"

    try:
        frames = talk(tiered, 77, unload_at_30)
    finally:
        control.load_model("refiner_standard")
    used = [frame.quality for frame in frames]
    assert set(used[:20]) == {Quality.STANDARD}
    assert set(used[36:]) == {Quality.FAST}
    assert light(pictures(frames), plain)[-8:] == pytest.approx(0.0, abs=0.6)
