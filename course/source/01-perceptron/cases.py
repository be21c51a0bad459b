# Answers that the graders of 01-perceptron are proven against; docs/authoring.md says how a case is written.

# %% wrong | perceptron_predict | sign gives 0 on the line
# hint: The sign function gives 0 for a score of 0
def perceptron_predict(w, X):
    return np.sign(w[0] + X @ w[1:])


# %% wrong | perceptron_predict | a score of 0 counts as positive
# hint: use > and not >=
def perceptron_predict(w, X):
    return np.where(w[0] + X @ w[1:] >= 0, 1, -1)


# %% wrong | perceptron_predict | bias last
# hint: The last weight was used as the bias
def perceptron_predict(w, X):
    return np.where(np.column_stack([X, np.ones(len(X))]) @ w > 0, 1, -1)


# %% wrong | perceptron_predict | labels 0 and 1
# hint: The labels are 0 and 1
def perceptron_predict(w, X):
    return (w[0] + X @ w[1:] > 0).astype(int)


# %% wrong | perceptron_predict | returns the scores
# hint: These are the scores
def perceptron_predict(w, X):
    return w[0] + X @ w[1:]


# %% wrong | perceptron_predict | no bias
# hint: The bias was left out
def perceptron_predict(w, X):
    return np.where(X @ w[1:] > 0, 1, -1)


# %% wrong | perceptron_predict | signs swapped
# hint: The signs are the wrong way round
def perceptron_predict(w, X):
    return np.where(w[0] + X @ w[1:] > 0, -1, 1)


# %% wrong | perceptron_predict | a column
# hint: The result is a column
def perceptron_predict(w, X):
    return np.where(w[0] + X @ w[1:] > 0, 1, -1)[:, None]


# %% wrong | perceptron_predict | prints and returns nothing
# hint: A function that ends without `return` gives None
def perceptron_predict(w, X):
    print(np.where(w[0] + X @ w[1:] > 0, 1, -1))


# %% wrong | perceptron_predict | the visible answer by heart
# hint: expected shape
def perceptron_predict(w, X):
    return np.array([1, -1, -1, 1])


# %% wrong | perceptron_predict | changes the weights it is given
# hint: changed in place
def perceptron_predict(w, X):
    w /= np.linalg.norm(w)
    return np.where(w[0] + X @ w[1:] > 0, 1, -1)


# %% right | perceptron_predict | loop, floats
def perceptron_predict(w, X):
    labels = []
    for point in X:
        score = w[0]
        for weight, value in zip(w[1:], point):
            score += weight * value
        labels.append(1.0 if score > 0 else -1.0)
    return np.array(labels)


# %% right | perceptron_predict | a column of ones
def perceptron_predict(w, X):
    scores = np.hstack([np.ones((X.shape[0], 1)), X]).dot(w)
    labels = np.full(len(X), -1.0)
    labels[scores > 0] = 1.0
    return labels


# %% right | perceptron_predict | arithmetic on truth values
def perceptron_predict(w, X):
    return 2 * (np.einsum("nd,d->n", X, w[1:]) > -w[0]) - 1


# %% wrong | perceptron_fit | no label in the update
# hint: the label is missing
def perceptron_fit(X, l, eta=1.0, epochs=100):
    P, w, mistakes = np.c_[np.ones(len(X)), X], np.zeros(X.shape[1] + 1), []
    for _ in range(epochs):
        wrong = 0
        for p, t in zip(P, l):
            if t * (w @ p) <= 0:
                w = w + eta * p
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, mistakes


# %% wrong | perceptron_fit | updates on right points too
# hint: The weights also moved for points that were on their right side already
def perceptron_fit(X, l, eta=1.0, epochs=100):
    P, w, mistakes = np.c_[np.ones(len(X)), X], np.zeros(X.shape[1] + 1), []
    for _ in range(epochs):
        wrong = 0
        for p, t in zip(P, l):
            if t * (w @ p) <= 0:
                wrong += 1
            w = w + eta * t * p
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, mistakes


