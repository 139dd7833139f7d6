"""The commands of `facestream`, one module each."""
