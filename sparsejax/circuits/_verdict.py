"""Whether a circuit does better than what cannot have one."""

from typing import NamedTuple

_HALF = 2.0  # how many times smaller its loss with others has to be


class Control(NamedTuple):
    """What a circuit is compared with.

    Attributes:
        loss: of the control's own circuit of the same size.
        full: of all nodes.
        supersets: mean with others, each on with the first chance.
    """

    loss: float
    full: float
    supersets: float


def verdict(
    own: float,
    full: float,
    empty: float,
    target: float | None,
    supersets: float,
    random: Control,
    controls: dict[str, Control],
) -> tuple[bool | None, tuple[str, ...]]:
    """Whether to call a circuit faithful, and the reasons not to."""
    reasons = []
    if target is not None and own > target:
        reasons.append(f"its loss {own:.3g} misses the target {target:.3g}")
    if target is not None and full > target:
        reasons.append(
            f"the network itself misses the target: {full:.3g} with all nodes, so that "
            "there is nothing to be faithful to"
        )
    if not full < empty:
        reasons.append(
            f"all nodes together do no better than none: {full:.3g} against {empty:.3g}"
        )
    least = min(full, 0.0)  # of losses that can be negative, such as differences
    half = least + _HALF * (supersets - least)
    met = float("-inf") if target is None else target
    if random.loss <= met or not random.supersets > half:
        reasons.append(_as_well("random sets do", random, own, supersets))
    for name, control in controls.items():
        if not control.supersets > max(half, met):
            reasons.append(_as_well(f"{name} does", control, own, supersets))
    if reasons:
        return False, tuple(reasons)
    if not controls:
        return None, ("it was not compared with an untrained network or nonsense",)
    return True, ()


def _as_well(who: str, control: Control, own: float, supersets: float) -> str:
    return (
        f"{who} as well: loss {control.loss:.3g}, with others {control.supersets:.3g}, "
        f"against {own:.3g} and {supersets:.3g}"
    )
