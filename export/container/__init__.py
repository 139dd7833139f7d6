"""The containers' packages, pinned: one lock for each lane of :mod:`export.lanes`."""
