"""Families of JAX's primitives, as relevance sees them."""

# Every element of the result is one of the operands': relevance moves with it.
MOVES = frozenset(
    "reshape transpose broadcast_in_dim squeeze expand_dims slice pad rev concatenate "
    "split stack unstack gather dynamic_slice dynamic_update_slice scatter copy copy_p "
    "name stop_gradient optimization_barrier tile".split()
)
# As they are, whatever JAX's transpose of them says.
SAME = frozenset("name stop_gradient".split())
# Linear in what is no index and no predicate.
LINEAR = MOVES | frozenset(
    "reduce_sum cumsum reduce_window_sum scatter-add reduce_precision "
    "convert_element_type select_n".split()
)
AFFINE = frozenset("add sub neg add_any".split())
PRODUCTS = frozenset("mul div dot_general conv_general_dilated".split())
WEIGHTED = {"dot_general": "dense", "conv_general_dilated": "conv"}
MAXIMA = frozenset("reduce_max reduce_min reduce_window_max reduce_window_min".split())
# Functions of each element, with what they take besides.
NONLINEAR = frozenset(
    "max min clamp abs tanh logistic exp exp2 expm1 log log1p sqrt rsqrt cbrt square "
    "integer_pow pow sin cos tan sinh cosh asin acos atan asinh acosh atanh erf erfc "
    "erf_inv lgamma digamma atan2 rem".split()
)
# Constant wherever they have a derivative.
STOPS = frozenset(
    "stop_gradient sign floor ceil round is_finite eq ne lt le gt ge and or xor not "
    "eq_to le_to lt_to argmax argmin iota shift_left shift_right_logical "
    "shift_right_arithmetic population_count clz random_bits nextafter".split()
)
COMPARISONS = STOPS - {"stop_gradient", "argmax", "argmin", "iota", "random_bits"}
# The same to every element, on whatever elements.
ELEMENTWISE = (
    NONLINEAR | AFFINE | COMPARISONS | {"mul", "div", "select_n", "copy", "copy_p"}
) | {"convert_element_type", "reduce_precision"}
# What formulas of activations are written with; a chain of them is one function.
PIECES = NONLINEAR - {"max", "min", "clamp", "tanh", "logistic"} | {"div"}
# Never negative, whatever the input is.
NONNEGATIVE = frozenset("abs exp exp2 logistic square sqrt rsqrt cosh erfc".split())
