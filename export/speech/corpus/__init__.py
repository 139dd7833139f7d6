"""Speech with the time of every phoneme, which the networks are trained on: synthesisers' and recorded people's.

    python -m export.speech.corpus --out build/speech/corpus

writes one shard for each voice (`flite_slt.npz`, `espeak_de+f2.npz`, `recorded_drascula_igor.npz`, ...), skips the
shards that are there already and so can be stopped and started at will. It needs the programs flite, festival and
espeak-ng on the PATH with the voices of the Debian packages in voices.DEBIAN_PACKAGES, and pyworld; for recorded people
pocketsphinx and apt-get, which fetches their Debian packages without installing them. Last come made-up people who say
what recorded ones said (`recorded_revoiced_steel_sky_2-0.npz`). A voice that is not to be had is named and left out.
"""

from export.speech.corpus.shard import Utterance, VoiceMissing, read_shard, save_shard, shard_paths, write_shard

__all__ = ["Utterance", "VoiceMissing", "read_shard", "save_shard", "shard_paths", "write_shard"]
