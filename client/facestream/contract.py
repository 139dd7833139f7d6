"""The numbers that every stage, client and test share: rates, sizes and the names of the ensembles.

This is their one source. `model_repository/*/config.pbtxt` repeats the shapes, because Triton reads them there;
`tests/unit/test_model_repository.py` holds the two together.
"""

from __future__ import annotations

# --- time -------------------------------------------------------------------------------------------------------
SAMPLE_RATE = 24_000
"""Hz, mono float PCM in [-1, 1]. It divides WebRTC's 48 kHz and is what TTS models speak."""

FRAME_RATE = 30
"""Video frames per second."""

CHUNK_SAMPLES = SAMPLE_RATE // FRAME_RATE
"""Samples in one request: exactly one video frame of sound (800)."""

LOOKAHEAD_FRAMES = 2
"""Request t is answered with frame t - LOOKAHEAD_FRAMES: the mouth knows 2 frames of the sound to come."""

WINDOW_SAMPLES = 20 * CHUNK_SAMPLES + 400
"""Samples that the speech encoder sees: the last 20 frames (0.67 s) and the 400 samples of overlap that the first
analysis step of 600 samples needs to end with its own 200-sample hop."""

PEAK_LIMIT = 4.0
"""Louder samples than this, 12 dB above full scale, are no float PCM: 16-bit integers sent as floats, most often."""

# --- sizes ------------------------------------------------------------------------------------------------------
FRAME_SIZE = 512
"""Width and height of the picture, pixels."""

EMBEDDING_STEPS = 40
"""Embeddings per window: two for each video frame, oldest first."""

EMBEDDING_SIZE = 192

AVATAR_NAME_BYTES = 64
"""Size of the AVATAR tensor: a name in UTF-8, filled up with zeros. A string tensor would have no bound, and Triton's
Python backend of the wheel cannot read one under NumPy 2."""

# --- sessions ---------------------------------------------------------------------------------------------------
SEQUENCE_IDLE_SECONDS = 10.0
"""Triton ends a sequence that is silent for so long (`max_sequence_idle_microseconds` of every stateful stage)."""

STATE_IDLE_SECONDS = SEQUENCE_IDLE_SECONDS + 2.0
"""A stage drops its own state after this: Triton never tells a model of an idle timeout, a cancel or a lost client."""

# --- ensembles --------------------------------------------------------------------------------------------------
RGB_ENSEMBLE = "avatar"
H264_ENSEMBLE = "avatar_h264"
PARAMETERS_ENSEMBLE = "avatar_parameters"

# --- text ------------------------------------------------------------------------------------------------------
SPEECH_MODEL = "tts"
"""The model that turns text into sound. It stands alone: its AUDIO and EMOTION are what the ensembles take."""

TEXT_BYTES = 2048
"""Size of the TEXT tensor: UTF-8, filled up with zeros. A few sentences; longer texts are sent in parts."""

VOICE_BYTES = 64
"""Size of the VOICE tensor: a name in ASCII, filled up with zeros; all zeros: the server's own choice."""

SLOWEST_SPEECH, FASTEST_SPEECH = 0.5, 2.0
"""Bounds of SPEED; 1 is the voice's own."""

VOICES_VARIABLE = "FACESTREAM_TTS_VOICES"
"""Environment variable: a folder with Piper voices, each NAME.onnx with NAME.onnx.json beside it."""

# --- refusals ---------------------------------------------------------------------------------------------------
# A gRPC stream carries an error as text alone, so the text begins with what happened.
BAD_INPUT = "bad input"
"""The request was refused and changed nothing: the session goes on, send a corrected one."""

SESSION_REFUSED = "session refused"
"""The session did not begin."""

SESSION_LOST = "session lost"
"""The server no longer has the state of this session: begin anew with START."""

# --- settings of a server --------------------------------------------------------------------------------------
MAX_SESSIONS = 64
"""Sessions admitted at a time, unless the environment's FACESTREAM_MAX_SESSIONS says otherwise."""

MAX_SESSIONS_VARIABLE = "FACESTREAM_MAX_SESSIONS"
MAX_QUALITY_VARIABLE = "FACESTREAM_MAX_QUALITY"
"""Environment variable: the best tier of quality that this server draws, fast, standard or high. Unset: asked for by
name, any whose model is loaded; by the server's own choice, `fast` on a machine without a GPU."""

ADMIN_KEY_VARIABLE = "FACESTREAM_ADMIN_KEY"
"""Environment variable of the launcher: requests that carry it may load and unload models. Unset: nobody may."""

NETWORKS_VARIABLE = "FACESTREAM_NETWORKS"
"""Environment variable: `cpu` where the networks run on the processor whatever else the machine has. Set by the
launcher of the server without a container."""

VIDEO_ENCODER_VARIABLE = "FACESTREAM_VIDEO_ENCODER"
"""Environment variable: who encodes H.264. `x264` the processor, `nvenc` an NVIDIA GPU, `auto` (unset) the GPU where it
has an encoder that works, and the processor elsewhere."""

AVATARS_VARIABLE = "FACESTREAM_AVATARS"
"""Environment variable: a folder with the user's own avatar bundles, beside the ready ones of `avatar_store`."""
