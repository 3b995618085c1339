"""Which activations can be read or changed."""

from sparsejax import interpret, trees


def check_names(sites, wanted, changed=False) -> list[interpret.Site]:
    """The sites of the names that are wanted, to be read or, if `changed`, edited.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda x: checkpoint_name(checkpoint_name(x + 1.0, "a") * 2.0, "b")
        >>> sites = interpret.sites(interpret.trace(fn, 1.0))
        >>> [site.name for site in check_names(sites, ["b"])]
        ['b']
        >>> check_names(sites, ["c"])
        Traceback (most recent call last):
            ...
        ValueError: fn names no activation 'c'; it names 'a', 'b'
    """
    known = {site.name: site for site in sites}
    if not known:
        raise ValueError(
            "fn names no activations; sj.named(fn) names those of any model by its "
            "parameters' paths, or add one line where the layer is computed:\n"
            '    h = jax.ad_checkpoint.checkpoint_name(h, "hidden_0")'
        )
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"fn names no activation {name!r}; it names {trees.listed(known)}"
            )
        site = known[name]
        if site.inside == "gradient" and changed:
            raise ValueError(
                f"activation {name!r} at {site.place} is named inside a gradient that "
                "fn takes itself, where a change of the value would not be in the "
                "derivative; lift the inner function and differentiate outside, as in "
                "jax.grad(lambda x: sj.masked(inner)(params, masks, x))"
            )
        if site.inside not in ("", "gradient"):
            raise ValueError(
                f"activation {name!r} at {site.place} is named inside a "
                f"{site.inside!r}, where there may be none of it, or any number; "
                "return it and name it outside, or leave it out of those asked for"
            )
    return [known[name] for name in wanted]


def check_not_looped(site: interpret.Site) -> None:
    """A check that an activation is one array, not one at every step of a loop.

    Example:
        >>> import jax
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda xs: jax.lax.map(lambda x: checkpoint_name(x * 2.0, "h"), xs)
        >>> (site,) = interpret.sites(interpret.trace(fn, jax.numpy.ones(3)))
        >>> check_not_looped(site)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: 'h' at ... is in a loop of 3 steps; pass sj.unrolled(fn), ...
    """
    if site.loops:
        steps = " by ".join(map(str, site.loops))
        first = site.name + "[0]" * len(site.loops)
        raise ValueError(
            f"{site.name!r} at {site.place} is in a loop of {steps} steps; pass "
            f"sj.unrolled(fn), which names {first!r} and so on, one for each step"
        )
