"""What a request may have pulled or removed."""

from collections.abc import Iterable
from fnmatch import fnmatchcase


def is_allowed(repo: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern such as `org/*` has the repository, without regard to case.

    A star does not reach over the slash: `*` alone allows nothing, `*/*` everything.
    """
    owner, _, name = repo.casefold().partition("/")
    for pattern in patterns:
        owners, _, names = pattern.casefold().partition("/")
        if fnmatchcase(owner, owners) and fnmatchcase(name, names):
            return True
    return False
