"""The pool's dry run as `/v1/models/plan` answers it."""

from gateway import pool
from gateway.errors import Problem
from gateway.openai.commands import Plan, Refusal, Victim


def read_plan(model_id: str, plan: pool.Plan, refusal: Problem | None) -> Plan:
    """refusal: what `plan.refusal` means in HTTP."""
    return Plan(
        model=model_id,
        is_loaded=plan.is_loaded,
        device=plan.device,
        form=plan.form,
        bytes=plan.bytes,
        kv_tokens=plan.kv_tokens,
        state_slots=plan.state_slots,
        victims=[_victim(victim) for victim in plan.victims],
        ahead=plan.ahead,
        expected_seconds=plan.expected_seconds,
        refusal=Refusal(refusal.status, refusal.body) if refusal else None,
        reasons=list(plan.reasons),
    )


def _victim(victim: pool.PlannedVictim) -> Victim:
    return Victim(
        victim.id,
        victim.device,
        victim.bytes,
        victim.leases,
        victim.idle_seconds,
        victim.way,
        victim.wait_seconds,
    )