# %% wrong | perceptron_fit | the bias never moves
# hint: The bias w[0] never moved
def perceptron_fit(X, l, eta=1.0, epochs=100):
    w, mistakes = np.zeros(X.shape[1] + 1), []
    for _ in range(epochs):
        wrong = 0
        for x, t in zip(X, l):
            if t * (w[0] + w[1:] @ x) <= 0:
                w[1:] += eta * t * x
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, mistakes


# %% wrong | perceptron_fit | all points judged with the old weights
# hint: judged with the same old weights
def perceptron_fit(X, l, eta=1.0, epochs=100):
    P, w, mistakes = np.c_[np.ones(len(X)), X], np.zeros(X.shape[1] + 1), []
    for _ in range(epochs):
        wrong = l * (P @ w) <= 0
        mistakes.append(int(wrong.sum()))
        if not wrong.any():
            break
        w = w + eta * (l[wrong, None] * P[wrong]).sum(axis=0)
    return w, mistakes


# %% wrong | perceptron_fit | a score of 0 is taken for -1
# hint: A score of exactly 0 passed as right
def perceptron_fit(X, l, eta=1.0, epochs=100):
    P, w, mistakes = np.c_[np.ones(len(X)), X], np.zeros(X.shape[1] + 1), []
    for _ in range(epochs):
        wrong = 0
        for p, t in zip(P, l):
            if (1 if w @ p > 0 else -1) != t:
                w = w + eta * t * p
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, mistakes


# %% wrong | perceptron_fit | eta is ignored
# hint: The step does not have the length eta asks for
def perceptron_fit(X, l, eta=1.0, epochs=100):
    P, w, mistakes = np.c_[np.ones(len(X)), X], np.zeros(X.shape[1] + 1), []
    for _ in range(epochs):
        wrong = 0
        for p, t in zip(P, l):
            if t * (w @ p) <= 0:
                w = w + t * p
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, mistakes


# %% wrong | perceptron_fit | the bias comes last
# hint: The bias is not w[0]
def perceptron_fit(X, l, eta=1.0, epochs=100):
    P, w, mistakes = np.c_[X, np.ones(len(X))], np.zeros(X.shape[1] + 1), []
    for _ in range(epochs):
        wrong = 0
        for p, t in zip(P, l):
            if t * (w @ p) <= 0:
                w = w + eta * t * p
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, mistakes


# %% wrong | perceptron_fit | random start
# hint: The weights do not start from zero
def perceptron_fit(X, l, eta=1.0, epochs=100):
    P, w, mistakes = np.c_[np.ones(len(X)), X], np.random.default_rng(0).normal(size=X.shape[1] + 1), []
    for _ in range(epochs):
        wrong = 0
        for p, t in zip(P, l):
            if t * (w @ p) <= 0:
                w = w + eta * t * p
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, mistakes


# %% wrong | perceptron_fit | one pass only
# hint: epochs are run
def perceptron_fit(X, l, eta=1.0, epochs=100):
    P, w, wrong = np.c_[np.ones(len(X)), X], np.zeros(X.shape[1] + 1), 0
    for p, t in zip(P, l):
        if t * (w @ p) <= 0:
            w = w + eta * t * p
            wrong += 1
    return w, [wrong]


# %% wrong | perceptron_fit | loops until there is no mistake
# hint: Still running after
def perceptron_fit(X, l, eta=1.0, epochs=100):
    P, w, mistakes = np.c_[np.ones(len(X)), X], np.zeros(X.shape[1] + 1), []
    while not mistakes or mistakes[-1] > 0:
        wrong = 0
        for p, t in zip(P, l):
            if t * (w @ p) <= 0:
                w = w + eta * t * p
                wrong += 1
        mistakes = [*mistakes[-50:], wrong]
    return w, mistakes


# %% right | perceptron_fit | points in random order, no early end
def perceptron_fit(X, l, eta=1.0, epochs=100):
    rng = np.random.default_rng(7)
    bias, weights, mistakes = 0.0, np.zeros(X.shape[1]), []
    for _ in range(epochs):
        wrong = 0
        for i in rng.permutation(len(X)):
            if l[i] * (bias + weights @ X[i]) <= 0:
                bias += eta * l[i]
                weights += eta * l[i] * X[i]
                wrong += 1
        mistakes.append(wrong)
    return np.concatenate([[bias], weights]), mistakes


