"""Synthetic speech with the exact time of every phoneme: the only speech that the networks are trained on.

    python -m export.speech.corpus --out build/speech/corpus

writes one shard for each voice (`flite_slt.npz`, `espeak_de+f2.npz`, ...), skips the shards that are there already and
so can be stopped and started at will. It needs the programs flite, festival and espeak-ng on the PATH with the voices
of the Debian packages in voices.DEBIAN_PACKAGES, and pyworld; a voice that is not installed is named and left out.
"""

from export.speech.corpus.shard import Utterance, VoiceMissing, read_shard, save_shard, shard_paths, write_shard

__all__ = ["Utterance", "VoiceMissing", "read_shard", "save_shard", "shard_paths", "write_shard"]
