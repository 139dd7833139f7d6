"""Which models the server answers for just now, as a Python stage asks it."""

from __future__ import annotations


def model_ready(name: str) -> bool:
    """Whether this stage's own server has the model loaded and ready."""
    import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only

    return bool(pb_utils.is_model_ready(name))