# %% right | perceptron_fit | backwards, counts as numpy integers
def perceptron_fit(X, l, eta=1.0, epochs=100):
    signed = l[:, None] * np.insert(X, 0, 1.0, axis=1)
    w = np.zeros(signed.shape[1])
    mistakes = []
    while len(mistakes) < epochs:
        missed = np.zeros(len(X), dtype=bool)
        for i in reversed(range(len(X))):
            if not signed[i] @ w > 0:
                missed[i] = True
                w += eta * signed[i]
        mistakes.append(missed.sum())
        if not missed.any():
            break
    return w, mistakes


# %% right | perceptron_fit | the trained weights are those of eta = 1, scaled
def perceptron_fit(X, l, eta=1.0, epochs=100):
    points = [[1.0, *map(float, x)] for x in X]
    times = [0] * len(points)
    mistakes = []
    for _ in range(epochs):
        before = sum(times)
        for p, t in zip(points, l):
            w = [sum(n * s * q[j] for n, s, q in zip(times, l, points)) for j in range(len(p))]
            if t * sum(a * b for a, b in zip(w, p)) <= 0:
                times[points.index(p)] += 1
        mistakes.append(sum(times) - before)
        if mistakes[-1] == 0:
            break
    return eta * np.array([sum(n * s * q[j] for n, s, q in zip(times, l, points)) for j in range(len(points[0]))]), mistakes


# %% wrong | is_separable | a perceptron with a limit of epochs
# hint: a perceptron that has not ended yet proves nothing
def is_separable(X, l):
    P, w = np.c_[np.ones(len(X)), X], np.zeros(X.shape[1] + 1)
    for _ in range(100):
        wrong = 0
        for p, t in zip(P, l):
            if t * (w @ p) <= 0:
                w = w + t * p
                wrong += 1
        if wrong == 0:
            return True
    return False


# %% wrong | is_separable | through the origin only
# hint: give it a bias
def is_separable(X, l):
    from scipy.optimize import linprog

    return linprog(np.zeros(X.shape[1]), A_ub=-l[:, None] * X, b_ub=-np.ones(len(X)), bounds=(None, None)).status == 0


# %% wrong | is_separable | equal labels are refused
# hint: the constant functions
def is_separable(X, l):
    from scipy.optimize import linprog

    if len(set(l.tolist())) < 2:
        return False
    P = np.c_[np.ones(len(X)), X]
    return linprog(np.zeros(P.shape[1]), A_ub=-l[:, None] * P, b_ub=-np.ones(len(X)), bounds=(None, None)).status == 0


# %% wrong | is_separable | zero weights separate everything
# hint: Touching is not separating
def is_separable(X, l):
    from scipy.optimize import linprog

    P = np.c_[np.ones(len(X)), X]
    return linprog(np.zeros(P.shape[1]), A_ub=-l[:, None] * P, b_ub=np.zeros(len(X)), bounds=(None, None)).status == 0


# %% wrong | is_separable | weights cannot be negative
# hint: AND: expected True, got False
def is_separable(X, l):
    from scipy.optimize import linprog

    P = np.c_[np.ones(len(X)), X]
    return linprog(np.zeros(P.shape[1]), A_ub=-l[:, None] * P, b_ub=-np.ones(len(X))).status == 0


# %% wrong | is_separable | everything but XOR
# hint: 256 Boolean functions of 3 inputs are separable; you found 256
def is_separable(X, l):
    return not (len(l) == 4 and l.sum() == 0 and not (l @ X).any())


# %% wrong | is_separable | the line between the means
# hint: found
def is_separable(X, l):
    if len(set(l.tolist())) < 2:
        return True
    a, b = X[l == 1].mean(axis=0), X[l == -1].mean(axis=0)
    return bool(np.all(l * ((X - (a + b) / 2) @ (a - b)) > 0))


# %% wrong | is_separable | returns nothing
# hint: End the function with `return`
def is_separable(X, l):
    from scipy.optimize import linprog

    P = np.c_[np.ones(len(X)), X]
    print(linprog(np.zeros(P.shape[1]), A_ub=-l[:, None] * P, b_ub=-np.ones(len(X)), bounds=(None, None)).status == 0)


