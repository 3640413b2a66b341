"""Answers to lesson 1."""

slopes = [42, 28, 14]  # 14 w, 14 x, 14


def tanh(x):
    """The Number tanh(x), which remembers x."""
    y = np.tanh(x.value)
    return Number(y, [(x, 1 - y * y)])


class Cube(Function):
    """y = x³; dx = 3 x² g."""

    def forward(self, x):
        self.save_for_backward(x)
        return x * x * x

    def backward(self, g):
        (x,) = self.saved
        return 3 * x * x * g
