"""Judges of lesson 2: the number of paths, a right order, the depth of a graph."""

from checkers.judging import Open, Wrong, agree, exercise

#: Exercise 2: node -> the nodes it was made of.
GRAPH = {"f": "de", "e": "cc", "d": "ac", "c": "ab", "b": "", "a": ""}


@exercise
def paths(answer):
    """2^n: each diamond doubles them."""
    mistakes = {
        "Each diamond doubles the paths that there were; it does not add two.": [0, 2, 6, 20],
        "No diamond, one path: just stay. You are one doubling too far.": [2, 4, 16, 2048],
        "One diamond has two paths. You are one doubling short.": [0.5, 1, 4, 512],
        "These are visits; one path visits several nodes. Count whole paths.": [1, 3, 15, 2047],
    }
    got = [answer(n) for n in (0, 1, 3, 10)]
    agree("paths(n) for n = 0, 1, 3, 10", got, [1, 2, 8, 1024], mistakes=mistakes)


@exercise
def order(answer):
    """Each node after all of its users."""
    if answer is None:
        raise Open
    answer = "".join(answer).replace(" ", "").replace(",", "")
    if sorted(answer) != sorted(GRAPH):
        raise Wrong(f"each of the six goes once: a, b, c, d, e, f; you have {answer!r}")
    if answer[0] != "f":
        raise Wrong(f"the walk goes backwards: it starts at the result f, not at {answer[0]}")
    for n, name in enumerate(answer):
        late = [user for user in answer[n:] if name in GRAPH[user]]
        if late:
            raise Wrong(f"{name} goes before {late[0]}, which uses it and still owes it a share")


class Stub:
    """A node without an operation: its arrows, and room for whoever writes to it."""

    def __init__(self, *below):
        self.value, self.slope = 0.0, 0.0
        self.arrows = [(node, 1.0) for node in below]


@exercise
def depth(answer):
    """The longest path, in arrows."""
    leaf = Stub()
    agree("the depth of a single node", answer(leaf), 0, mistakes={
        "Count arrows, not nodes.": 1})  # fmt: skip
    short, root = Stub(leaf), leaf
    for _ in range(3):
        root = Stub(root)
    mistakes = {
        "That is the shortest path; send the larger of the two depths on.": 2,
        "Count arrows, not nodes.": 5,
        "Those are all arrows that were followed; only the longest path counts.": 6,
    }
    what = "the depth of a graph with one path of 2 arrows and one of 4"
    agree(what, answer(Stub(short, root)), 4, mistakes=mistakes)
    agree("and with the two paths exchanged, it", answer(Stub(root, short)), 4, mistakes=mistakes)
    for _ in range(5000):
        leaf = Stub(leaf)
    agree("the depth of 5000 arrows in a row", answer(leaf), 5000)
