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
    least = min(full, 0.0)  # of losses that can be negative, such as differences
    line = least + _HALF * (supersets - least)
    line = line if target is None else max(line, target)
    for name, control in {"random sets": random, **controls}.items():
        if not control.supersets > line:
            verb = "do" if name == "random sets" else "does"
            reasons.append(
                f"{name} {verb} as well: loss with others {control.supersets:.3g} "
                f"against {supersets:.3g}"
            )
    if reasons:
        return False, tuple(reasons)
    if not controls:
        return None, ("it was not compared with an untrained network or nonsense",)
    return True, ()
