"""The gate: proves on a machine without a GPU that TensorRT takes the networks. `python -m export.gate` runs it.

What it proves, and by what:

* That engines can be built for Turing (T4), Ampere (A100, A10) and Ada (L4): TensorRT-RTX builds ahead of time for GPUs
  that are not there (`engine_build`). Parsing alone proves little: an operator may parse and then fail to build.
* That nothing needs a too new release: the same with an older TensorRT-RTX, nearer to TensorRT 10.4 (`release`). It
  has no INT8 convolutions, so it is not asked of the INT8 variants.
* That TensorRT 10.4 and the V100, for which no TensorRT-RTX builds, are asked for nothing that is known to be beyond
  them: operators, opsets, types and known faults, by a table (`tensorrt_10_4`).
* That an engine has exactly the tensors that the stage's config.pbtxt declares (`bindings`): Triton refuses any other.

It proves neither numbers nor speed, and says nothing of Hopper, which TensorRT-RTX does not support.
"""
