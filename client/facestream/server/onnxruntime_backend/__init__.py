"""A stand-in for Triton's ONNX Runtime backend, for servers that come without one."""
