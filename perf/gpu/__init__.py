"""What the networks cost on a GPU: measured where there is one, projected from counted work where there is none.

    python -m perf.gpu                  # on a machine with CUDA: all networks, batch 1 to 64; perf/results/<card>/
    python -m perf.gpu.roofline         # anywhere: what counted work says of known cards; perf/results/projection/
    python -m perf.gpu.sessions         # beside a running server: how many sessions at 30 FPS it serves in time

A measured card takes the place of its projection in the roofline's table.
"""
