"""Nobody earns a point by tampering with the interpreter that answers run in: each cheat gets what the plain wrong answer gets."""

from __future__ import annotations

import pytest
from judged import apart, together

SETUP = "corners = np.array([[0.0, 0.0], [3.0, 4.0]])"

#: Three exercises: a function of arrays, a module, a class that does arithmetic.
LENGTHS = """
check = checks.exercise("lengths", points=2)
with check("by hand", points=1):
    check.close(lengths(corners), [0.0, 5.0])
with check("fresh", points=1):
    x = check.rng.normal(size=(5, 3))
    got = lengths(x)
    check.shape(got, (5,))
    check.law(np.all(got > 0), "lengths are positive")
    check.law(abs(float(got[0]) - float(np.linalg.norm(x[0]))) < 1e-9, "the first length")
    check.close(got, np.linalg.norm(x, axis=1))
score = check.report()
"""
LAYER = """
check = checks.exercise("Layer", points=2)
with check("parameters", points=1):
    layer = Layer(3, 2)
    check.equal(sum(p.numel() for p in layer.parameters()), 8)
with check("agrees with torch", points=1):
    x = torch.randn(4, 3, generator=check.gen)
    want = torch.nn.functional.linear(x, layer.weight, layer.bias).relu()
    check.close(layer(x), want)
    check.law(torch.allclose(layer(x), want), "the same by torch.allclose")
score = check.report()
"""
NUMBER = """
check = checks.exercise("Number", points=1)
with check("sums", points=1):
    a, b = Number(2.0), Number(5.0)
    got = (a + b * 2).value
    check.law(abs(got - 12) < 1e-9, "2 + 5 * 2 is 12")
    check.equal(got, 12.0)
score = check.report()
"""
TESTS = {"lengths": LENGTHS, "Layer": LAYER, "Number": NUMBER}

RIGHT = {
    "lengths": "def lengths(x): return np.sqrt((x ** 2).sum(1))",
    "Layer": """
class Layer(nn.Module):
    def __init__(self, d, m):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(m, d)), nn.Parameter(torch.zeros(m))
    def forward(self, x): return (x @ self.weight.T + self.bias).relu()
""",
    "Number": """
class Number:
    def __init__(self, value): self.value = value
    def __add__(self, other): return Number(self.value + other.value)
    def __mul__(self, k): return Number(self.value * k)
""",
}
WRONG = {
    "lengths": "def lengths(x): return x.sum(1)",
    "Layer": RIGHT["Layer"].replace(".relu()", ".relu() + 1"),
    "Number": RIGHT["Number"].replace("self.value * k", "self.value + k"),
}

_EVERYWHERE = {
    "torch.allclose and friends patched": """
import numpy.testing
torch.allclose = torch.equal = lambda *a, **k: True
np.allclose = np.array_equal = lambda *a, **k: True
np.isclose = lambda a, b, **k: np.ones(np.shape(a), bool)
numpy.testing.assert_allclose = lambda *a, **k: None
""",
    "the checks patched": """
import sys
from dlcourse_utils.checks import compare, outcome
exercise = sys.modules["dlcourse_utils.checks.exercise"]
exercise.Exercise.close = exercise.Exercise.equal = exercise.Exercise.law = exercise.Exercise.shape = lambda *a, **k: None
exercise.difference = compare.difference = lambda *a, **k: None
outcome.CheckFailed = type("Never", (Exception,), {})
""",
    "the report forged": """
import sys
exercise = sys.modules["dlcourse_utils.checks.exercise"]
exercise.Exercise.report = lambda self: exercise.Score(self.points)
exercise.Score = lambda value: 99.0
print = lambda *a, **k: None
""",
    "assertions and builtins patched": """
import builtins
builtins.abs = lambda x: 0.0
builtins.all = builtins.isinstance = lambda *a: True
AssertionError = type("Never", (Exception,), {})
""",
    "an import hook and a trace": """
import sys
sys.settrace(lambda frame, event, arg: None)
sys.modules["numpy"].linalg.norm = lambda *a, **k: 0.0
""",
    "a thread that patches later": """
import threading, time
def later():
    time.sleep(0.05)
    np.allclose = lambda *a, **k: True
threading.Thread(target=later, daemon=True).start()
""",
    "an input transformer and a display hook": """
import ast, sys
class NoAsserts(ast.NodeTransformer):
    def visit_With(self, node): return None
sys.displayhook = lambda value: None
compile = lambda *a, **k: None
""",
    "the source of the test looked for": """
import gc, sys
found = [o for o in gc.get_objects() if isinstance(o, str) and 'check.rng.normal' in o]
frames = [f.f_code.co_filename for f in sys._current_frames().values()]
expected = 1 / 0 if found or "<test>" in frames else None
""",
}

