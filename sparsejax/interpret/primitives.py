"""JAX's primitives in families, by what they do: the one table that analyses read.

`interpret` itself reads calls, products, reductions and moves, and what is elementwise
and steep where the gradients of removed units are guarded. `relevance` has a rule for
all that is linear, elementwise, a product or a maximum. `weights` reads the same but
for what is no function of each element, `prune` the moves between units and kernels,
`flowgraph` the moves, the elementwise and what is exact on integers. One that needs
more or less than a family says so by sets (`MOVES - {"gather"}`), and why.

The names are those of every JAX since 0.10: some know no `closed_call`, some no `log2`.
"""

__all__ = [
    "ADDITIONS", "BOUNDED_SLOPE", "BOUNDS", "CALLS", "CASTS", "ELEMENTWISE", "FLAT",
    "FUNCTIONS", "IDENTITIES", "LINEAR", "LOOPS", "MAXIMA", "MOVES", "NONLINEAR",
    "PLACED", "PLAIN_CALLS", "PRODUCTS", "REDUCTIONS", "REMATS", "RESHAPES",
    "SCALINGS", "STEEP", "SUMS",
]  # fmt: skip


def __dir__() -> list[str]:
    return list(__all__)


def _named(names: str) -> frozenset[str]:
    return frozenset(names.split())


# ---- Moves: every element of a result is an element of an operand.

# Results are the operands, one for one.
IDENTITIES = _named(
    "copy name stop_gradient optimization_barrier device_put sharding_constraint"
)
# Every element once, in another place.
RESHAPES = _named("reshape transpose squeeze rev")
# Some operands are no elements but say where: their values must not be moved.
PLACED = _named("gather scatter dynamic_slice dynamic_update_slice")
MOVES = (
    IDENTITIES
    | RESHAPES
    | PLACED
    | _named("broadcast_in_dim slice pad concatenate split stack unstack tile")
)

# ---- Linear: f(a + b) = f(a) + f(b) in all operands that are no index or predicate.

SUMS = _named("reduce_sum cumsum reduce_window_sum")
CASTS = _named("convert_element_type reduce_precision")  # but for what they round
LINEAR = MOVES | SUMS | CASTS | _named("select_n scatter-add")
ADDITIONS = _named("add add_any sub neg")  # a bias may be among their operands

# ---- Products: linear in each operand alone (in the first, for div).

SCALINGS = _named("mul div")  # element by element
PRODUCTS = _named("dot_general conv_general_dilated ragged_dot_general")

# ---- Reductions over axes or windows.

MAXIMA = _named("reduce_max reduce_min reduce_window_max reduce_window_min")
# `params["axes"]` are gone from the result, the others keep their order.
REDUCTIONS = _named(
    "reduce_sum reduce_prod reduce_max reduce_min reduce_and reduce_or reduce_xor"
)

# ---- Elementwise: each element of the result is made of one of each operand.

BOUNDS = _named("max min clamp")
# Functions whose slope is finite everywhere, and those where it may be infinite, not a
# number, or as large as an operand.
BOUNDED_SLOPE = _named("abs tanh logistic sin cos atan asinh erf erfc")
STEEP = _named(
    "exp exp2 expm1 log log1p log2 sqrt rsqrt cbrt square integer_pow pow sinh cosh "
    "tan asin acos acosh atanh atan2 rem erf_inv lgamma digamma"
)
FUNCTIONS = BOUNDED_SLOPE | STEEP
NONLINEAR = BOUNDS | FUNCTIONS
# Constant wherever they have a derivative.
FLAT = _named(
    "sign floor ceil round is_finite nextafter eq ne lt le gt ge eq_to lt_to le_to "
    "and or xor not shift_left shift_right_logical shift_right_arithmetic "
    "population_count clz"
)
ELEMENTWISE = ADDITIONS | SCALINGS | CASTS | NONLINEAR | FLAT | {"select_n", "copy"}

# ---- Steps with steps inside.

PLAIN_CALLS = _named("jit closed_call")  # with no rule of their own
REMATS = _named("remat2")
CALLS = PLAIN_CALLS | REMATS | _named("custom_jvp_call custom_vjp_call")
LOOPS = _named("scan while cond")  # never opened
