"""facestream: speech in, a photographic talking face out, streamed from a Triton model repository."""

import sys

__version__ = "0.1.0"

# OpenVINO tells Google Analytics of each import, with a number that it keeps of the user in ~/intel, and asks nobody.
# It does without the package that sends it. Who wants that one imports it before this.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
