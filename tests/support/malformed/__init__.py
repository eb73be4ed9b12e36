"""What a stranger may send, as bytes, and what is documented to be answered to it."""

from malformed.bodies import bodies
from malformed.case import GOOD, Case
from malformed.fields import fields
from malformed.requests import requests

__all__ = ["CASES", "GOOD", "Case"]

CASES: dict[str, list[Case]] = {}
"""By route, or "" for what is refused before there is one."""

for case in (*requests(), *bodies(), *fields()):
    CASES.setdefault(case.path, []).append(case)
