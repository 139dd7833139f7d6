"""`make`, the first command that a newcomer types."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

MAKEFILE = Path(__file__).parents[2] / "Makefile"

WITHOUT_VENV = f"""#!/bin/sh
if [ "$2" = venv ]; then {sys.executable} -m venv --without-pip "$3"; exit 1; fi
exec {sys.executable} "$@"
"""


def test_an_environment_that_could_not_be_made_is_made_anew(tmp_path: Path) -> None:
    """Debian and Ubuntu without python3-venv: after its installation `make demo` ended with "No module named pip"."""
    shutil.copy(MAKEFILE, tmp_path)
    python = tmp_path / "python3"
    python.write_text(WITHOUT_VENV)
    python.chmod(0o755)
    done = subprocess.run(
        ["make", f"PYTHON={python}", ".venv/bin/python3"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "apt-get install python3-venv" in done.stderr
    assert not (tmp_path / ".venv" / "bin" / "python3").exists()