# %% right | is_separable | the hulls do not meet
def is_separable(X, l):
    from scipy.optimize import linprog

    a, b = X[l == 1], X[l == -1]
    if len(a) == 0 or len(b) == 0:
        return True
    rows = np.vstack([np.c_[a.T, -b.T], np.r_[np.ones(len(a)), np.zeros(len(b))], np.r_[np.zeros(len(a)), np.ones(len(b))]])
    meeting = linprog(np.zeros(len(X)), A_eq=rows, b_eq=np.r_[np.zeros(X.shape[1]), 1, 1])
    return meeting.status == 2


# %% right | is_separable | a hard-margin support vector machine
def is_separable(X, l):
    from sklearn.svm import SVC

    if np.all(l == l[0]):
        return np.True_
    machine = SVC(kernel="linear", C=1e4).fit(X - X.mean(axis=0), l)
    return (machine.predict(X - X.mean(axis=0)) == l).all()


# %% right | is_separable | the widest slack is positive
def is_separable(X, l):
    from scipy.optimize import linprog

    n, d = X.shape
    rows = np.c_[-l[:, None] * np.c_[np.ones(n), X], np.ones(n)]
    best = linprog(np.r_[np.zeros(d + 1), -1.0], A_ub=rows, b_ub=np.zeros(n), bounds=[(-1000, 1000)] * (d + 1) + [(0, 1)])
    return bool(-best.fun > 1e-6)


# %% wrong | xor_net | XNOR
# hint: This is XNOR
def xor_net():
    return [(np.ones((2, 2)), np.array([-0.5, -1.5])), (np.array([[-1.0, 1.0]]), np.array([0.5]))]


# %% wrong | xor_net | OR
# hint: This is OR
def xor_net():
    return [(np.ones((2, 2)), np.array([-0.5, -1.5])), (np.array([[1.0, 0.0]]), np.array([-0.5]))]


# %% wrong | xor_net | NAND
# hint: This is NAND
def xor_net():
    return [(np.ones((2, 2)), np.array([-0.5, -1.5])), (np.array([[0.0, -1.0]]), np.array([0.5]))]


# %% wrong | xor_net | lines through the corners
# hint: A line runs too close to a corner
def xor_net():
    return [(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([0.0, 0.0])), (np.array([[1.0, 1.0]]), np.array([-0.5]))]


# %% wrong | xor_net | output weights as a vector
# hint: expected shape (1, 2), got (2,)
def xor_net():
    return [(np.ones((2, 2)), np.array([-0.5, -1.5])), (np.array([1.0, -1.0]), np.array([-0.5]))]


# %% wrong | xor_net | three hidden units
# hint: expected shape (2, 2), got (3, 2)
def xor_net():
    return [(np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), np.array([-0.5, -1.5, 0.0])), (np.array([[1.0, -1.0, 0.0]]), np.array([-0.5]))]


# %% wrong | xor_net | one layer
# hint: two layers are expected
def xor_net():
    return [(np.ones((1, 2)), np.array([-0.5]))]


# %% right | xor_net | one input without the other
def xor_net():
    return [(np.array([[2.0, -2.0], [-3.0, 3.0]]), np.array([-1.0, -1.5])), (np.array([[1.0, 1.0]]), np.array([-0.5]))]


# %% right | xor_net | OR and NAND, other scale, as tuples
def xor_net():
    either, not_both = ([10.0, 10.0], -5.0), ([-4.0, -4.0], 6.0)
    return (np.array([either[0], not_both[0]]), np.array([either[1], not_both[1]])), (np.array([[0.2, 0.2]]), np.array([-0.3]))


# %% right | xor_net | whole numbers
def xor_net():
    return [(np.array([[-2, -2], [2, 2]]), np.array([1, -3])), (np.array([[-2, -2]]), np.array([1]))]


# %% wrong | mlp_forward | activation on the last layer
# hint: The activation was put on the last layer too
def mlp_forward(params, X, act):
    for W, b in params:
        X = act(X @ W.T + b)
    return X


