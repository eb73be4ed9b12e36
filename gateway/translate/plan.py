"""The pool's dry run as `/v1/models/plan` answers it."""

from gateway import pool
from gateway.catalog.models import KnownModel
from gateway.config import Settings
from gateway.errors import Problem
from gateway.openai.commands import Plan, Refusal, Victim
from gateway.translate.details import dtypes_of


def read_plan(
    model: KnownModel, plan: pool.Plan, refusal: Problem | None, settings: Settings
) -> Plan:
    """refusal: what `plan.refusal` means in HTTP."""
    dtype, kv_dtype = dtypes_of(model, settings)
    return Plan(
        model=model.id,
        is_loaded=plan.is_loaded,
        device=plan.device,
        form=plan.form,
        dtype=dtype,
        kv_dtype=kv_dtype,
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
