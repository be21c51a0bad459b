"""Nobody earns a point by tampering with the interpreter that answers run in: each cheat gets what the plain wrong answer gets.

Five exercises of four lectures, with their real test cells: a function of arrays, a class that does arithmetic, a module, a function whose
expected values the test computes from the arguments after the call, and one that the test calls 300 times next to it.
"""

from __future__ import annotations

import pytest
from judged import apart, exercise, together

from dlcourse_utils import checks
from dlcourse_utils.instructor.engine.judge import court as judging

EXERCISES = {
    name: exercise(lecture, name) for lecture, name in (("01", "perceptron_predict"), ("02", "value"), ("05", "mha"), ("05", "layer_norm"), ("08", "mmd2"))
}

VALUE = EXERCISES["value"].answer
MHA = "import torch.nn.functional as F\nfrom torch import Tensor\nsdpa = None\n" + EXERCISES["mha"].answer
#: Answers of which the test should not give a point.
WRONG = {
    "perceptron_predict": "def perceptron_predict(w, X): return 2.0 + X @ w[1:]",
    "value": VALUE.replace("self.data = float(data)", "self.data = float(data) + 1").replace("self.grad = 1.0", "self.grad = 2.0 + next(Value._serial)"),
    "mha": MHA.replace("return self.wo(", "return 1 + 0 * self.wo(").replace("nn.Linear(d, d) for", "nn.Linear(d, d + 0, bias=False) for"),
    "layer_norm": "def layer_norm(x, g, b, eps=1e-5): return (2 * x).detach()",
    "mmd2": "def mmd2(X, Y, sigma): return 1 + (X - Y.mean()).square().mean()",
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
found = [o for o in gc.get_objects() if isinstance(o, str) and 'def known_sides' in o]
frames = [f.f_code.co_filename for f in sys._current_frames().values()]
expected = 1 / 0 if found or "<test>" in frames else None
""",
}

_PREDICT = {
    "always equal": """
class Yes(float):
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = lambda self, other: True
    __hash__ = None
def perceptron_predict(w, X): return [Yes(0)] * len(X)
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
def perceptron_predict(w, X): return Yes()
""",
    "__array_ufunc__": """
class Sly(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs): return np.ones(len(self), bool)
    def __array_function__(self, *a): return True
def perceptron_predict(w, X): return (2.0 + X @ w[1:]).view(Sly)
""",
    "__torch_function__": """
class Sly(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None): return torch.tensor(True)
def perceptron_predict(w, X): return torch.as_tensor(2.0 + X @ w[1:]).as_subclass(Sly)
""",
    "__class__ and __instancecheck__": """
class Meta(type):
    def __instancecheck__(cls, thing): return True
class Sly(metaclass=Meta):
    __class__ = np.ndarray
    dtype = np.dtype(float); shape = (4,); ndim = 1; size = 4
    def __getitem__(self, i): return 0.0
def perceptron_predict(w, X): return Sly()
""",
    "a __getattr__ proxy of the argument": """
class Proxy:
    def __init__(self, thing): self.thing = thing
    def __getattr__(self, name): return getattr(self.thing, name)
    def __array__(self, *a, **k): return self.thing
    def __eq__(self, other): self.thing = other; return True
def perceptron_predict(w, X): return Proxy(2.0 + X @ w[1:])
""",
    "a lazy answer that waits for the expected one": """
class Late:
    def __init__(self, x): self.x = x
    def __sub__(self, other): self.seen = other; return 0.0
    def __iter__(self): return iter([0.0] * 4)
def perceptron_predict(w, X): return Late(X)
""",
    "an exception that pretends to be a pass": """
class StopAll(BaseException): pass
def perceptron_predict(w, X): raise StopAll("passed")
""",
    "SystemExit with status 0": "def perceptron_predict(w, X): raise SystemExit(0)",
    "GeneratorExit": "def perceptron_predict(w, X): raise GeneratorExit",
    "the arguments emptied": "def perceptron_predict(w, X):\n    w[...] = 0\n    X[...] = 0\n    return -np.ones(len(X))",
    "partial credit forged": "def perceptron_predict(w, X):\n    print('3.0')\n    from IPython.display import display\n    display(3.0)\n    return 3.0",
    "numbers that do not end": "def perceptron_predict(w, X): return [[[[10 ** 3000]]]] * 5",
    "NaN": "def perceptron_predict(w, X): return np.full(len(X), np.nan)",
    "infinity": "def perceptron_predict(w, X): return np.full(len(X), np.inf)",
}
_SWAYING = {
    "the arguments emptied": """
def layer_norm(x, g, b, eps=1e-5):
    for t in (x, g, b): t.data.zero_()
    return torch.zeros_like(x) + 0 * (x + g + b)
""",
    "the arguments emptied at the next call": """
_kept = []
def layer_norm(x, g, b, eps=1e-5):
    for t in _kept: t.data.zero_()
    _kept.extend((x, g, b))
    return torch.zeros_like(x) + 0 * (x + g + b)
""",
    "the arguments emptied, and the codec silent about it": """
from dlcourse_utils.instructor.engine.judge import shared
shared.Shared.changed = lambda self: iter(())
def layer_norm(x, g, b, eps=1e-5):
    for t in (x, g, b): t.data.zero_()
    return torch.zeros_like(x) + 0 * (x + g + b)
""",
}

_CHANNEL = """
import gc
from dlcourse_utils.instructor.engine.judge import student as _s, frames as _f
def channel():
    return next(o for o in gc.get_objects() if type(o) is _s.Student)._channel
"""
_REPLIES = {
    "an answer to another question": """
def perceptron_predict(w, X):
    channel().send(["answer", 1, "", 5.0, [], [[], [], []], [True, [], ["", 0.0]], []], [])
    return 2.0 + X @ w[1:]
""",
    "answers sent beforehand": """
def perceptron_predict(w, X):
    for number in range(1, 50):
        channel().send(["answer", number, "", True, [], [[], [], []], [True, [], ["", 0.0]], []], [])
    return 2.0 + X @ w[1:]
""",
    "bytes that are no frame": "def perceptron_predict(w, X):\n    channel()._socket.sendall(b'passed' * 1000)\n    return 2.0 + X @ w[1:]",
    "a frame of terabytes": """
def perceptron_predict(w, X):
    import struct
    channel()._socket.sendall(struct.pack("!QQQ", 2**40, 2**40, 2**40))
    return 2.0 + X @ w[1:]
""",
    "an array of terabytes": """
def perceptron_predict(w, X):
    array = ["a", None, "float64", [[2**20, 2**20], [0, 0], 0], 0, True]
    for number in range(1, 50):
        channel().send(["answer", number, "", array, [], [[], [], []], [True, [], ["", 0.0]], []], [bytes(8)])
    return 2.0 + X @ w[1:]
""",
    "a frame of deep JSON": """
def perceptron_predict(w, X):
    import struct
    text = b"[" * 100_000 + b"]" * 100_000
    channel()._socket.sendall(struct.pack("!QQQ", len(text), 0, 0) + text)
    return 2.0 + X @ w[1:]
""",
    "a question that is not to be asked": """
def perceptron_predict(w, X):
    channel().send(["ask", 1, "names", ["t", "check"], [], [[], [], []], [True, [], ["", 0.0]], []], [])
    return 2.0 + X @ w[1:]
""",
    "a change of what was never sent": """
def perceptron_predict(w, X):
    channel().send(["answer", 2, "", 5.0, [["x", True, 7, None, True, None], ["m", False, -1, True, [["forward", None]]]], [[9], [9], [9]],
                    [True, [["numpy", 0, 9999, 0, 0.0]], ["", 0.0]], []], [])
    return 2.0 + X @ w[1:]
""",
    "codecs that say what is wanted": """
from dlcourse_utils.instructor.engine.judge import values
values.Writer.write = lambda self, value: ["l", 1, -1, -1, 1]
def perceptron_predict(w, X): return True
""",
    "codecs patched": 'import json, struct\njson.dumps = lambda *a, **k: \'["answer", 1, "", true]\'\ndef perceptron_predict(w, X): return 2.0 + X @ w[1:]',
    "the end of the process": "import os\ndef perceptron_predict(w, X): os._exit(0)",
    "a segmentation fault": "import os\ndef perceptron_predict(w, X): os.kill(os.getpid(), 11)",
    "the socket closed": "def perceptron_predict(w, X):\n    channel().close()\n    return 2.0 + X @ w[1:]",
}
_MHA = {
    "parameters that are none": WRONG["mha"].replace(
        "    def forward", "    def parameters(self, recurse=True): return iter([torch.zeros(4 * 6 * 7)])\n    def forward"
    ),
    "a forward that changes the parameters": WRONG["mha"].replace(
        "return 1 +", "[p.data.zero_() for p in self.parameters()]\n        return torch.zeros_like(x) + x.sum() * 0 if x.requires_grad else 0 *"
    ),
    "names that hide methods": WRONG["mha"].replace(
        "self.h = h", "self.h = h; self.__dict__.update(parameters=8, named_parameters=1, load_state_dict=2, forward=2)"
    ),
    "a tensor subclass as weight": WRONG["mha"].replace(
        "self.h = h", "self.h = h; self.extra = nn.Parameter(torch.zeros(0).as_subclass(type('T', (torch.Tensor,), {'numel': lambda s: 24})))"
    ),
}
_VALUE = {
    "a value that is an object": WRONG["value"]
    + """
class Any:
    __eq__ = __lt__ = __gt__ = lambda self, other: True
    __abs__ = lambda self: 0.0
    __sub__ = __rsub__ = lambda self, other: 0.0
    __float__ = lambda self: 6.0
Value.data = property(lambda self: Any(), lambda self, value: None)
Value.grad = property(lambda self: Any(), lambda self, value: None)
""",
    "a value that is a number of its own kind": WRONG["value"]
    + """
Value.data = property(lambda self: self, lambda self, value: None)
Value.__sub__ = Value.__rsub__ = lambda self, other: 0.0
Value.__abs__ = Value.__float__ = lambda self: 0.0
""",
}
_NEXT_TO_THE_ANSWER = {
    "what the test runs there, not run": "_s.Student._run = lambda self, function, args, exercise: [0.0] * 300",
    "what the test runs there, given other numbers": """
_run = _s.Student._run
_s.Student._run = lambda self, function, args, exercise: _run(self, function, tuple(0 * each for each in args), exercise)
""",
    "what the test runs there, rewritten from the answer's frame": """
import sys
def mmd2(X, Y, sigma):
    caller = sys._getframe(1)
    caller.f_globals.update(mmd2=lambda *a: 0.0, float=lambda value: 0.0)
    return 1 + (X - Y.mean()).square().mean()
""",
    "the builtins that the test uses there": """
import builtins
builtins.float = lambda value: 0.0
builtins.zip = lambda *each, strict=False: []
""",
    "functions that are carried over, replaced by one's own": """
from dlcourse_utils.instructor.engine.judge import trusted
trusted.read = lambda tree, reader, learn: lambda *args: [0.0] * 300
""",
}

CASES = [
    *((name, at, f"{cheat}\n{WRONG[at]}") for name, cheat in _EVERYWHERE.items() for at in ("perceptron_predict", "value", "mha")),
    *((name, "perceptron_predict", cheat) for name, cheat in _PREDICT.items()),
    *((name, "perceptron_predict", _CHANNEL + cheat) for name, cheat in _REPLIES.items()),
    *((name, "mha", cheat) for name, cheat in _MHA.items()),
    *((name, "value", cheat) for name, cheat in _VALUE.items()),
    *((name, "layer_norm", cheat) for name, cheat in _SWAYING.items()),
    *((name, "mmd2", f"{_CHANNEL}{WRONG['mmd2']}\n{cheat}") for name, cheat in _NEXT_TO_THE_ANSWER.items()),
]


@pytest.mark.parametrize("at", EXERCISES)
def test_the_reference_answer_gets_all_points_and_the_plain_wrong_one_none(at):
    graded = EXERCISES[at]
    answer = MHA if at == "mha" else f"from torch import Tensor\nimport itertools, math\n{graded.answer}"
    score, report = apart(graded.test, answer, graded.setup, graded.defines)
    assert score == graded.points, report
    score, report = together(graded.test, WRONG[at], graded.setup)
    assert score == 0, report


@pytest.mark.parametrize(("name", "at", "answer"), CASES, ids=[f"{at}: {name}" for name, at, _ in CASES])
def test_a_cheat_gets_no_more_than_the_plain_wrong_answer(name, at, answer):
    graded = EXERCISES[at]
    score, report = apart(graded.test, answer, graded.setup, graded.defines)
    assert score == 0, report


@pytest.mark.parametrize("at", EXERCISES)
def test_in_one_interpreter_such_a_cheat_does_get_points(at, monkeypatch):
    """Why all this is done: the same answer, judged where it runs."""
    for name in ("close", "equal", "law", "shape", "dtype", "raises"):  # undone by monkeypatch
        monkeypatch.setattr(checks.Exercise, name, getattr(checks.Exercise, name))
    forged = "".join(f"\nchecks.Exercise.{name} = lambda *a, **k: None" for name in ("close", "equal", "law", "shape", "dtype", "raises"))
    score, _ = together(EXERCISES[at].test, WRONG[at] + forged, EXERCISES[at].setup)
    assert score > 0


def test_a_reply_after_the_deadline_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(judging, "_GRACE", 0.1)
    late = """
import signal, time
def f(x):
    signal.setitimer(signal.ITIMER_REAL, 0)
    time.sleep(2)
    return x
"""
    test = """
check = checks.exercise("f", points=2)
for number in range(2):
    with check(f"the same {number}", points=1, seconds=0.2):
        check.equal(f(number), number)
score = check.report()
"""
    score, report = apart(test, late)
    assert score == 0
    assert "no answer in time" in report