# %% wrong | mlp_forward | W not transposed where it fits
# hint: W was not transposed
def mlp_forward(params, X, act):
    h = X
    for i, (W, b) in enumerate(params):
        a = h @ W + b if W.shape[0] == W.shape[1] else h @ W.T + b
        h = act(a) if i < len(params) - 1 else a
    return h


# %% wrong | mlp_forward | W not transposed
# hint: ValueError
def mlp_forward(params, X, act):
    h = X
    for W, b in params[:-1]:
        h = act(h @ W + b)
    return h @ params[-1][0] + params[-1][1]


# %% wrong | mlp_forward | softmax inside
# hint: A softmax was put on the output
def mlp_forward(params, X, act):
    for W, b in params[:-1]:
        X = act(X @ W.T + b)
    z = X @ params[-1][0].T + params[-1][1]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# %% wrong | mlp_forward | no bias in the last layer
# hint: The bias of the last layer is missing
def mlp_forward(params, X, act):
    for W, b in params[:-1]:
        X = act(X @ W.T + b)
    return X @ params[-1][0].T


# %% wrong | mlp_forward | no activation
# hint: The activation is missing
def mlp_forward(params, X, act):
    for W, b in params:
        X = X @ W.T + b
    return X


# %% wrong | mlp_forward | points in columns
# hint: expected shape
def mlp_forward(params, X, act):
    h = X.T
    for i, (W, b) in enumerate(params):
        a = W @ h + b[:, None]
        h = act(a) if i < len(params) - 1 else a
    return h


# %% wrong | mlp_forward | two layers only
# hint: ValueError
def mlp_forward(params, X, act):
    (W1, b1), (W2, b2) = params
    return act(X @ W1.T + b1) @ W2.T + b2


# %% wrong | mlp_forward | biases added to the weights it is given
# hint: changed in place
def mlp_forward(params, X, act):
    h = X
    for i, (W, b) in enumerate(params):
        a = h @ W.T + b
        h = act(a) if i < len(params) - 1 else a
        b += 1.0
    return h


# %% right | mlp_forward | einsum
def mlp_forward(params, X, act):
    h = X
    for i, (W, b) in enumerate(params):
        a = np.einsum("ni,oi->no", h, W) + b
        h = a if i + 1 == len(params) else act(a)
    return h


# %% right | mlp_forward | F.linear and back
def mlp_forward(params, X, act):
    h = np.ascontiguousarray(X)
    for number, (W, b) in enumerate(params, start=1):
        h = F.linear(torch.from_numpy(h), torch.from_numpy(np.ascontiguousarray(W)), torch.from_numpy(b)).numpy()
        if number < len(params):
            h = act(h)
    return h


# %% right | mlp_forward | bias column, recursion
def mlp_forward(params, X, act):
    W, b = params[0]
    a = np.hstack([np.ones((len(X), 1)), X]) @ np.hstack([b[:, None], W]).T
    return a if len(params) == 1 else mlp_forward(params[1:], act(a), act)


# %% wrong | count_params | no biases
# hint: The biases are missing
def count_params(sizes, bias=True):
    return sum(a * b for a, b in zip(sizes, sizes[1:]))


# %% wrong | count_params | biases for the inputs
# hint: The inputs were given biases
def count_params(sizes, bias=True):
    return sum(a * b for a, b in zip(sizes, sizes[1:])) + (sum(sizes) if bias else 0)


# %% wrong | count_params | one bias a layer
# hint: Each layer was given a single bias
def count_params(sizes, bias=True):
    return sum(a * b + bias for a, b in zip(sizes, sizes[1:]))


# %% wrong | count_params | no bias on the output
# hint: The biases of the output units are missing
def count_params(sizes, bias=True):
    return sum(a * b for a, b in zip(sizes, sizes[1:])) + (sum(sizes[1:-1]) if bias else 0)


# %% wrong | count_params | bias is ignored
# hint: With bias=False there are weights only
def count_params(sizes, bias=True):
    return sum((a + 1) * b for a, b in zip(sizes, sizes[1:]))