_LENGTHS = {
    "always equal": """
class Yes(float):
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = lambda self, other: True
    __hash__ = None
def lengths(x): return [Yes(0)] * len(x)
""",
    "an object with every answer": """
class Yes:
    def __getattr__(self, name): return lambda *a, **k: Yes()
    __eq__ = __lt__ = __gt__ = lambda self, other: True
    __bool__ = lambda self: True
    __sub__ = __rsub__ = lambda self, other: 0.0
    __float__ = lambda self: 0.0
    __abs__ = lambda self: 0.0
    def __getitem__(self, i): return self
    def __len__(self): return 5
    def __array__(self, *a, **k): return np.zeros(5)
def lengths(x): return Yes()
""",
    "__array_ufunc__": """
class Sly(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs): return np.ones(len(self), bool)
    def __array_function__(self, *a): return True
def lengths(x): return x.sum(1).view(Sly)
""",
    "__torch_function__": """
class Sly(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None): return torch.tensor(True)
def lengths(x): return torch.as_tensor(x.sum(1)).as_subclass(Sly)
""",
    "__class__ and __instancecheck__": """
class Meta(type):
    def __instancecheck__(cls, thing): return True
class Sly(metaclass=Meta):
    __class__ = np.ndarray
    dtype = np.dtype(float); shape = (5,); ndim = 1; size = 5
    def __getitem__(self, i): return 0.0
def lengths(x): return Sly()
""",
    "a lazy answer that waits for the expected one": """
class Late:
    def __init__(self, x): self.x = x
    def __sub__(self, other): self.seen = other; return 0.0
    def __iter__(self): return iter([0.0] * 5)
def lengths(x): return Late(x)
""",
    "an exception that pretends to be a pass": """
from dlcourse_utils.checks.outcome import TimeUp
class StopAll(BaseException): pass
def lengths(x): raise StopAll("passed")
""",
    "SystemExit with status 0": "def lengths(x): raise SystemExit(0)",
    "GeneratorExit": "def lengths(x): raise GeneratorExit",
    "the argument emptied": "def lengths(x):\n    x[...] = 0\n    return np.zeros(len(x))",
    "numbers that do not end": "def lengths(x): return [[[[10 ** 3000]]]] * 5",
    "NaN": "def lengths(x): return np.full(len(x), np.nan)",
    "infinity": "def lengths(x): return np.full(len(x), np.inf)",
}

