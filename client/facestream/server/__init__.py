"""Triton Inference Server on a machine without containers: fetch it, start it, stop it.

>>> from facestream.server import TritonServer
>>> with TritonServer(repository) as server:
...     print(server.grpc_url)
"""

from facestream.server.errors import ServerError
from facestream.server.launch import TritonServer
from facestream.server.wheel import FetchError

__all__ = ["FetchError", "ServerError", "TritonServer"]
