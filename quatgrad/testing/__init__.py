"""Checks of operations: of the package's, and of your own.

gradients   check_gradients: every entry against finite differences; taylor_rate: the slope test
strategies  quaternions, quaternion_arrays, broadcasting_shapes, layouts: for hypothesis, which must
            be installed; import them from quatgrad.testing.strategies
identities  python -m quatgrad.testing.identities: how exactly the identities hold
"""

from quatgrad.testing.gradients import check_gradients, numerical_gradients, taylor_rate