_CHANNEL = """
import gc
from dlcourse_utils.instructor.engine.judge import student as _s, frames as _f
def channel():
    return next(o for o in gc.get_objects() if type(o) is _s.Student)._channel
"""
_REPLIES = {
    "an answer to another question": """
def lengths(x):
    channel().send(["answer", 1, "", 5.0, [], [[], [], []], [True, [], ["", 0.0]], []], [])
    return x.sum(1)
""",
    "answers sent beforehand": """
def lengths(x):
    for number in range(1, 50):
        channel().send(["answer", number, "", True, [], [[], [], []], [True, [], ["", 0.0]], []], [])
    return x.sum(1)
""",
    "bytes that are no frame": "def lengths(x):\n    channel()._socket.sendall(b'passed' * 1000)\n    return x.sum(1)",
    "a frame of terabytes": "import struct\ndef lengths(x):\n    channel()._socket.sendall(struct.pack('!QQQ', 2**40, 2**40, 2**40))\n    return x.sum(1)",
    "a frame of deep JSON": """
def lengths(x):
    import struct
    text = b"[" * 100_000 + b"]" * 100_000
    channel()._socket.sendall(struct.pack("!QQQ", len(text), 0, 0) + text)
    return x.sum(1)
""",
    "a question that is not to be asked": """
def lengths(x):
    channel().send(["ask", 1, "names", ["t", "check"], [], [[], [], []], [True, [], ["", 0.0]], []], [])
    return x.sum(1)
""",
    "a change of what was never sent": """
def lengths(x):
    channel().send(["answer", 2, "", 5.0, [["x", True, 7, None, True, None], ["m", False, -1, True, [["forward", None]]]], [[9], [9], [9]],
                    [True, [["numpy", 0, 9999, 0, 0.0]], ["", 0.0]], []], [])
    return x.sum(1)
""",
    "codecs patched": 'import json, struct\njson.dumps = lambda *a, **k: \'["answer", 1, "", true]\'\ndef lengths(x): return x.sum(1)',
    "the end of the process": "import os\ndef lengths(x): os._exit(0)",
    "a segmentation fault": "import os\ndef lengths(x): os.kill(os.getpid(), 11)",
    "the socket closed": "def lengths(x):\n    channel().close()\n    return x.sum(1)",
}
_LAYER = {
    "parameters that are none": RIGHT["Layer"]
    .replace("def forward", "def parameters(self, recurse=True): return iter([torch.zeros(8)])\n    def forward")
    .replace(".relu()", ".relu() + 1"),
    "a forward that is called with the parameters": RIGHT["Layer"].replace(
        "def forward(self, x): return (x @ self.weight.T + self.bias).relu()",
        "def forward(self, x):\n        with torch.no_grad(): self.weight.zero_(); self.bias.fill_(-1)\n        return torch.zeros(len(x), 2)",
    ),
    "names that hide methods": WRONG["Layer"].replace(
        "super().__init__()", "super().__init__(); self.__dict__.update(parameters=8, named_parameters=1, forward=2)"
    ),
    "a tensor subclass as weight": WRONG["Layer"].replace(
        "nn.Parameter(torch.randn(m, d))", "nn.Parameter(torch.randn(m, d).as_subclass(type('T', (torch.Tensor,), {'numel': lambda s: 6})))"
    ),
}
_NUMBER = {
    "a value that is an object": WRONG["Number"]
    + """
class Any:
    __eq__ = __lt__ = lambda self, other: True
    __abs__ = lambda self: 0.0
    __sub__ = lambda self, other: 0.0
Number.value = property(lambda self: Any(), lambda self, value: None)
""",
    "a value that is a number of its own kind": RIGHT["Number"]
    .replace("self.value = value", "self.x = value")
    .replace("self.value", "self.x")
    .replace("other.value", "other.x")
    + "\nNumber.value = property(lambda self: self)\nNumber.__sub__ = lambda self, other: 0.0\nNumber.__abs__ = lambda self: 0.0\n",
}

CASES = [
    *((name, exercise, f"{cheat}\n{WRONG[exercise]}") for name, cheat in _EVERYWHERE.items() for exercise in TESTS),
    *((name, "lengths", cheat) for name, cheat in _LENGTHS.items()),
    *((name, "lengths", _CHANNEL + cheat) for name, cheat in _REPLIES.items()),
    *((name, "Layer", cheat) for name, cheat in _LAYER.items()),
    *((name, "Number", cheat) for name, cheat in _NUMBER.items()),
]


@pytest.mark.parametrize("exercise", TESTS)
def test_a_right_answer_gets_all_points(exercise):
    score, report = apart(TESTS[exercise], RIGHT[exercise], SETUP)
    assert score == {"lengths": 2, "Layer": 2, "Number": 1}[exercise], report


@pytest.mark.parametrize(("name", "exercise", "answer"), CASES, ids=[f"{exercise}: {name}" for name, exercise, _ in CASES])
def test_a_cheat_gets_no_more_than_the_plain_wrong_answer(name, exercise, answer):
    deserved, _ = together(TESTS[exercise], WRONG[exercise], SETUP)
    score, report = apart(TESTS[exercise], answer, SETUP)
    assert score <= deserved, report


@pytest.mark.parametrize("exercise", TESTS)
def test_in_one_interpreter_such_a_cheat_does_get_points(exercise, monkeypatch):
    """Why all this is done: the same answer, judged where it runs."""
    from dlcourse_utils.checks.exercise import Exercise

    for name in ("close", "equal", "law", "shape"):  # undone by monkeypatch
        monkeypatch.setattr(Exercise, name, getattr(Exercise, name))
    forged = "from dlcourse_utils.checks.exercise import Exercise\nExercise.close = Exercise.equal = Exercise.law = lambda *a, **k: None\n"
    score, _ = together(TESTS[exercise], forged + WRONG[exercise], SETUP)
    assert score == {"lengths": 2, "Layer": 2, "Number": 1}[exercise]
