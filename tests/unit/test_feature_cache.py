"""What is kept beside the speech corpus: it must be computed again when the sound or the code behind it changed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from export.speech.feature_cache import cache_folder, digest, fits, whole

PLAIN = '''"""A table."""
TABLE = {"m": "bilabial"}

def gap(name: str) -> float:
    """How wide."""
    return 0.0 if TABLE[name] == "bilabial" else 1.0  # closed
'''


def module(folder: Path, name: str, source: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_words_alone_change_nothing(tmp_path: Path) -> None:
    """A better comment must not cost the user minutes of spectrograms, or hours of a teacher's hearing."""
    plain = module(tmp_path, "plain", PLAIN)
    told = PLAIN.replace("# closed", "# the lips touch").replace("How wide.", "How wide\n    the lips are.")
    assert digest(plain) == digest(module(tmp_path, "told", told))
    assert digest(plain.gap) == digest(module(tmp_path, "told_again", told).gap)


@pytest.mark.parametrize(("old", "new"), [('"bilabial"}', '"labial"}'), ("else 1.0", "else 0.9")])
def test_another_table_or_formula_has_a_folder_of_its_own(tmp_path: Path, old: str, new: str) -> None:
    """A phoneme given to another class of lips would else be trained on as it was before, and nothing would tell."""
    plain, changed = module(tmp_path, "plain", PLAIN), module(tmp_path, "changed", PLAIN.replace(old, new))
    corpus = tmp_path / "corpus"
    assert cache_folder(corpus, "features", plain) != cache_folder(corpus, "features", changed)
    assert cache_folder(corpus, "features", plain, -25.0) != cache_folder(corpus, "features", plain, -20.0)
    assert cache_folder(corpus, "features", plain).parent == tmp_path / "corpus.features"


def test_a_shard_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    """The corpus is made anew voice by voice; features of the old sound would be trained beside the new times."""
    shard, kept = tmp_path / "voice.npz", tmp_path / "voice.pt"
    shard.touch()
    assert not fits(kept, shard)
    kept.touch()
    os.utime(kept, (2e9, 2e9))
    assert fits(kept, shard)
    os.utime(shard, (3e9, 3e9))
    assert not fits(kept, shard)


def test_two_who_write_the_same_file_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trainings begun side by side on a new corpus: the second found its unfinished file moved away, and ended."""
    kept = tmp_path / "voice.pt"
    with whole(kept) as one:
        one.write_text("whole")
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with whole(kept) as other:
            assert other != one
            other.write_text("whole")
        assert kept.read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["voice.pt"]


def test_what_breaks_off_is_not_kept(tmp_path: Path) -> None:
    """Half a file that counts as whole would be trained on, or end each later training."""

    def broken_off() -> None:
        with whole(tmp_path / "voice.npy") as unfinished:
            assert unfinished.suffix == ".npy"  # numpy would append it
            unfinished.write_text("half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        broken_off()
    assert list(tmp_path.iterdir()) == []
