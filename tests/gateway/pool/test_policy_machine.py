"""The policy as a state machine: Hypothesis looks for histories that break it, and shrinks them."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.gateway.pool.histories import Op, make_history
from tests.gateway.pool.world import World

PICKS = st.floats(0.0, 1.0, exclude_max=True, allow_nan=False)


class PolicyMachine(RuleBasedStateMachine):
    """What can happen next depends on what the policy did; `World` checks after each event."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.world = World(make_history(seed, num_ops=0))

    def happen(self, kind: str, pick: float) -> None:
        self.world.play(Op(kind, pick))

    @rule(pick=PICKS)
    def request(self, pick: float) -> None:
        self.happen("request", pick)

    @precondition(lambda self: self.world.waiting)
    @rule(pick=PICKS)
    def cancel(self, pick: float) -> None:
        self.happen("cancel", pick)

    @precondition(lambda self: self.world.granted)
    @rule(pick=PICKS)
    def release(self, pick: float) -> None:
        self.happen("release", pick)

    @precondition(lambda self: self.world.loading)
    @rule(pick=PICKS, is_well=st.booleans())
    def end_load(self, pick: float, is_well: bool) -> None:
        self.happen("finish_load" if is_well else "fail_load", pick)

    @precondition(lambda self: self.world.pausing)
    @rule(pick=PICKS)
    def finish_pause(self, pick: float) -> None:
        self.happen("finish_pause", pick)

    @precondition(lambda self: self.world.evicting)
    @rule(pick=PICKS)
    def finish_eviction(self, pick: float) -> None:
        self.happen("finish_eviction", pick)

    @rule(pick=PICKS)
    def advance(self, pick: float) -> None:
        self.happen("advance", pick)

    @rule(pick=PICKS, kind=st.sampled_from(["pin", "unload", "jump", "lose"]))
    def interfere(self, pick: float, kind: str) -> None:
        self.happen(kind, pick)

    @precondition(lambda self: self.world.down)
    @rule(pick=PICKS)
    def restore(self, pick: float) -> None:
        self.happen("restore", pick)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.finish()


TestPolicyMachine = PolicyMachine.TestCase
TestPolicyMachine.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
