"""The containers install what the locks pin, and the locks hold what pyproject.toml asks for."""

from __future__ import annotations

import sys

import pytest
from packaging.requirements import Requirement

from export.container import lock
from export.lanes import LANES

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="pyproject.toml is read by tomllib, of Python 3.11")


def test_every_lane_has_a_lock() -> None:
    assert set(lock.WANTED) == set(LANES)


@pytest.mark.parametrize("lane", LANES)
def test_a_lock_holds_what_is_wanted(lane: str) -> None:
    """A changed pyproject.toml with a stale lock would be tested in one version and served in another."""
    pins = {pin.name: pin.version for pin in [*lock.read(lane), *lock.read(lock.GPL_LOCK)]}
    for line in lock.requirements(lane):
        requirement = Requirement(line)
        version = pins.get(lock.package_of(line))
        mend = f"python -m export.container.lock --lane {lane}"
        assert version is not None, f"{line} is in no lock: {mend}"
        assert requirement.specifier.contains(version), f"the lock has {version} of {line}: {mend}"


@pytest.mark.parametrize("lane", LANES)
def test_espeak_ng_is_apart(lane: str) -> None:
    """An image without the GPL must be possible by leaving one file out."""
    assert lock.GPL not in {pin.name for pin in lock.read(lane)}
    assert [pin.name for pin in lock.read(lock.GPL_LOCK)] == [lock.GPL]


@pytest.mark.parametrize("lane", ["gpu", "v100"])
def test_the_python_side_of_tensorrt_is_that_of_the_image(lane: str) -> None:
    """The bindings load the image's libraries: of another version they crash or refuse its engines."""
    bindings = [pin for pin in lock.read(lane) if pin.name.startswith("tensorrt")]
    assert len(bindings) == 1
    version = LANES[lane].tensorrt
    assert version is not None
    assert tuple(map(int, bindings[0].version.split(".")))[: len(version)] == version
    # TensorRT's and CuPy's wheels are for one major version of CUDA, which has to be the same.
    cuda = "13" if "cu13" in bindings[0].name else "12"
    assert f"cupy-cuda{cuda}x" in {pin.name for pin in lock.read(lane)}


def test_a_line_that_pins_nothing_is_told(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(tmp_path, type(lock.FOLDER))
    monkeypatch.setattr(lock, "FOLDER", tmp_path)
    (tmp_path / "gpu.lock").write_text("# title\nnumpy>=2\n")
    with pytest.raises(ValueError, match=r"gpu.lock, line 2: expected NAME==VERSION .*, got 'numpy>=2'"):
        lock.read("gpu")
