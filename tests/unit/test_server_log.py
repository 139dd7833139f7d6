"""What a user reads when the server does not start is taken out of the server's log."""

from __future__ import annotations

from facestream.server.launch import failures

HEAD = "1120 23:27:05.916726 19476 "


def test_a_traceback_stays_in_one_piece() -> None:
    log = (
        f'I{HEAD}model_lifecycle.cc:472] "loading: stage:1"\n'
        f'E{HEAD}model_lifecycle.cc:642] "failed to load \'stage\' version 1: Internal: ValueError: no \\"x\\"\\n\\n'
        'At:\\n  model.py(3): initialize\\n"\n'
        f'I{HEAD}server.cc:604] "bye"\n'
    )
    assert failures(log) == (
        "failed to load 'stage' version 1: Internal: ValueError: no \"x\"\nAt:\n  model.py(3): initialize"
    )


def test_the_place_of_a_syntax_error_is_kept() -> None:
    """The schema's parser speaks in another form than the server's own log."""
    log = (
        "[libprotobuf ERROR text_format.cc:337] Error parsing text-format inference.ModelConfig: 1:7: Expected string\n"
        f"E{HEAD}model_repository_manager.cc:1460] \"Poll failed for model directory 'a': failed to read text proto\"\n"
    )
    assert failures(log).splitlines() == [
        "Error parsing text-format inference.ModelConfig: 1:7: Expected string",
        "Poll failed for model directory 'a': failed to read text proto",
    ]


def test_complaints_of_every_machine_without_a_gpu_are_left_out() -> None:
    log = f'E{HEAD}server.cc:241] "CudaDriverHelper has not been initialized."\nE{HEAD}x.cc:1] "true reason"\n'
    assert failures(log) == "true reason"


def test_without_an_error_the_end_of_the_log_is_shown() -> None:
    """A server killed for memory leaves no word: its last lines are all that there is."""
    assert failures("".join(f"line {i}\n" for i in range(100))) == "\n".join(f"line {i}" for i in range(80, 100))
