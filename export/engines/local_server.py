"""The server of this machine on an assembled repository: NVIDIA's in its image, that of pip's wheel elsewhere."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.errors import FacestreamError
from facestream.server import ServerError, TritonServer
from facestream.server.program import ImageProgram, WheelProgram
from facestream.session import Client
from numpy.typing import NDArray
from tritonclient import grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from export.engines.compare import RecordedSession, Tensors
from export.engines.refusal import BUILD, Refusal

START_SECONDS = 1800.0
"""ONNX Runtime's TensorRT provider builds its engines while the server starts."""

FRAME_SECONDS = 60.0
"""The first frame of a session waits for what a GPU compiles at its first use."""


LOG: Final = f"{BUILD} --log - prints the server's log"
"""A file would be gone with the container that builds."""


class LocalServer:
    """A running server, asked for single networks."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = grpc.InferenceServerClient(url)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def infer(self, stage: str, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """See export.engines.compare.Served; raises Refusal when the network fails."""
        inputs = []
        for name, array in tensors.items():
            tensor = grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        try:
            answer = self._client.infer(stage, inputs)
        except InferenceServerException as error:
            size = len(next(iter(tensors.values())))
            raise Refusal(
                f"{stage} fails on a batch of {size}: {error.message()}",
                LOG,
            ) from error
        return {output.name: np.asarray(answer.as_numpy(output.name)) for output in answer.get_response().outputs}

    def pictures(self, session: RecordedSession) -> Iterator[NDArray[np.uint8]]:
        """See export.engines.compare.Served; raises Refusal when the session fails."""
        try:
            with (
                Client(self._url) as client,
                client.session(
                    session.avatar,
                    emotion=session.emotion,
                    quality="fast",
                    correlation_id=session.correlation_id,
                    deadline=FRAME_SECONDS,
                    resume_seconds=0.0,
                ) as stream,
            ):
                for frame in stream.stream(session.sound):
                    assert frame.picture is not None
                    yield frame.picture
        except FacestreamError as error:
            raise Refusal(
                f"a session through all stages fails: {error}",
                LOG,
            ) from error

    def mean_ms(self, stage: str, tensors: Tensors, repeats: int) -> float:
        """See export.engines.compare.Served."""
        size = len(next(iter(tensors.values())))
        before = self._computed(stage, size)
        for _ in range(repeats):
            self.infer(stage, tensors)
        after = self._computed(stage, size)
        return (after[1] - before[1]) / max(after[0] - before[0], 1) / 1e6

    def _computed(self, stage: str, size: int) -> tuple[int, int]:
        """Batches of a size that the server has computed, and the nanoseconds of all of them."""
        for version in self._client.get_inference_statistics(stage).model_stats:
            for batch in version.batch_stats:
                if batch.batch_size == size:
                    return batch.compute_infer.count, batch.compute_infer.ns
        return 0, 0


@contextlib.contextmanager
def serve(repository: Path, stages: Sequence[str], log: Path | None = None) -> Iterator[LocalServer]:
    """The server, with only these models loaded.

    Raises:
        Refusal: it does not start; the text holds what the server said.
    """
    program = ImageProgram() if shutil.which("tritonserver") else WheelProgram()
    server = TritonServer(repository, models=stages, log_file=log, program=program)
    try:
        server.start(START_SECONDS)
    except ServerError as error:
        raise Refusal(
            f"the server does not load what was built: {error}",
            f"{LOG}; out of memory: fewer --max-sessions",
        ) from error
    try:
        with contextlib.closing(LocalServer(server.grpc_url)) as local:
            yield local
    finally:
        server.stop()
