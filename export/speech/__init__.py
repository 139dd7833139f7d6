"""From speech to face coefficients: corpus, targets, networks, training and export of both speech stages."""
