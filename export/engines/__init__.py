"""Engines for the GPU of this machine, and the model repository that serves them: `python -m export.engines --help`.

Runs where it will be served: in the serving container, on the target GPU. What it makes lies in one folder,

    build/engines/nvidia-a100-sxm4-40gb-sm80-trt10.13.3/
        model_repository/    what Triton loads: the committed one, its networks replaced
            renderer/1/model.plan
            renderer/1/model.plan.json    what is known of the file beside it
        finished.json        written last: what it was made of, and for which machine

and `python -m export.engines.check` stands before the server: it refuses what is not whole, not for this machine or not
of this source. On the target, networks are all that differs; stages in Python and ensembles are copied.
"""
