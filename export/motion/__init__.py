"""Training of what `motion` learns: the events of the prosody that head and brows answer."""
