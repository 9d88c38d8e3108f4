"""What models may raise and return, by the number that they are asked for, and the classes that it takes."""

from __future__ import annotations

# What a model may raise, by the number that it is asked for, and what its caller reads of that.
RAISED = {
    1: ("raise KeyboardInterrupt('stop')", "KeyboardInterrupt: stop"),
    2: ("raise GeneratorExit", "GeneratorExit"),
    3: ("raise SystemExit(3)", "SystemExit: 3"),
    4: ("raise asyncio.CancelledError", "CancelledError"),
    5: ("raise ValueError('a\\ud800b')", r"ValueError: a\ud800b"),
    6: ("raise ValueError('a\\0b\\x1b[2J\\u202ec\\nd')", "ValueError: a\\x00b\\x1b[2J\\u202ec\nd"),
    7: ("raise ValueError('m' * 10_000_000)", "mmm... (shortened)"),
    8: ("raise ValueError('\\U0001f600' * 1_000)", "\U0001f600... (shortened)"),
    9: ("raise Odd(lambda: 1 / 0)", "Odd: its text cannot be read (ZeroDivisionError)"),
    10: ("raise Odd(lambda: 7)", "Odd: its text cannot be read (TypeError)"),
    11: ("raise Odd(lambda: sys.exit())", "Odd: its text cannot be read (SystemExit)"),
    12: ("raise Odd(lambda: again(0))", "Odd: its text cannot be read (RecursionError)"),
    13: ("raise Odd(lambda: Text('hello'))", "Odd: hello"),
    14: ("again(0)", "RecursionError: maximum recursion depth exceeded"),
    15: ("raise Odd(lambda: 'late', late=True)", "Odd: late"),
    16: ("raise Meta('a', (Exception,), {})('nameless')", "a: nameless"),
    17: ("raise StopIteration(4)", "StopIteration: 4"),
    18: ("raise KeyError('y')", "KeyError: 'y'"),
    19: ("raise ValueError", "ValueError"),
    20: ("raise MemoryError", "MemoryError"),
    21: ("raise OSError(os.fork() * 0, 'both sides of it')", "OSError: [Errno 0] both sides of it"),
}
# What it may return in place of {"y": an array like its input, "t": strings of the same shape}.
RETURNED = {
    1: ("None", "predict returned a NoneType; a dict of arrays is expected"),
    2: ("(a for a in 'yt')", "predict returned a generator; a dict of arrays is expected"),
    3: ("{1: x, b'y': x, None: x}", "output 'y' is missing from the model's answer"),
    4: ("{Same('y'): x, 't': t}", "KeyboardInterrupt: compared"),
    5: ("{'y': x.astype(np.int64), 't': t}", "output 'y': expected int [{}1], got long [{}1]"),
    6: ("{'y': x.astype(np.float32) * np.nan, 't': t}", "output 'y': expected int [{}1], got float [{}1]"),
    7: ("{'y': x.astype(object), 't': t}", "output 'y': expected int [{}1], got string [{}1]"),
    8: ("{'y': x.astype('>i4'), 't': t}", "output 'y': expected int [{}1], got >i4 [{}1]"),
    9: ("{'y': np.concatenate([x, x]), 't': t}", "output 'y': expected int [{}1], got int"),
    10: ("{'y': x[..., None], 't': t}", "output 'y': expected int [{}1], got int [{}1, 1]"),
    11: ("{'y': [x, [x]], 't': t}", "output 'y': expected int [{}1], got a Python list"),
    12: ("{'y': Liar(x), 't': t}", "output 'y': expected int [{}1], got a Python Liar"),
    13: ("Broken(y=x, t=t)", "SystemExit: items"),
    14: (
        "{'y': x, 't': np.full(t.shape, 'a\\ud800')}",
        r"output 't': '\ud800' is half of a pair, and cannot be UTF-8",
    ),
    15: ("{'y': x, 't': x}", "output 't': expected string [{}1], got int [{}1]"),
    16: ("{'y': x, 't': np.full(t.shape, None)}", "expected str or bytes, got a NoneType"),
    17: ("{'y': twice.view(Armed), 't': t}", None),
    18: ("{'y': twice, 't': texts(t.shape)}", None),
    19: ("{'y': twice, 't': t, 3: x, Same('z'): 4}", None),
    20: ("{'y': twice.view(Shaped), 't': t}", "KeyboardInterrupt: a shape"),
    21: ("{'y': twice + np.int32(os.fork() * 0), 't': t}", None),
}
ODD = """
import asyncio
import os


def again(n):
    return again(n + 1)


class Odd(Exception):
    def __init__(self, text, late=False):
        self.text, self.late = text, late

    def __str__(self):
        return self.text()

    def __del__(self):
        if self.late:
            raise KeyboardInterrupt("while it is deleted")


class Text(str):
    def refuse(self, *a, **k):
        raise SystemExit("a method of a text")

    __format__ = __getitem__ = __len__ = __iter__ = __str__ = __add__ = __eq__ = encode = refuse
    __hash__ = str.__hash__


def texts(shape):
    made = np.empty(shape, object)
    for place in np.ndindex(shape):
        made[place] = Text("a")
    return made


class Meta(type):
    __name__ = property(lambda cls: 1 / 0)


class Same(str):
    def __eq__(self, other):
        raise KeyboardInterrupt("compared")

    __hash__ = str.__hash__


class Liar:
    __class__ = np.ndarray

    def __init__(self, array):
        self.dtype, self.shape = array.dtype, array.shape


class Broken(dict):
    def refuse(self, *a):
        raise SystemExit("items")

    __getitem__ = __contains__ = items = keys = refuse


class Size(tuple):
    def refuse(self, *a):
        raise KeyboardInterrupt("a shape")

    __eq__ = __getitem__ = __hash__ = __iter__ = __len__ = refuse


class Armed(np.ndarray):
    def refuse(self, *a, **k):
        raise KeyboardInterrupt("a method of an array")

    __array_function__ = __array_ufunc__ = __getitem__ = copy = ravel = tolist = reshape = refuse


class Shaped(Armed):
    shape = property(lambda self: Size((1,)))


class It(Model):"""

# Bodies of predict: what a negative number asks for; a positive one is answered with its double.
_START = 'x = inputs["x"]\nwhat = -int(x.min())\nt, twice = x.astype(str), x * np.int32(2)\n'
RAISING = _START + "".join(f"if what == {n}:\n    {code}\n" for n, (code, _) in RAISED.items())
RAISING += 'return {"y": twice}'
RETURNING = _START + "assert what < 17 or x.size == 1, 'a batch would get all that the answer for one is'\n"
RETURNING += "".join(f"if what == {n}:\n    return {code}\n" for n, (code, _) in RETURNED.items())
RETURNING += 'return {"y": twice, "t": t}'
