"""Piper: neural voices (VITS), one ONNX file each, which the user brings.

A voice is NAME.onnx and beside it NAME.onnx.json, as Piper's training writes them. The network takes the ids of
phonemes, which espeak-ng makes of the text, and gives the sound of all of them at once; so a long sentence is spoken in
two parts, and the first sound is there after the first clause.

VITS: Kim, Kong, Son, "Conditional variational autoencoder with adversarial learning for end-to-end text-to-speech",
ICML 2021. The layout of files and tensors: rhasspy/piper, `piper_train/export_onnx.py` and its voices.
"""

from __future__ import annotations

import json
import os
import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from facestream.tts.sentences import CLOSING, ENDS
from numpy.typing import NDArray
from synthesizer import EngineMissing

MISSING = "Piper voices need ONNX Runtime: pip install -e '.[tts]' in facestream's clone"

MAX_LOADED = 4
"""Voices kept in memory, at 60 to 120 MB each."""

_BEGIN, _END, _PAD = "^", "$", "_"
_PAUSE_S = 0.25  # behind a sentence
_LONG = 60  # characters of a sentence whose first clause is spoken by itself
_SHORT = 12  # characters that a clause needs to stand alone
# What comes is one sentence: a full stop within it is that of "Dr." or "3. Mai", and nobody pauses there.
_CLAUSE = re.compile(rf".+?(?:[!?…,;:]+[{re.escape(CLOSING)}]*(?=\s|$)|[。！？，；：]+|$)", re.DOTALL)
_PLAIN = str.maketrans("…。！？，；：", "..!?,;:")
_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")  # "(en)": espeak-ng says so where a word is of another language

Phonemize = Callable[[str, str], str]
"""(text, espeak-ng's voice) -> IPA."""


class PiperVoice:
    """One voice, or one speaker of it."""

    def __init__(self, network: Any, config: Mapping[str, Any], speaker: int | None, phonemize: Phonemize) -> None:
        """Hold on to a voice that `PiperEngine` has read and checked.

        Args:
            network: onnxruntime.InferenceSession with the inputs `input`, `input_lengths`, `scales` and, where the
                voice has several speakers, `sid`.
            config: What the .onnx.json says.
            speaker: Number of the speaker; None for a voice of one.
            phonemize: Makes IPA of text.
        """
        self.sample_rate = int(config["audio"]["sample_rate"])
        self._network = network
        self._ids: Mapping[str, Sequence[int]] = config["phoneme_id_map"]
        self._language = None if config.get("phoneme_type", "espeak") == "text" else config["espeak"]["voice"]
        inference = config.get("inference", {})
        self._noise = float(inference.get("noise_scale", 0.667))
        self._length = float(inference.get("length_scale", 1.0))
        self._length_noise = float(inference.get("noise_w", 0.8))
        self._speaker = speaker
        self._phonemize = phonemize

    def synthesize(self, text: str, speed: float) -> Iterator[NDArray[np.float32]]:
        """See `synthesizer.Synthesizer`."""
        for part in parts(text):
            ids = self.phoneme_ids(part)
            if len(ids) > 4:  # more than begin, end and the padding between
                yield self._run(ids, speed)
        if text.rstrip(CLOSING + " ").endswith(tuple(ENDS)):
            yield np.zeros(round(_PAUSE_S * self.sample_rate), np.float32)

    def phoneme_ids(self, text: str) -> list[int]:
        """What the network is given for a text: ids of phonemes and punctuation, each followed by padding."""
        symbols: list[str] = []
        for match in _CLAUSE.finditer(text):
            clause = match[0].strip().translate(_PLAIN)
            spoken = clause.rstrip(CLOSING + " ")  # the full stop of a quotation stands before its end
            words = spoken.rstrip(".!?,;:")
            stop = spoken[len(words) : len(words) + 1]
            if words and self._language is not None:
                words = _LANGUAGE_SWITCH.sub("", self._phonemize(words, self._language))
            gap = " " if stop and stop in ",;:" else ""
            symbols += unicodedata.normalize("NFD", words + stop + gap)  # accents are symbols of their own
        ids = [*self._ids[_BEGIN], *self._ids[_PAD]]
        for symbol in symbols:
            if symbol in self._ids:  # others: the voice was not trained on them
                ids += [*self._ids[symbol], *self._ids[_PAD]]
        return [*ids, *self._ids[_END]]

    def _run(self, ids: Sequence[int], speed: float) -> NDArray[np.float32]:
        feeds: dict[str, NDArray[Any]] = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([self._noise, self._length / speed, self._length_noise], np.float32),
        }
        if self._speaker is not None:
            feeds["sid"] = np.array([self._speaker], np.int64)
        sound: NDArray[np.float32] = np.nan_to_num(self._network.run(None, feeds)[0]).astype(np.float32).reshape(-1)
        return sound.clip(-1.0, 1.0)


