"""The governor: better faces where there is room, no late frames where there is none, and no to and fro."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from facestream.contract import FRAME_RATE
from facestream.quality import Quality
from governor import GONE_SECONDS, LONGEST_PATIENCE_SECONDS, PATIENCE_SECONDS, Governor

FAST, STANDARD, HIGH = Quality.FAST, Quality.STANDARD, Quality.HIGH
ALL = [FAST, STANDARD, HIGH]


@dataclass
class Machine:
    """A stage in simulated time: sessions at 30 FPS, and what a frame of each tier costs."""

    limit: Quality = HIGH
    cost: dict[Quality, float] = field(default_factory=lambda: {FAST: 0.001, STANDARD: 0.003, HIGH: 0.006})
    sessions: list[int] = field(default_factory=lambda: [1])
    offered: list[Quality] = field(default_factory=lambda: list(ALL))
    slowdown: float = 1.0
    lateness: float = 0.0
    """Seconds by which every third frame comes late."""
    now: float = 100.0

    def __post_init__(self) -> None:
        self.governor = Governor(self.limit, lambda: self.now)
        self.tiers: dict[int, Quality] = {}
        self.history: list[tuple[float, dict[int, Quality]]] = []
        self._frame = 0

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * FRAME_RATE)):
            self._frame += 1
            due = self._frame / FRAME_RATE + 100.0
            self.now = max(self.now, due + (self.lateness if self._frame % 3 == 0 else 0.0))
            for session in self.sessions:
                tier = self.governor.frame(session, self.offered)
                self.tiers[session] = tier
                seconds_each = self.cost[tier] * self.slowdown
                if tier > FAST:
                    self.governor.refined(tier, 1, seconds_each)
                self.governor.worked(seconds_each)
            self.history.append((self.now, dict(self.tiers)))

    def changes(self) -> int:
        return sum(a != b for (_, a), (_, b) in itertools.pairwise(self.history))


def test_idle_machine_rises_to_the_best_tier_step_by_step() -> None:
    machine = Machine()
    machine.run(PATIENCE_SECONDS - 1.0)
    assert machine.tiers[1] is FAST
    machine.run(30.0)
    assert machine.tiers[1] is HIGH
    assert machine.changes() == 2


@pytest.mark.parametrize("limit", [FAST, STANDARD])
def test_limit_of_the_server_is_kept(limit: Quality) -> None:
    """On two cores the limit is FAST: to find out that more is too slow would cost late frames."""
    machine = Machine(limit=limit)
    machine.run(60.0)
    assert max(tier for _, tiers in machine.history for tier in tiers.values()) is limit


def test_tier_whose_model_is_gone_is_not_given() -> None:
    machine = Machine()
    machine.run(30.0)
    machine.offered = [FAST]
    machine.run(1.0)
    assert machine.tiers[1] is FAST


def test_sessions_share_the_room_fairly_and_settle() -> None:
    """Twelve sessions where four can have the better tier: no collapse, and no to and fro."""
    machine = Machine(limit=STANDARD, sessions=list(range(1, 13)), cost={FAST: 0.0004, STANDARD: 0.004, HIGH: 1.0})
    machine.run(120.0)
    better = [session for session, tier in machine.tiers.items() if tier is STANDARD]
    assert 2 <= len(better) <= 4
    before = machine.changes()
    machine.run(120.0)
    assert machine.changes() - before <= 2


def test_load_takes_tiers_down_within_a_second_and_gives_them_back_slowly() -> None:
    machine = Machine(sessions=[1, 2, 3])
    machine.run(60.0)
    assert set(machine.tiers.values()) == {HIGH} or machine.governor.load < 0.7
    high = sum(tier > FAST for tier in machine.tiers.values())
    assert high > 0
    machine.slowdown = 6.0  # another program takes the machine
    machine.run(1.5)
    assert set(machine.tiers.values()) == {FAST}
    machine.slowdown = 1.0
    machine.run(PATIENCE_SECONDS - 1.0)
    assert set(machine.tiers.values()) == {FAST}
    machine.run(120.0)
    assert sum(tier > FAST for tier in machine.tiers.values()) == high


def test_late_frames_take_tiers_down_though_the_stage_itself_is_idle() -> None:
    """On a GPU the refiners slow the other stages down, which this stage's own time does not show."""
    machine = Machine()
    machine.run(30.0)
    assert machine.tiers[1] is HIGH
    machine.lateness = 0.06
    machine.run(3.0)
    assert machine.tiers[1] is FAST


def test_refiner_that_is_too_slow_for_a_frame_is_tried_ever_more_seldom() -> None:
    """Each try costs a late frame."""
    machine = Machine(cost={FAST: 0.001, STANDARD: 0.030, HIGH: 0.060})
    machine.run(600.0)
    tries = [
        now
        for (now, tiers), (_, after) in itertools.pairwise(machine.history)
        if tiers[1] is FAST and after[1] is not FAST
    ]
    assert 1 <= len(tries) <= 6
    shown = sum(tiers[1] is not FAST for _, tiers in machine.history)
    assert shown < 0.01 * len(machine.history)


def test_batches_that_take_too_long_take_their_tier_down() -> None:
    """Eight sessions' frames in one call of 20 ms cost each of them little, and yet all of them wait for it."""
    now = 0.0
    governor = Governor(STANDARD, lambda: now)
    shown = []
    for _ in range(20 * FRAME_RATE):
        now += 1.0 / FRAME_RATE
        tiers = [governor.frame(session, ALL) for session in range(8)]
        raised = sum(tier is STANDARD for tier in tiers)
        if raised:
            governor.refined(STANDARD, raised, 0.008 if now < 15.0 else 0.020)
        shown.append(raised)
    assert max(shown) > 0
    assert shown[-1] == 0


def test_a_moments_load_takes_nothing_down() -> None:
    """One call that the machine holds up for a third of a second is no load: to and fro would be seen."""
    machine = Machine()
    machine.run(30.0)
    assert machine.tiers[1] is HIGH
    machine.governor.worked(0.3)
    machine.run(5.0)
    assert machine.tiers[1] is HIGH


def test_sender_that_is_faster_than_speech_or_pauses_is_not_late() -> None:
    now = 0.0
    governor = Governor(HIGH, lambda: now)
    for frame in range(600):
        now += 0.004 if frame % 100 else 1.5
        governor.frame(7, ALL)
        governor.worked(0.0005)
    assert governor.late_share == 0.0


def test_session_that_is_gone_leaves_its_room() -> None:
    """Nobody tells the stage of a lost client; its tier must not count against the others for ever."""
    machine = Machine(limit=STANDARD, sessions=[1, 2], cost={FAST: 0.001, STANDARD: 0.010, HIGH: 1.0})
    machine.run(60.0)
    assert sorted(machine.tiers.values()) == [FAST, STANDARD]
    last = next(session for session, tier in machine.tiers.items() if tier is FAST)
    machine.sessions = [last]
    machine.run(GONE_SECONDS + 2.0 * LONGEST_PATIENCE_SECONDS)
    assert machine.tiers[last] is STANDARD
