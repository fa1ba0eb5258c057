"""The exercises of the notebooks: a room of checks for each, entered where they are imported."""

from . import nb01, nb02, nb03, nb04, nb05, nb06, nb07, nb08
from .checks import Verdict, check

__all__ = ["Verdict", "check", "nb01", "nb02", "nb03", "nb04", "nb05", "nb06", "nb07", "nb08"]
