"""wav2vec 2.0 and HuBERT in place of the small speech encoder, or as its teacher."""
