"""What lectures need works across: the same test gives the same score and the same words in one interpreter and in two."""

from __future__ import annotations

import os

import pytest
from judged import apart, court, together

HEAD = 'check = checks.exercise("f", points=1)\n'
TAIL = "\nscore = check.report()"


def block(body: str, use: str = "", options: str = "") -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f'{HEAD}{use}\nwith check("it works", points=1{options}):\n{lines}{TAIL}'


NUMBERS = "1, 2.5, True, None, 2 ** 70, 1j, np.float32(0.5), np.int64(3), float('nan'), -0.0"
KINDS = f"[{NUMBERS}, 'é', (1, [2]), {{'a': {{3: 4}}}}, {{1, 2}}, b'x', slice(1, 2), torch.float16]"

CASES = {
    "an array that is not contiguous": (
        "def f(x): return x.flags.c_contiguous, x.strides",
        block("check.equal(f(np.arange(6.0).reshape(2, 3).T), (False, (8, 24)))"),
    ),
    "an argument changed in place": (
        """
def f(x):
    x += 1
    return x
""",
        block("""
x = np.zeros(3)
with check.no_side_effects(x):
    f(x)
"""),
    ),
    "a list of arrays that an object keeps and changes": (
        """
class f:
    def __init__(self, p): self.p = p
    def step(self):
        for x in self.p: x -= 1
""",
        block("""
p = [torch.ones(2), np.ones(2)]
o = f(p)
o.step()
o.step()
check.close(p, [[-1.0, -1.0], [-1.0, -1.0]])
"""),
    ),
    "a loop around the answer": (
        "def f(x): return 2 * x",
        block("""
def doubled(values, n):
    for _ in range(n):
        values = f(values)
    return values
check.close(check.run(doubled, torch.ones(3), 10), torch.full((3,), 1024.0))
"""),
    ),
    "a wrong answer in a loop": ("def f(x): return x + 1", block("check.close(check.run(lambda n: [f(k) for k in range(n)], 4), [0, 1, 2, 3])")),
    "an error in a loop": ("def f(x): return 1 / x", block("check.run(lambda n: [f(k) for k in range(n)], 4)")),
    "nothing written in a loop": ("def f(x): raise NotImplementedError", block("check.run(lambda n: [f(k) for k in range(n)], 4)")),
    "a loop with a function that it is given": (
        "def f(g, x): return g(x)",
        block("""
def each(g, h):
    return [f(g, h(k)) for k in range(3)]
check.equal(check.run(each, lambda k: k * k, lambda k: k + 1), [1, 4, 9])
"""),
    ),
    "an array of the test's that is changed in a loop": (
        """
def f(x):
    x += 1
    return x.sum()
""",
        block("check.run(lambda x: [f(x) for _ in range(3)], np.zeros(3))"),
    ),
    "an array of the loop's own that is changed": (
        """
def f(y, x):
    x += 1
    return x.sum()
""",
        block("""
def sums():
    return [f(0, torch.zeros(3)) for _ in range(3)]
check.run(sums)
"""),
    ),
    "a loop inside a loop's function that changes its argument": (
        """
class F:
    def add(self, x):
        x += 1
""",
        block("""
def once(thing):
    thing.add(torch.zeros(2))
def often(thing):
    for _ in range(3):
        once(thing)
check.run(often, F())
"""),
    ),
    "a function with an attribute that is called like something else": (
        "def f(x): return x",
        block("""
kept = data = []
check.close(check.run(lambda x: f(x).data.add(1), torch.ones(2)), [2.0, 2.0])
"""),
    ),
    "a class that stands in for an answer, and is named in a loop": (
        "class F: pass\ndef f(): return [F(), F()]",
        block("check.equal(check.run(lambda: [isinstance(each, F) for each in f()]), [True, True])", use="class Own: pass\ncheck.use(F=Own)"),
    ),
    "a module of the test's own class, which stands in for an answer": (
        "class Norm(nn.Module): pass\ndef f(model): return [isinstance(part, Norm) for part in model], [part(torch.ones(2)) for part in model]",
        block(
            "kinds, outputs = f(nn.Sequential(Own(), nn.Identity()))\ncheck.equal(kinds, [True, False])\ncheck.close(outputs, [[3.0, 3.0], [1.0, 1.0]])",
            use="""
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((2,), 3.0))
    def forward(self, x):
        return self.weight * x
check.use(Norm=Own)
""",
        ),
    ),
    "a network trained in one go": (
        "def f(): return torch.nn.Linear(2, 1)",
        block("""
def trained(x, y):
    model = f()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    for _ in range(200):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    return model, model(x)
x = torch.randn(20, 2, generator=check.gen)
model, y = check.run(trained, x, x.sum(1, keepdim=True))
check.close(y, x.sum(1, keepdim=True), atol=1e-2)
check.close(model(x), x.sum(1, keepdim=True), atol=1e-2)
check.close(model.weight, [[1.0, 1.0]], atol=1e-2)
"""),
    ),
    "a loop that draws from the check's generator": (
        "def f(x): return x",
        block("""
def drawn(gen):
    return f(torch.randn(3, generator=gen))
gen = check.gen
first = check.run(drawn, gen)
again = torch.Generator().manual_seed(gen.initial_seed())
check.close(first, torch.randn(3, generator=again))
check.close(torch.randn(3, generator=gen), torch.randn(3, generator=again))
"""),
    ),
    "a loop that takes too long": (
        "def f(x): return x",
        block(
            """
def forever():
    while True:
        f(1)
check.run(forever)
""",
            options=", seconds=0.3",
        ),
    ),
    "an error with its place": (
        """
def f(x):
    y = x + 1
    return y[7]
""",
        block("f(np.ones(2))"),
    ),
    "an error that is asked for": ("def f(x): raise ValueError('no')", block("check.raises(ValueError, lambda: f(1))")),
    "a key error": ("def f(x): return {}[x]", block("f('a')")),
    "an answer that is not written": ("def f(x): raise NotImplementedError", block("f(1)")),
    "an answer that is not there": ("def g(x): pass", block("f(1)")),
    "a loop": (
        """
def f(x):
    while True: pass
""",
        block("f(1)", options=", seconds=0.3"),
    ),
    "a loop that swallows the alarm": (
        """
def f(x):
    while True:
        try:
            while True: pass
        except Exception: pass
""",
        block("f(1)", options=", seconds=0.3"),
    ),
    "exit": (
        """
def f(x): exit()
import sys
exit = sys.exit
""",
        block("f(1)"),
    ),
    "printed text": ("def f(x): print('hello', x)", block("f(3)")),
    "a closed door": ("def f(x): return torch.softmax(x, 0)", block("f(torch.ones(2))", options=', off_limits=("torch.softmax",)')),
    "the global generators": (
        "def f(x): return np.random.rand()",
        block("""
with check.no_side_effects():
    f(1)
"""),
    ),
    "a seed set by the test": (
        "def f(): return torch.rand(2)",
        block("""
torch.manual_seed(3)
a = f()
torch.manual_seed(3)
check.close(a, torch.rand(2))
"""),
    ),
    "a generator": (
        "def f(gen): return torch.rand(2, generator=gen)",
        block("""
gen, same = (torch.Generator().manual_seed(5) for _ in range(2))
check.close([f(gen), f(gen)], [torch.rand(2, generator=same) for _ in range(2)])
"""),
    ),
    "a function of the test's": (
        "def f(g, x): return [g(x + i) for i in range(3)]",
        block("""
seen = []
check.equal(f(lambda x: seen.append(x) or x * 2, 1), [2, 4, 6])
check.equal(seen, [1, 2, 3])
"""),
    ),
    "an error of the test's function": (
        """
def f(g):
    return g()
""",
        block("""
def g():
    check.law(False, 'given the wrong thing')
f(g)
"""),
    ),
    "a function or a default": (
        """
def f(g=None):
    g = g or (lambda: 1)
    return g()
""",
        block("check.equal([f(), f(lambda: 2)], [1, 2])"),
    ),
    "gradients": (
        "def f(x, w): return (x @ w).tanh().sum()",
        block("""
x, w = torch.rand(3, requires_grad=True), torch.rand(3, requires_grad=True)
f(x, w * 2).backward()
(x @ (w * 2)).tanh().sum()
want = torch.autograd.grad((x @ (w * 2)).tanh().sum(), (x, w))
check.close([x.grad, w.grad], list(want))
"""),
    ),
    "second derivatives": (
        "def f(x): return (x ** 3).sum()",
        block("""
x = torch.tensor([1.0, 2.0], requires_grad=True)
(g,) = torch.autograd.grad(f(x), x, create_graph=True)
check.close(torch.autograd.grad(g.sum(), x)[0], [6.0, 12.0])
"""),
    ),
    "a gradient through the test's function": (
        """
def f(g, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(g(x).sum(), x)[0]
""",
        block("""
w = torch.tensor([2.0, 3.0], requires_grad=True)
check.close(f(lambda x: x * w * x, torch.ones(2)), [4.0, 6.0])
"""),
    ),
    "a gradient by a weight that only the test has": (
        "def f(g, x): return (g(x) - 1).square().mean()",
        block("""
w = torch.tensor(3.0, requires_grad=True)
check.close(torch.autograd.grad(f(lambda x: x * w, torch.ones(4)), w)[0], 4.0)
"""),
    ),
    "without gradients": (
        "def f(x, w=torch.ones(2, requires_grad=True)): return x * w",
        block("""
with torch.no_grad():
    check.law(not f(torch.ones(2)).requires_grad, 'none')
"""),
    ),
    "torch.func": (
        "def f(g, x): return torch.func.grad(lambda v: g(v).sum())(x)",
        block("""
check.close(f(torch.sin, torch.zeros(2)), [1.0, 1.0])
check.close(f(lambda v: v ** 2, torch.ones(2)), [2.0, 2.0])
"""),
    ),
    "a module": (
        """
class f(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.fc = nn.Linear(d, 2)
        self.drop, self.width = nn.Dropout(0.9), d
    def forward(self, x): return self.drop(self.fc(x))
""",
        block("""
m = f(3).double().eval()
check.equal(sorted(m.state_dict()), ['fc.bias', 'fc.weight'])
check.equal(m.width, 3)
m.load_state_dict({'fc.weight': torch.ones(2, 3), 'fc.bias': torch.zeros(2)})
x = torch.ones(1, 3, dtype=torch.float64)
check.close(m(x), [[3.0, 3.0]])
check.law(isinstance(m, nn.Module) and isinstance(m.fc, nn.Linear) and m.fc.in_features == 3, 'kinds')
opt = torch.optim.SGD(m.parameters(), lr=1.0)
m(x).sum().backward()
opt.step()
check.close(m(x), [[-1.0, -1.0]])
check.law((m.train()(torch.ones(200, 3, dtype=torch.float64)) == 0).any(), 'dropout')
"""),
    ),
    "a buffer that is replaced": (
        """
class f(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer('n', torch.zeros(()))
    def forward(self, x):
        self.n = self.n + 1
        return x
""",
        block("""
m = f()
m(torch.ones(1)), m(torch.ones(1))
check.close(m.n, 2.0)
m.n.zero_()
m(torch.ones(1))
check.close(m.n, 1.0)
"""),
    ),
    "the test's module and optimizer": (
        """
def f(net, opt, x):
    opt.zero_grad()
    loss = net(x).square().sum()
    loss.backward()
    opt.step()
    return loss.item()
""",
        block("""
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([2.0]))
    def forward(self, x): return self.w * x
for net in (Own(), nn.Sequential(nn.Linear(1, 1))):
    with torch.no_grad():
        for p in net.parameters(): p.fill_(2.0)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    check.close(f(net, opt, torch.ones(1)), 4.0 if isinstance(net, Own) else 16.0)
    check.close(next(net.parameters()), torch.tensor([1.6]) if isinstance(net, Own) else torch.tensor([[1.2]]))
"""),
    ),
    "arithmetic on objects": (
        """
class f:
    def __init__(self, v): self.v = v
    def __add__(self, o): return f(self.v + getattr(o, 'v', o))
    __radd__ = __add__
    def __neg__(self): return f(-self.v)
""",
        block("check.equal((-(1 + f(2) + f(3) + 4)).v, -10)"),
    ),
    "arithmetic that is not there": (
        """
class f:
    def __init__(self, v): self.v = v
""",
        block("(f(2) + 1).v"),
    ),
    "a generator function": (
        """
def f(n):
    yield from range(n)
""",
        block("check.equal(list(f(3)), [0, 1, 2])"),
    ),
    "a trusted function": (
        """
def g(x): return x + 100
def f(x): return g(x)
""",
        block("check.close(f(np.ones(2)), [2.0, 2.0])", use="check.use(g=lambda x: np.multiply(x, 2))"),
    ),
    "a trusted class": (
        """
def f(d): return nn.Sequential(nn.Linear(d, d), Block(d))
Block = None
""",
        block(
            """
m = f(2)
check.law(isinstance(m[1], Trusted), 'a block')
check.shape(m(torch.ones(3, 2)), (3, 2))
""",
            use="""
class Trusted(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.fc = nn.Linear(d, d)
    def forward(self, x): return self.fc(x).relu()
check.use(Block=Trusted)
""",
        ),
    ),
    "a trusted class that is carried over once more, and the first one's end": (
        """
import gc
def f(d):
    gc.collect()
    return nn.Sequential(Block(d))
Block = None
""",
        f"""{HEAD}
class Trusted(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.fc = nn.Linear(d, d)
    def forward(self, x): return self.fc(x)
check.use(Block=Trusted)
for number in range(3):
    with check(f"a block {{number}}", points=1 / 3):
        models = [f(2) for _ in range(2)]
        check.law(all(isinstance(m[0], Trusted) for m in models), "blocks")
{TAIL}""",
    ),
    "a trusted function that remembers": (
        """
def g(x): return x
def f(x): return g(x) + g(x)
""",
        block(
            """
check.equal(f(3), 6)
check.equal(calls, [3, 3])
""",
            use="""
calls = []
check.use(g=lambda x: calls.append(x) or x)
""",
        ),
    ),
    "an argument that an object overwrites": (
        """
class f(nn.Module):
    def forward(self, x): return x.relu_()
""",
        block("""
x = -torch.ones(2)
m = f()
m(x)
"""),
    ),
    "an argument that is made to want a gradient": (
        """
def f(g, x):
    x.requires_grad_()
    return torch.autograd.grad(g(x).sum(), x)[0]
""",
        block("""
x = torch.ones(2)
check.close(f(lambda x: x ** 2, x), [2.0, 2.0])
check.law(not x.requires_grad, 'left')
"""),
    ),
    "an argument that is moved, looked at and put back": (
        """
def f(g, x):
    x[0] += 1
    found = g(x)
    x[0] -= 1
    return found
""",
        block("""
x = np.ones(2)
check.equal(f(lambda x: x.sum(), x), 3.0)
check.equal(x, [1.0, 1.0])
"""),
    ),
    "an expanded argument that is overwritten": (
        """
def f(x):
    for row in x: row += 1
""",
        block("""
x = torch.zeros(1, 2).expand(3, 2)
f(x)
"""),
    ),
    "a buffer that a module of the test's changes": (
        "def f(m, x): return m(x)",
        block("""
m, same = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
x = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
check.close(f(m, x), same(x))
check.close(m.running_mean, same.running_mean)
"""),
    ),
    "a gradient left on what is frozen": (
        """
def f(m):
    for p in m.parameters(): p.requires_grad_(False)
""",
        block("""
m = nn.Linear(2, 1)
m(torch.ones(1, 2)).sum().backward()
f(m)
check.law(m.weight.grad is not None and not m.weight.requires_grad, 'left')
"""),
    ),
    "an error in the test's function": (
        """
def f(g):
    return g(1, 2)
""",
        block("f(lambda x: x)"),
    ),
    "a sparse matrix": (
        """
import scipy.sparse
def f(x): return scipy.sparse.csr_matrix(x)
""",
        block("check.close(f(np.eye(3)) @ np.ones(3), [1.0, 1.0, 1.0])"),
    ),
    "numbers of every kind": (
        f"def f(): return {KINDS}",
        block(f"check.law(repr(f()) == repr({KINDS}), repr(f()))"),
    ),
}


@pytest.mark.parametrize(("answer", "test"), CASES.values(), ids=CASES)
def test_score_and_words_are_the_same(answer, test):
    assert apart(test, answer) == together(test, answer)


def test_a_function_that_keeps_something_to_itself_cannot_be_run_next_to_the_answers():
    test = block("""
kept = []
check.run(lambda: kept.append(f(1)))
""")
    assert "must stay one thing" in apart(test, "def f(x): return x")[1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen here")
def test_both_processes_keep_to_one_processor_while_a_test_runs_and_to_none_afterwards():
    before = os.sched_getaffinity(0)
    with court("", "import os\ndef where(): return os.sched_getaffinity(0)") as (_, names):
        assert names["where"]() == os.sched_getaffinity(0)
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