class PiperEngine:
    """The voices of a folder. NAME is that of the file; NAME#speaker, by name or number, where there are several."""

    def __init__(self, folder: Path, phonemize: Phonemize) -> None:
        self._folder = folder
        self._phonemize = phonemize
        self._loaded: OrderedDict[str, tuple[float, Any, dict[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def voice(self, name: str) -> PiperVoice | None:
        """See `synthesizer.Engine`."""
        stem, mark, speaker = name.partition("#")
        file = self._folder / f"{stem}.onnx"
        try:
            if not file.is_file():
                return None
        except PermissionError as error:  # voices of other engines are there all the same
            raise EngineMissing(f"{self._folder}, the folder of voices, cannot be read: {error.strerror}") from error
        with self._lock:  # two users who ask for a new voice at a time load it once
            network, config = self._load(file)
        if config["num_speakers"] > 1:
            return PiperVoice(network, config, _speaker(speaker, config, name), self._phonemize)
        if mark:
            raise ValueError(f"voice '{stem}' has one speaker; leave '#{speaker}' out")
        return PiperVoice(network, config, None, self._phonemize)

    def names(self) -> Sequence[str]:
        """Names of the files in the folder, read anew."""
        return sorted(file.stem for file in self._folder.glob("*.onnx"))

    def _load(self, file: Path) -> tuple[Any, dict[str, Any]]:
        changed = file.stat().st_mtime
        known = self._loaded.get(file.stem)
        if known is None or known[0] != changed:
            config = read_config(file.with_name(f"{file.name}.json"))
            known = changed, _open(file, config["num_speakers"]), config
        self._loaded[file.stem] = known
        self._loaded.move_to_end(file.stem)
        while len(self._loaded) > MAX_LOADED:
            self._loaded.popitem(last=False)
        return known[1], known[2]


def parts(text: str) -> list[str]:
    """A sentence whole, or in two parts where it is long and has a clause to begin with."""
    if len(text) <= _LONG:
        return [text]
    for match in _CLAUSE.finditer(text):
        if _SHORT <= match.end() < len(text) - _SHORT:
            return [text[: match.end()], text[match.end() :].lstrip()]
    return [text]


def read_config(file: Path) -> dict[str, Any]:
    """What a voice's .onnx.json says, `num_speakers` filled in; ValueError, which names the file and what it lacks."""
    try:
        config: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"the voice has no {file.name} beside it") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file.name} is no JSON: {error}") from None
    config.setdefault("num_speakers", 1)
    kind = config.get("phoneme_type", "espeak")
    if kind not in ("espeak", "text"):
        raise ValueError(f"{file.name}: phoneme_type is '{kind}'; expected 'espeak' or 'text'")
    try:
        rate, ids = config["audio"]["sample_rate"], config["phoneme_id_map"]
        if kind == "espeak":
            str(config["espeak"]["voice"])
        for symbol in (_BEGIN, _END, _PAD):
            list(ids[symbol])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file.name} is no configuration of a Piper voice: it lacks {error}") from None
    if not (isinstance(rate, int) and 8000 <= rate <= 48000):
        raise ValueError(f"{file.name}: audio.sample_rate is {rate}; expected 8000 to 48000")
    return config


def _open(file: Path, speakers: int) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise EngineMissing(MISSING) from None
    options = onnxruntime.SessionOptions()
    # The cores belong to the stages that make frames; one is enough to speak faster than real time.
    options.intra_op_num_threads = int(os.environ.get("FACESTREAM_TTS_THREADS", "1"))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        network = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes
        raise ValueError(f"{file.name} cannot be loaded: {error}") from None
    wanted = {"input", "input_lengths", "scales"} | ({"sid"} if speakers > 1 else set())
    found = {tensor.name for tensor in network.get_inputs()}
    if found != wanted:
        raise ValueError(f"{file.name} takes {', '.join(sorted(found))}; expected {', '.join(sorted(wanted))}")
    return network


def _speaker(name: str, config: Mapping[str, Any], voice: str) -> int:
    by_name: Mapping[str, int] = config.get("speaker_id_map", {})
    if not name:
        return 0
    if name in by_name:
        return by_name[name]
    if name.isdigit() and int(name) < config["num_speakers"]:
        return int(name)
    some = ", ".join(list(by_name)[:10])
    raise ValueError(
        f"voice '{voice}': speaker '{name}' is none; expected 0 to {config['num_speakers'] - 1}"
        + (f" or a name such as {some}" if some else "")
    )
