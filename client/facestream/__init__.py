"""facestream: speech in, a photographic talking face out, streamed from a Triton model repository."""

__version__ = "0.1.0"
