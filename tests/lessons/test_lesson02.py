import pytest

from checkers import lesson02 as check


@pytest.mark.parametrize(("answer", "verdict"), [
    (lambda n: 2**n, "correct"),
    (lambda n: 2 * n, "it does not add two"),
    (lambda n: 2 ** (n + 1), "one doubling too far"),
    (lambda n: 2 ** (n - 1), "one doubling short"),
    (lambda n: 2 ** (n + 1) - 1, "These are visits"),
])  # fmt: skip
def test_paths(says, answer, verdict):
    assert verdict in says(check.paths, answer)


@pytest.mark.parametrize(("answer", "verdict"), [
    ("fedcab", "correct"),
    ("fdecba", "correct"),
    (list("fedcab"), "correct"),
    ("f, e, d, c, a, b", "correct"),
    ("abcdef", "starts at the result f, not at a"),
    ("fedc", "each of the six goes once"),
    ("fecdab", "c goes before d, which uses it"),
    ("fdeacb", "a goes before c"),
])  # fmt: skip
def test_order(says, answer, verdict):
    assert verdict in says(check.order, answer)


def sweep(combine, start=0):
    """depth with another rule for what two paths give."""

    def depth(root):
        far, order = {root: start}, [root]
        uses = {}
        for node in order:
            for below, _ in node.arrows:
                uses[below] = uses.get(below, 0) + 1
                if uses[below] == 1:
                    order.append(below)
        ready = [root]
        while ready:
            node = ready.pop()
            for below, _ in node.arrows:
                step = far[node] + 1
                far[below] = combine(far[below], step) if below in far else step
                uses[below] -= 1
                if uses[below] == 0:
                    ready.append(below)
        return far[node]

    return depth


def in_the_nodes(root):
    """As the lesson's sweep, with lengths in place of slopes."""
    order = [root]
    for node in order:
        order += [below for below, _ in node.arrows if below not in order[-200:]]
    for node in order:
        for below, _ in node.arrows:
            below.slope = max(below.slope, node.slope + 1)
    return max(node.slope for node in order)


def recursive(root):
    return max((1 + recursive(below) for below, _ in root.arrows), default=0)


@pytest.mark.parametrize(("answer", "verdict"), [
    (sweep(max), "correct"),
    (in_the_nodes, "correct"),
    (sweep(min), "shortest path"),
    (sweep(max, start=1), "Count arrows, not nodes"),
    (sweep(lambda a, b: a + b), "all arrows that were followed"),
    (recursive, "with RecursionError"),
])  # fmt: skip
def test_depth(says, answer, verdict):
    assert verdict in says(check.depth, answer)
