"""Checks for ops: those of the package, and yours.

gradients   check_gradients: every entry against finite differences; taylor_rate: the slope test
strategies  quaternions, quaternion_arrays, broadcasting_shapes, layouts: for hypothesis, which must
            be installed; so import it by itself, from quatgrad.testing.strategies
"""

from quatgrad.testing.gradients import check_gradients, numerical_gradients, taylor_rate