# %% wrong | count_params | the lecture's stray ten
# hint: ten too many
def count_params(sizes, bias=True):
    count = sum((a + bias) * b for a, b in zip(sizes, sizes[1:]))
    return count + sizes[-1] * (len(sizes) > 3)


# %% wrong | count_params | three layers only
# hint: ValueError
def count_params(sizes, bias=True):
    a, b, c = sizes
    return a * b + b * c + (b + c if bias else 0)


# %% right | count_params | count a real network
def count_params(sizes, bias=True):
    layers = [nn.Linear(n, m, bias=bias, device="meta") for n, m in zip(sizes[:-1], sizes[1:])]
    return sum(p.numel() for layer in layers for p in layer.parameters())


# %% right | count_params | dot products
def count_params(sizes, bias=True):
    n = np.array(sizes)
    return n[:-1] @ n[1:] + bias * n[1:].sum()


# %% wrong | train_xor | hidden units start equal
# hint: Hidden units that start equal stay equal
def train_xor(seed, hidden=8):
    torch.manual_seed(seed)
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1))
    for p in model.parameters():
        nn.init.constant_(p, 0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()
    return model


# %% wrong | train_xor | sigmoid before a loss that wants logits
# hint: no sigmoid at the end
def train_xor(seed, hidden=8):
    torch.manual_seed(seed)
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()
    return model


# %% wrong | train_xor | squared error on -1 and +1
# hint: The outputs are near -1 and +1
def train_xor(seed, hidden=8):
    torch.manual_seed(seed)
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[-1.0], [1.0], [1.0], [-1.0]])
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    return model


# %% wrong | train_xor | two units and a lucky seed
# hint: The argument `hidden` is not used
def train_xor(seed, hidden=8):
    torch.manual_seed(5)
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()
    return model


# %% wrong | train_xor | one seed for all
# hint: does not depend on `seed`
def train_xor(seed, hidden=8):
    torch.manual_seed(0)
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()
    return model


# %% wrong | train_xor | not seeded
# hint: The same seed gave two networks
def train_xor(seed, hidden=8):
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()
    return model


# %% wrong | train_xor | answers looked up
# hint: The answers are looked up
class Table(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(4 * hidden + 1))

    def forward(self, x):
        return 20.0 * (x.round().sum(dim=1, keepdim=True) == 1) - 10.0


def train_xor(seed, hidden=8):
    return Table(hidden)


# %% wrong | train_xor | too few steps
# hint: train longer
def train_xor(seed, hidden=8):
    torch.manual_seed(seed)
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()
    return model


# %% wrong | train_xor | no hidden layer
# hint: The argument `hidden` is not used
def train_xor(seed, hidden=8):
    torch.manual_seed(seed)
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()
    return model


# %% wrong | train_xor | labels of XNOR
# hint: This is XNOR
def train_xor(seed, hidden=8):
    torch.manual_seed(seed)
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0], [0.0], [0.0], [1.0]])
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()
    return model


# %% right | train_xor | gradient descent by hand, Glorot start, flat output
class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.hidden, self.out = nn.Linear(2, hidden), nn.Linear(hidden, 1)
        for layer in (self.hidden, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        return self.out(torch.sigmoid(self.hidden(x))).squeeze(-1)


def train_xor(seed, hidden=8):
    torch.manual_seed(seed)
    model = Net(hidden)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    sign = torch.tensor([-1.0, 1.0, 1.0, -1.0])
    for _ in range(1000):
        model.zero_grad()
        F.softplus(-sign * model(x)).mean().backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 2.0 * p.grad
    return model


# %% right | train_xor | L-BFGS, trained until it is good, with restarts
def train_xor(seed, hidden=8):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([0.0, 1.0, 1.0, 0.0])
    for _ in range(20):
        model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1))
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn(p.shape, generator=generator))
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=40, line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(x).flatten(), y)
            loss.backward()
            return loss

        optimizer.step(closure)
        if closure() < 0.01:
            break
    return model


