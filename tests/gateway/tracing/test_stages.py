from engine.api import LoadReport
from gateway.journey import Arrival, Journey, Loading
from gateway.tracing.stages import facts_of, stages_of


def _journey() -> Journey:
    journey = Journey("chat", "tiny", Arrival(10.0, request_id="req"), model="org/tiny")
    journey.prepared_at, journey.granted_at = 11.0, 15.0
    journey.waited_seconds, journey.prefill_seconds = 0.5, 1.0
    journey.first_at, journey.last_at, journey.ended_at = 17.0, 20.0, 21.0
    journey.loads.append(Loading(14.0, LoadReport(1, 1, 2.0, phases={"map": 0.5, "build": 1.5})))
    return journey


def test_the_parts_of_a_request():
    """One behind the other, the load and its phases within the wait."""
    found = [(stage.name, stage.start, stage.end) for stage in stages_of(_journey())]

    assert found == [
        ("prepare", 10.0, 11.0),
        ("wait_for_model", 11.0, 15.0),
        ("queue", 15.5, 16.0),
        ("prefill", 16.0, 17.0),
        ("decode", 17.0, 20.0),
    ]


def test_loads_lie_within_the_wait():
    """Their phases in the order that the report has them."""
    wait = list(stages_of(_journey()))[1]

    (load,) = wait.parts
    assert (load.start, load.end) == (12.0, 14.0)
    phases = [(phase.name, phase.start, phase.end) for phase in load.parts]
    assert phases == [("load map", 12.0, 12.5), ("load build", 12.5, 14.0)]
    assert load.facts["roundhouse.load.waited_seconds"] == 2.0


def test_what_did_not_happen_is_not_there():
    """A request that was refused while it waited has no prefill."""
    journey = Journey("chat", "tiny", Arrival(10.0))
    journey.prepared_at, journey.ended_at = 11.0, 15.0

    assert [stage.name for stage in stages_of(journey)] == ["prepare", "wait_for_model"]


def test_nothing_of_what_was_said():
    """Attributes are names and numbers; a name that a client made up is cut off."""
    journey = _journey()
    journey.name = "x" * 1000

    facts = facts_of(journey)

    assert len(str(facts["gen_ai.request.model"])) == 200
    assert facts["gen_ai.operation.name"] == "chat"
    assert "error.type" not in facts
