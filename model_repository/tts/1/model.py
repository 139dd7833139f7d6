"""tts: text in, speech out, chunk by chunk while it is being spoken."""

from __future__ import annotations

import contextlib
import json
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from facestream.contract import BAD_INPUT, SESSION_REFUSED
from facestream.errors import BadInput
from facestream.parameters import EMOTIONS, check_emotion
from facestream.triton_tensor import from_triton, to_triton
from facestream.tts.tensors import check_speed, read_text, read_voice
from numpy.typing import NDArray
from speeches import Answer, Speeches
from spoken_text import speak
from synthesizer import EngineMissing
from turns import InTurn, Turns
from voice_list import Voices, engines

MAX_TEXTS = 64
"""Texts spoken at a time. A client needs two at most: the sentence that is heard and the next one. Each has a thread
from its beginning: in eight threads, 60 long texts of one client had another one wait 40 s for a short one."""

AT_A_TIME = 8
"""Pieces of sound made at a time, for which these texts take turns."""

CHUNKS_PER_LOOK = 15
"""A client that has gone is noticed after so many chunks; to ask takes as long as to send one."""


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args: dict[str, str]) -> None:
        """Triton's call when the model is loaded. Loads no engine: one that is missing must not stop the server."""
        config = json.loads(args["model_config"])
        self._voices = Voices(config["parameters"]["DEFAULT_VOICE"]["string_value"], engines())
        self._places = threading.BoundedSemaphore(MAX_TEXTS)
        self._speeches = Speeches()
        self._turns = Turns(AT_A_TIME)
        self._workers = ThreadPoolExecutor(MAX_TEXTS, thread_name_prefix="tts")
        self._closing = threading.Event()
        self._workers.submit(self._warm_up)

    def execute(self, requests: list[Any]) -> None:
        """Triton's call with the requests that wait. Their answers come from the workers."""
        import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only

        for request in requests:
            answer = Answer(request.get_response_sender())
            inputs: dict[str, NDArray[Any]] = {}
            for name in ("TEXT", "VOICE", "SPEED", "EMOTION", "SPEECH_ID", "STOP"):
                tensor = pb_utils.get_input_tensor_by_name(request, name)
                if tensor is not None:
                    inputs[name] = from_triton(tensor)[0].copy()  # its memory goes with the request
            speech_id = int(inputs["SPEECH_ID"][0]) if "SPEECH_ID" in inputs else 0
            if "STOP" in inputs and inputs["STOP"][0]:
                self._stop(answer, speech_id)
            elif self._places.acquire(blocking=False):
                job = self._workers.submit(self._answer, answer, inputs)
                job.add_done_callback(lambda _: self._places.release())
                if speech_id:
                    self._speeches.add(speech_id, answer, job)
            else:
                answer.end(_refusal(f"{SESSION_REFUSED}: {MAX_TEXTS} texts are being spoken; try again later"))

    def finalize(self) -> None:
        """Triton's call when the model is unloaded."""
        self._closing.set()
        self._workers.shutdown()

    def _warm_up(self) -> None:
        """Speaks to nobody, so that the first user does not wait for libraries and dictionaries to load."""
        with contextlib.suppress(Exception):  # who asks for speech is told
            for _ in speak("1.", self._voices.find(""), 1.0, np.zeros(len(EMOTIONS), np.float32)):
                pass

    def _stop(self, answer: Answer, speech_id: int) -> None:
        """Ends a speech, and then the answer to the request that asked for it."""
        if speech_id == 0:
            answer.end(_refusal(f"{BAD_INPUT}: STOP without SPEECH_ID; expected the one that the texts were sent with"))
            return
        self._speeches.stop(speech_id)
        answer.end()

    def _answer(self, answer: Answer, inputs: dict[str, NDArray[Any]]) -> None:
        """One text, in a worker. The sender must hear of its end whatever happens, or Triton never unloads."""
        import triton_python_backend_utils as pb_utils

        try:
            self._speak(answer, inputs)
        except BadInput as error:
            answer.end(_refusal(f"{BAD_INPUT}: {error}"))
        except EngineMissing as error:
            answer.end(_refusal(f"{SESSION_REFUSED}: {error}"))
        except Exception as error:  # a fault with one text must not fail the others
            pb_utils.Logger.log_error(traceback.format_exc())
            answer.end(_refusal(f"fault in stage tts: {error!r}"))
        else:
            answer.end()

    def _speak(self, answer: Answer, inputs: dict[str, NDArray[Any]]) -> None:
        import triton_python_backend_utils as pb_utils

        if "TEXT" not in inputs:  # Triton itself only counts inputs: an optional one that was sent stands for it
            raise BadInput("TEXT is missing; expected UTF-8, filled up with zeros")
        text = read_text(inputs["TEXT"])
        speed = check_speed(float(inputs["SPEED"][0])) if "SPEED" in inputs else 1.0
        emotion = inputs.get("EMOTION", np.zeros(len(EMOTIONS), np.float32))
        try:
            check_emotion(emotion.tolist())
        except ValueError as error:
            raise BadInput(str(error)) from error
        voice = self._voices.find(read_voice(inputs["VOICE"]) if "VOICE" in inputs else "")
        for number, (sound, feeling) in enumerate(speak(text, InTurn(voice, self._turns), speed, emotion)):
            look = number % CHUNKS_PER_LOOK == CHUNKS_PER_LOOK - 1
            if self._closing.is_set() or (look and answer.abandoned()):
                return
            tensors = [to_triton("AUDIO", sound[np.newaxis]), to_triton("EMOTION", feeling[np.newaxis])]
            if not answer.send(pb_utils.InferenceResponse(tensors)):
                return


def _refusal(message: str) -> Any:
    import triton_python_backend_utils as pb_utils

    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
