"""Typed variants of the networks, and what a precision costs: see `python -m export.precision --help`."""
