"""The table after a run, from scripted frames and statistics."""

from __future__ import annotations

from facestream.protocol import Frame
from facestream.report import Report, Stopwatch, stage_times
from tritonclient.grpc import service_pb2


def snapshot(**models: tuple[int, int, int, int, int]) -> service_pb2.ModelStatisticsResponse:
    """Models by name: requests, executions, queue ns, infer ns, failures, all since the server's start."""
    response = service_pb2.ModelStatisticsResponse()
    for name, (requests, executions, queue, infer, failures) in models.items():
        model = response.model_stats.add(name=name, version="1", execution_count=executions)
        model.inference_stats.success.count = requests
        model.inference_stats.fail.count = failures
        model.inference_stats.queue.ns = queue
        model.inference_stats.compute_infer.ns = infer
    return response


def test_stage_times_are_those_of_the_run() -> None:
    """Figures since the server's start would blame a stage for its warm-up."""
    before = snapshot(renderer=(10, 10, 10**9, 10**9, 0), idle=(5, 5, 0, 0, 0))
    after = snapshot(renderer=(30, 15, 10**9 + 20_000_000, 10**9 + 200_000_000, 2), idle=(5, 5, 0, 0, 0))
    (stage,) = stage_times(before, after)
    assert stage.name == "renderer"
    assert (stage.requests, stage.executions, stage.failures) == (20, 5, 2)
    assert stage.queue_ms == 1.0
    assert stage.compute_ms == 10.0


def test_model_that_was_loaded_meanwhile() -> None:
    """A model that is not in the first snapshot counts from 0."""
    (stage,) = stage_times(snapshot(), snapshot(motion=(4, 4, 0, 4_000_000, 0)))
    assert (stage.requests, stage.compute_ms) == (4, 1.0)


def test_report() -> None:
    """Percentiles and missed deadlines are what users choose hardware by."""
    watch = Stopwatch()
    for index in range(100):
        watch.note(Frame(index, latency_s=0.001 * (index + 1)))
    watch.total_s, watch.first_frame_s = 4.0, 0.25
    report = Report.of(watch, realtime=True, stages=stage_times(snapshot(), snapshot(motion=(4, 4, 0, 4_000_000, 0))))
    assert report.frames == 100
    assert report.fps == 25.0
    assert abs(report.p50_ms - 50.5) < 0.1
    assert abs(report.p99_ms - 99) < 0.2
    assert report.missed == 67, "34 .. 100 ms"
    text = str(report)
    for words in ("100 (3.33 s of video)", "25.0 frames/s", "67 frames", "250.0 ms", "2 frames, 66.7 ms", "motion"):
        assert words in text


def test_run_without_frames() -> None:
    """A session that was refused has a report too, not a division by zero."""
    report = Report.of(Stopwatch(), realtime=False, stages=[])
    assert (report.frames, report.fps, report.missed) == (0, 0.0, 0)
    assert "0 frames" in str(report)


def test_a_server_that_was_started_again_counts_from_nothing() -> None:
    """The difference to the counters of a server that is gone would be anybody's time."""
    before = snapshot(motion=(10, 10, 0, 90_000_000, 0), tts=(5, 5, 0, 0, 0))
    after = snapshot(motion=(20, 20, 0, 20_000_000, 0), tts=(0, 0, 0, 0, 0))
    (motion,) = stage_times(before, after)
    assert (motion.requests, motion.executions, motion.compute_ms) == (20, 20, 1.0)


def test_the_silence_at_the_end_is_no_conversation() -> None:
    """Its frames are fetched all at once and wait for each other: of 7 s of speech they alone were the p99."""
    watch = Stopwatch()
    for index in range(200):
        watch.note(Frame(index, 0.02 if index < 198 else 0.08))
    assert Report.of(watch, realtime=True, stages=[]).missed == 2
    report = Report.of(watch, realtime=True, stages=[], flushed=2)
    assert (report.frames, report.missed, round(report.p99_ms)) == (200, 0, 20)
    one = Stopwatch()
    one.note(Frame(0, 0.02))
    assert round(Report.of(one, realtime=True, stages=[], flushed=2).p50_ms) == 20, "better than none"
