"""Answers to lesson 2."""


def paths(n):
    """The number of paths from the top of n diamonds to the bottom."""
    return 2**n


order = "fedcab"  # also "fdecab", and b before a


def depth(root):
    """The number of arrows of the longest path down from the root."""
    uses, ready, far = count_uses(root), [root], {root: 0}
    while ready:
        node = ready.pop()
        for below, _ in node.arrows:
            far[below] = max(far.get(below, 0), far[node] + 1)
            uses[below] -= 1
            if uses[below] == 0:
                ready.append(below)
    return max(far.values())