# %% right | train_xor | the course's own loop
def train_xor(seed, hidden=8):
    training.seed_everything(seed)
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1))
    y = np.array([[0.0], [1.0], [1.0], [0.0]])
    training.fit(
        model,
        F.binary_cross_entropy_with_logits,
        data.booleans(2),
        y,
        epochs=250,
        optimizer=lambda p: torch.optim.Adam(p, lr=0.1),
        device="cpu",
        progress=False,
    )
    return model


# %% wrong | tent_net | one fold too few
# hint: There is one fold too few
def tent_net(k):
    kinks, tent = np.array([0.0, -0.5]), np.array([[2.0, -4.0]])
    layers = [(np.ones((2, 1)), kinks), *[(np.vstack([tent, tent]), kinks)] * (k - 1), (tent, np.zeros(1))]
    if k > 1:
        layers[-2] = (np.vstack([tent, np.zeros((1, 2))]), np.zeros(2))
        layers[-1] = (np.array([[1.0, 0.0]]), np.zeros(1))
    return layers


# %% wrong | tent_net | slope 1
# hint: The slopes are 1 and -1
def tent_net(k):
    kinks, tent = np.array([0.0, -0.5]), np.array([[1.0, -2.0]])
    return [(np.ones((2, 1)), kinks), *[(np.vstack([tent, tent]), kinks)] * (k - 1), (tent, np.zeros(1))]


# %% wrong | tent_net | the slope changes by 2 instead of 4
# hint: It rises and stays up
def tent_net(k):
    kinks, tent = np.array([0.0, -0.5]), np.array([[2.0, -2.0]])
    return [(np.ones((2, 1)), kinks), *[(np.vstack([tent, tent]), kinks)] * (k - 1), (tent, np.zeros(1))]


# %% wrong | tent_net | one wide layer
# hint: This is one wide layer
def tent_net(k):
    n = 2**k
    steps = np.full((1, n), 2.0 * n) * (-1.0) ** np.arange(n)
    steps[0, 0] = n
    return [(np.ones((n, 1)), -np.arange(n) / n), (steps, np.zeros(1))]


# %% wrong | tent_net | no output layer
# hint: tent_net(1) has two layers
def tent_net(k):
    kinks, tent = np.array([0.0, -0.5]), np.array([[2.0, -4.0]])
    return [(np.ones((2, 1)), kinks), *[(np.vstack([tent, tent]), kinks)] * (k - 1)]


# %% wrong | tent_net | a layer of its own for each fold's output
# hint: The linear output of a fold can be multiplied into the next layer
def tent_net(k):
    kinks, tent = np.array([0.0, -0.5]), np.array([[2.0, -4.0]])
    return [layer for _ in range(k) for layer in ((np.ones((2, 1)), kinks), (tent, np.zeros(1)))]


# %% wrong | tent_net | upside down
# hint: It stands on its head
def tent_net(k):
    kinks, tent = np.array([0.0, -0.5]), np.array([[2.0, -4.0]])
    return [(np.ones((2, 1)), kinks), *[(np.vstack([tent, tent]), kinks)] * (k - 1), (-tent, np.ones(1))]


# %% wrong | tent_net | only one fold, whatever k
# hint: k folds have 2**k pieces
def tent_net(k):
    return [(np.ones((2, 1)), np.array([0.0, -0.5])), (np.array([[2.0, -4.0]]), np.zeros(1))]


# %% right | tent_net | falling units
def tent_net(k):
    # T(y) = 1 - relu(1 - 2y) - relu(2y - 1)
    first = (np.array([[-2.0], [2.0]]), np.array([1.0, -1.0]))
    between = (np.array([[2.0, 2.0], [-2.0, -2.0]]), np.array([-1.0, 1.0]))
    last = (np.array([[-1.0, -1.0]]), np.array([1.0]))
    return [first] + [between for _ in range(k - 1)] + [last]


# %% right | tent_net | three units, built up by multiplying
def tent_net(k):
    inner = np.array([[2.0], [4.0], [0.0]]), np.array([0.0, -2.0, 0.0])
    outer = np.array([[1.0, -1.0, 0.0]])
    layers = [inner]
    for _ in range(k - 1):
        layers.append((inner[0] @ outer, inner[1].copy()))
    layers.append((outer, np.zeros(1)))
    return tuple(layers)
