"""Pickles that a hostile author would write by hand: small files that hang, or fill the memory."""

import random
import struct

LIST, TUPLE, POP = b"]", b"t", b"0"


def integer(n):
    return b"J" + struct.pack("<i", n)


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s


def array(shape, raw, code=b"u1", order=b"\x89"):
    """An array, as NumPy 1 writes it: instructions for its shape and its bytes, not checked."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01" + shape
        + b"cnumpy\ndtype\n(" + text(code) + b"\x89\x88tR(K\x03\x8c\x01|NNN" + integer(-1) * 2
        + b"K\x00tb" + order + raw + b"tb"
    )  # fmt: skip


def images(row):
    """One black image of `row` bytes."""
    return array(integer(1) + integer(row) + b"\x86", b"B" + struct.pack("<I", row) + bytes(row))


def batch(labels, image, key=b"labels"):
    """A file with one image and these labels."""
    return b"\x80\x04}(" + text(b"data") + image + text(key) + labels + b"u."


def lists(levels):
    """10^levels lists by 10 instructions for each level: every one holds the last one ten times."""
    out = b"]q\x00"
    for k in range(1, levels + 1):
        out += POP + b"]q%c(" % k + b"h%c" % (k - 1) * 10 + b"e"
    return out


def tuples(levels):
    """2^levels tuples in the same way."""
    out = b"K\x01q\x00"
    for k in range(1, levels + 1):
        out += POP + b"(" + b"h%c" % (k - 1) * 2 + b"tq%c" % k
    return out


def encoded(times, codec=b"hex_codec"):
    """A string that is encoded again and again; each time it doubles."""
    out = b"C\x10" + b"a" * 16
    for _ in range(times):
        out = b"c_codecs\nencode\n(" + out + text(codec) + b"tR"
    return out


def cases(row, key=b"labels"):
    """Name -> file, for images of `row` bytes."""
    one = images(row)
    long = struct.pack("<I", 1 << 31)
    return {
        "a place in the memory of 2^26": b"\x80\x02]r" + struct.pack("<I", 1 << 26) + b".",
        "another, of 2^32 - 1, in text": b"\x80\x02]p4294967295\n.",
        "hex of hex of hex": b"\x80\x04" + encoded(40) + b".",
        "latin1 of latin1": batch(b"](" + encoded(40, b"latin1") + b"e", one, key),
        "10^30 lists for a label": batch(b"]" + lists(30) + b"a", one, key),
        "2^60 tuples for a label": batch(b"]" + tuples(60) + b"a", one, key),
        "2^60 tuples for a shape": batch(b"](K\x01e", array(tuples(60), b"C\x00"), key),
        "2^60 tuples for a codec":
            b"\x80\x04c_codecs\nencode\n(" + text(b"a") + tuples(60) + b"tR.",
        "2^60 tuples for a name": b"\x80\x04" + tuples(60) + text(b"numpy") + b"\x93.",
        "a list that holds itself": batch(b"]q\x00(h\x00h\x00e", one, key),
        "10^30 lists for the names": b"\x80\x02}" + text(b"label_names") + b"(" + lists(30)
            + b"K\x01" * 9 + b"ls.",
        "a label 100,000 lists deep": batch(b"]" + b"]" * 100000 + b"a" * 99999 + b"a", one, key),
        "100,000 open marks": batch(b"(" * 100000, one, key),
        "a label of 9,600 digits": batch(b"]\x8b" + struct.pack("<I", 4000) + b"\x7f" * 4000 + b"a",
                                         one, key),
        "the same in text": batch(b"]L" + b"9" * 9600 + b"L\na", one, key),
        "a label of 4000 bytes": batch(b"]" + text(b"x" * 4000) + b"a", one, key),
        "2^40 tuples for a key": b"\x80\x02}(" + tuples(40) + b"K\x01u.",
        "a key of 60,000 letters": b"\x80\x02}(" + text(b"k" * 60000) + b"K\x01u.",
        "20,000 wrong keys": b"\x80\x02}(" + b"".join(
            text(b"key %d" % k) + b"K\x01" for k in range(20000)) + b"u.",
        "a megabyte that is no text": b"\x80\x04}" + text(b"data") + text(b"\xff" * (1 << 20))
            + b"s.",
        "a name of a megabyte": b"\x80\x04c" + b"a" * (1 << 20) + b"\nb\n.",
        "a name of 50,000 letters": b"\x80\x04cnumpy\n" + b"b" * 50000 + b"\n.",
        "an array without axes": batch(b"]K\x01a", array(b")", b"C\x01a"), key),
        "an array of 2^93 bytes": batch(b"]K\x01a", array(integer(2**31 - 1) * 3 + b"\x87",
                                                          b"C\x01a"), key),
        "an array of -1 images": batch(b"]", array(integer(-1) + integer(row) + b"\x86",
                                                   b"C\x00"), key),
        "2^31 bytes that are not there": batch(b"]K\x01a", array(
            integer(1) + integer(row) + b"\x86", b"B" + long), key),
        "a text of 2^31 bytes that is not there": b"\x80\x04X" + long + b".",
        "300,000 lists that are kept": b"\x80\x02" + b"".join(
            b"]r" + struct.pack("<I", k) for k in range(300000)) + b".",
        "3,000,000 instructions": b"\x80\x02" + b"N" * 3000000 + b".",
        "2,000,000 lists": b"\x80\x02" + b"]" * 2000000 + b".",
        "a buffer that is elsewhere": batch(b"]K\x01a", b"\x97", key),
        "one text, encoded 300,000 times": b"\x80\x02(" + text(b"a" * 60000) + b"q\x00"
            + b"c_codecs\nencode\nq\x01" + text(b"latin1") + b"q\x02"
            + b"h\x01h\x00h\x02\x86R" * 300000 + b"l.",
        "a call of numpy.ndarray": b"\x80\x02cnumpy\nndarray\n" + integer(1 << 30) + b"\x85R.",
        "floats for labels": batch(b"](Finf\nF1e999\ne", one, key),
    }  # fmt: skip


def hostile(seed, row, key=b"labels"):
    """One more, drawn by `seed`: pieces of the cases in any order, in the middle of a good file."""
    rng = random.Random(seed)
    whole = list(cases(row, key).values())
    good = batch(b"](K\x01e", images(row), key)
    for _ in range(rng.randint(1, 4)):
        piece = rng.choice([*whole, lists(9), tuples(20), encoded(3), b"0", b"(", b"]", b"R", b"b"])
        start = rng.randrange(len(piece))
        piece = piece[start : start + rng.choice([1, 4, 30, 1000, len(piece)])]
        place = rng.randrange(len(good))
        good = good[:place] + piece * rng.choice([1, 1, 1, 5]) + good[place + rng.choice([0, 4]) :]
    return good
