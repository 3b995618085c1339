"""Smaller networks: `compact` is the face, what it needs lies beside it."""

from sparsejax.prune._compact._compact import Compact, Idle, compact, idle
from sparsejax.prune._compact._report import Group, Report

__all__ = ["Compact", "Group", "Idle", "Report", "compact", "idle"]
