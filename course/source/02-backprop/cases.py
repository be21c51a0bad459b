# %% [markdown]
# Answers that the graders of lecture 02 are proven against. A wrong case names a misconception; a right case is written differently.

# %% wrong | act | elu's slope has lost its alpha
# hint: The slope of ELU on the left is alpha·exp(a)
def act(name, a, alpha=None):
    slope = {"leaky": 0.01, "elu": 1.0}.get(name, 0.0) if alpha is None else alpha
    phi = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    low = np.exp(np.minimum(a, 0))
    table = {
        "sigmoid": (special.expit(a), special.expit(a) * special.expit(-a)),
        "tanh": (np.tanh(a), 1 - np.tanh(a) ** 2),
        "relu": (np.maximum(a, 0), (a > 0) * 1.0),
        "leaky": (np.where(a > 0, a, slope * a), np.where(a > 0, 1.0, slope)),
        "elu": (np.where(a > 0, a, slope * (low - 1)), np.where(a > 0, 1.0, low)),
        "gelu": (a * special.ndtr(a), special.ndtr(a) + a * phi),
        "softplus": (np.logaddexp(0, a), special.expit(a)),
        "arctan": (np.arctan(a), 1 / (1 + a**2)),
    }
    if name not in table:
        raise ValueError(name)
    return table[name]


# %% wrong | act | elu's slope is value + 1
# hint: value + 1 is the slope of ELU only for alpha = 1
def act(name, a, alpha=None):
    slope = {"leaky": 0.01, "elu": 1.0}.get(name, 0.0) if alpha is None else alpha
    phi = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    elu = np.where(a > 0, a, slope * np.expm1(np.minimum(a, 0)))
    table = {
        "sigmoid": (special.expit(a), special.expit(a) * special.expit(-a)),
        "tanh": (np.tanh(a), 1 - np.tanh(a) ** 2),
        "relu": (np.maximum(a, 0), (a > 0) * 1.0),
        "leaky": (np.where(a > 0, a, slope * a), np.where(a > 0, 1.0, slope)),
        "elu": (elu, np.where(a > 0, 1.0, elu + 1)),
        "gelu": (a * special.ndtr(a), special.ndtr(a) + a * phi),
        "softplus": (np.logaddexp(0, a), special.expit(a)),
        "arctan": (np.arctan(a), 1 / (1 + a**2)),
    }
    if name not in table:
        raise ValueError(name)
    return table[name]


# %% wrong | act | tanh without its −1
# hint: The −1 is missing
def act(name, a, alpha=None):
    slope = {"leaky": 0.01, "elu": 1.0}.get(name, 0.0) if alpha is None else alpha
    phi = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    low = np.minimum(a, 0)
    table = {
        "sigmoid": (special.expit(a), special.expit(a) * special.expit(-a)),
        "tanh": (2 * special.expit(2 * a), 4 * special.expit(2 * a) * special.expit(-2 * a)),
        "relu": (np.maximum(a, 0), (a > 0) * 1.0),
        "leaky": (np.where(a > 0, a, slope * a), np.where(a > 0, 1.0, slope)),
        "elu": (np.where(a > 0, a, slope * np.expm1(low)), np.where(a > 0, 1.0, slope * np.exp(low))),
        "gelu": (a * special.ndtr(a), special.ndtr(a) + a * phi),
        "softplus": (np.logaddexp(0, a), special.expit(a)),
        "arctan": (np.arctan(a), 1 / (1 + a**2)),
    }
    if name not in table:
        raise ValueError(name)
    return table[name]


# %% wrong | act | exp overflows
# hint: exp(a) overflows for large a
def act(name, a, alpha=None):
    slope = {"leaky": 0.01, "elu": 1.0}.get(name, 0.0) if alpha is None else alpha
    if name == "sigmoid":
        return np.exp(a) / (1 + np.exp(a)), np.exp(a) / (1 + np.exp(a)) ** 2
    if name == "tanh":
        value = (np.exp(a) - np.exp(-a)) / (np.exp(a) + np.exp(-a))
        return value, 1 - value**2
    if name == "relu":
        return a * (a > 0), (a > 0) * 1.0
    if name == "leaky":
        return np.where(a > 0, a, slope * a), np.where(a > 0, 1.0, slope)
    if name == "elu":
        return np.where(a > 0, a, slope * (np.exp(a) - 1)), np.where(a > 0, 1.0, slope * np.exp(a))
    if name == "gelu":
        return a * special.ndtr(a), special.ndtr(a) + a * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    if name == "softplus":
        return np.log(1 + np.exp(a)), np.exp(a) / (1 + np.exp(a))
    if name == "arctan":
        return np.arctan(a), 1 / (1 + a**2)
    raise ValueError(name)


# %% wrong | act | softplus' is the sigmoid's slope
# hint: The slope of softplus is the sigmoid itself
def act(name, a, alpha=None):
    slope = {"leaky": 0.01, "elu": 1.0}.get(name, 0.0) if alpha is None else alpha
    phi = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    low = np.minimum(a, 0)
    s = special.expit(a)
    table = {
        "sigmoid": (s, s * (1 - s)),
        "tanh": (np.tanh(a), 1 - np.tanh(a) ** 2),
        "relu": (np.maximum(a, 0), (a > 0) * 1.0),
        "leaky": (np.where(a > 0, a, slope * a), np.where(a > 0, 1.0, slope)),
        "elu": (np.where(a > 0, a, slope * np.expm1(low)), np.where(a > 0, 1.0, slope * np.exp(low))),
        "gelu": (a * special.ndtr(a), special.ndtr(a) + a * phi),
        "softplus": (np.logaddexp(0, a), s * (1 - s)),
        "arctan": (np.arctan(a), 1 / (1 + a**2)),
    }
    if name not in table:
        raise ValueError(name)
    return table[name]


# %% wrong | act | gelu by its tanh approximation, one slope term missing
# hint: This is the approximation with tanh
def act(name, a, alpha=None):
    slope = {"leaky": 0.01, "elu": 1.0}.get(name, 0.0) if alpha is None else alpha
    low = np.minimum(a, 0)
    s = special.expit(a)
    half = 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)))
    table = {
        "sigmoid": (s, s * (1 - s)),
        "tanh": (np.tanh(a), 1 - np.tanh(a) ** 2),
        "relu": (np.maximum(a, 0), (a > 0) * 1.0),
        "leaky": (np.where(a > 0, a, slope * a), np.where(a > 0, 1.0, slope)),
        "elu": (np.where(a > 0, a, slope * np.expm1(low)), np.where(a > 0, 1.0, slope * np.exp(low))),
        "gelu": (a * half, half),
        "softplus": (np.logaddexp(0, a), s),
        "arctan": (np.arctan(a), 1 / (1 + a**2)),
    }
    if name not in table:
        raise ValueError(name)
    return table[name]


# %% wrong | act | slopes taken at a instead of at the value
# hint: it takes the value, not a
def act(name, a, alpha=None):
    slope = {"leaky": 0.01, "elu": 1.0}.get(name, 0.0) if alpha is None else alpha
    phi = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    low = np.minimum(a, 0)
    table = {
        "sigmoid": (special.expit(a), special.expit(a) * special.expit(-a)),
        "tanh": (np.tanh(a), 1 - a**2),
        "relu": (np.maximum(a, 0), (a > 0) * 1.0),
        "leaky": (np.where(a > 0, a, slope * a), np.where(a > 0, 1.0, slope)),
        "elu": (np.where(a > 0, a, slope * np.expm1(low)), np.where(a > 0, 1.0, slope * np.exp(low))),
        "gelu": (a * special.ndtr(a), special.ndtr(a) + a * phi),
        "softplus": (np.logaddexp(0, a), special.expit(a)),
        "arctan": (np.arctan(a), 1 / (1 + a**2)),
    }
    if name not in table:
        raise ValueError(name)
    return table[name]


# %% wrong | act | leaky ignores its alpha
# hint: 0.01 is only its default
def act(name, a, alpha=None):
    phi = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    low = np.minimum(a, 0)
    k = 1.0 if alpha is None else alpha
    table = {
        "sigmoid": (special.expit(a), special.expit(a) * special.expit(-a)),
        "tanh": (np.tanh(a), 1 - np.tanh(a) ** 2),
        "relu": (np.maximum(a, 0), (a > 0) * 1.0),
        "leaky": (np.where(a > 0, a, 0.01 * a), np.where(a > 0, 1.0, 0.01)),
        "elu": (np.where(a > 0, a, k * np.expm1(low)), np.where(a > 0, 1.0, k * np.exp(low))),
        "gelu": (a * special.ndtr(a), special.ndtr(a) + a * phi),
        "softplus": (np.logaddexp(0, a), special.expit(a)),
        "arctan": (np.arctan(a), 1 / (1 + a**2)),
    }
    if name not in table:
        raise ValueError(name)
    return table[name]


# %% wrong | act | relu changes a in place
# hint: changed in place
def act(name, a, alpha=None):
    slope = {"leaky": 0.01, "elu": 1.0}.get(name, 0.0) if alpha is None else alpha
    if name == "relu":
        positive = a > 0
        a[~positive] = 0
        return a, positive.astype(float)
    phi = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    low = np.minimum(a, 0)
    table = {
        "sigmoid": (special.expit(a), special.expit(a) * special.expit(-a)),
        "tanh": (np.tanh(a), 1 - np.tanh(a) ** 2),
        "leaky": (np.where(a > 0, a, slope * a), np.where(a > 0, 1.0, slope)),
        "elu": (np.where(a > 0, a, slope * np.expm1(low)), np.where(a > 0, 1.0, slope * np.exp(low))),
        "gelu": (a * special.ndtr(a), special.ndtr(a) + a * phi),
        "softplus": (np.logaddexp(0, a), special.expit(a)),
        "arctan": (np.arctan(a), 1 / (1 + a**2)),
    }
    if name not in table:
        raise ValueError(name)
    return table[name]


# %% right | act | slope 1 at zero, one number at a time with math
def act(name, a, alpha=None):
    def one(v):
        if name == "sigmoid":
            value = 1 / (1 + math.exp(-v)) if v > -700 else 0.0
            return value, value * (1 - value)
        if name == "tanh":
            return math.tanh(v), 1 - math.tanh(v) ** 2
        if name == "relu":
            return (v, 1.0) if v >= 0 else (0.0, 0.0)
        if name == "leaky":
            k = 0.01 if alpha is None else alpha
            return (v, 1.0) if v >= 0 else (k * v, k)
        if name == "elu":
            k = 1.0 if alpha is None else alpha
            return (v, 1.0) if v >= 0 else (k * (math.exp(v) - 1), k * math.exp(v))
        if name == "gelu":
            below = (1 + math.erf(v / math.sqrt(2))) / 2
            return v * below, below + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi)
        if name == "softplus":
            return max(v, 0.0) + math.log1p(math.exp(-abs(v))), (1 / (1 + math.exp(-v)) if v > -700 else 0.0)
        if name == "arctan":
            return math.atan(v), 1 / (1 + v * v)
        raise ValueError(f"unknown activation {name}")

    pairs = [one(float(v)) for v in a.reshape(-1)]
    return np.array([p[0] for p in pairs]).reshape(a.shape), np.array([p[1] for p in pairs]).reshape(a.shape)


# %% right | act | a dictionary of functions, warnings and all
def act(name, a, alpha=None):
    if name in ("leaky", "elu") and alpha is None:
        alpha = {"leaky": 0.01, "elu": 1.0}[name]
    functions = {
        "sigmoid": (lambda: 1 / (1 + np.exp(-a)), lambda v: v - v**2),
        "tanh": (lambda: np.tanh(a), lambda v: (1 - v) * (1 + v)),
        "relu": (lambda: np.where(a < 0, 0.0, a), lambda v: np.heaviside(a, 0.5)),
        "leaky": (lambda: np.maximum(a, 0) + alpha * np.minimum(a, 0), lambda v: np.where(a < 0, alpha, 1.0)),
        "elu": (lambda: np.where(a < 0, alpha * (np.exp(a) - 1), a), lambda v: np.where(a < 0, v + alpha, 1.0)),
        "gelu": (lambda: a / 2 * (1 + special.erf(a / np.sqrt(2))), lambda v: special.ndtr(a) + a * np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi)),
        "softplus": (lambda: np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))), lambda v: 1 - np.exp(-v)),
        "arctan": (lambda: np.arctan(a), lambda v: np.cos(v) ** 2),
    }
    try:
        value, derivative = functions[name]
    except KeyError:
        raise ValueError(name) from None
    result = value()
    return result, derivative(result)


# %% wrong | softmax_ce | the minus sign is missing
# hint: The sign is wrong
def softmax_ce(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    return log_p[np.arange(len(y)), y].mean(), (p - np.eye(z.shape[1])[y]) / len(y)


# %% wrong | softmax_ce | sums over the examples
# hint: Take the mean
def softmax_ce(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].sum(), np.exp(log_p) - np.eye(z.shape[1])[y]


# %% wrong | softmax_ce | logarithm of a softmax
# hint: A probability came out as 0
def softmax_ce(z, y):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean(), (p - np.eye(z.shape[1])[y]) / len(y)


# %% wrong | softmax_ce | no shift
# hint: exp of a large logit overflowed
def softmax_ce(z, y):
    log_p = np.log(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean(), (np.exp(log_p) - np.eye(z.shape[1])[y]) / len(y)


# %% wrong | softmax_ce | a small number in the logarithm
# hint: Something caps the loss
def softmax_ce(z, y):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y] + 1e-12).mean(), (p - np.eye(z.shape[1])[y]) / len(y)


# %% wrong | softmax_ce | dz is not divided by N
# hint: The gradient is N times too large
def softmax_ce(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean(), np.exp(log_p) - np.eye(z.shape[1])[y]


# %% wrong | softmax_ce | the one-hot is not subtracted
# hint: This is p/N alone
def softmax_ce(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean(), np.exp(log_p) / len(y)


# %% wrong | softmax_ce | softmax's own derivative
# hint: This is softmax's own derivative
def softmax_ce(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    return -log_p[np.arange(len(y)), y].mean(), p * (1 - p) / len(y)


# %% wrong | softmax_ce | shifts the caller's logits in place
# hint: changed in place
def softmax_ce(z, y):
    z -= z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean(), (np.exp(log_p) - np.eye(z.shape[1])[y]) / len(y)


# %% wrong | softmax_ce | torch does it
# hint: is off limits here
def softmax_ce(z, y):
    logits = torch.tensor(z, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y))
    loss.backward()
    return loss.item(), logits.grad.numpy()


# %% right | softmax_ce | logsumexp
def softmax_ce(z, y):
    total = np.logaddexp.reduce(z, axis=1)
    rows = np.arange(z.shape[0])
    gradient = np.exp(z - total[:, None])
    gradient[rows, y] -= 1.0
    return np.mean(total - z[rows, y]), gradient / z.shape[0]


# %% right | softmax_ce | one example at a time
def softmax_ce(z, y):
    n, k = z.shape
    loss, dz = 0.0, np.zeros((n, k))
    for i in range(n):
        top = max(z[i])
        exps = [math.exp(v - top) for v in z[i]]
        loss += top + math.log(sum(exps)) - z[i, y[i]]
        for j in range(k):
            dz[i, j] = (exps[j] / sum(exps) - (j == y[i])) / n
    return loss / n, dz


# %% wrong | linear_backward | gW transposed
# hint: gW is transposed
def linear_backward(x, W, g):
    return g @ W, x.T @ g, g.sum(0)


# %% wrong | linear_backward | g @ W.T
# hint: W is transposed
def linear_backward(x, W, g):
    return g @ W.T, g.T @ x, g.sum(0)


# %% wrong | linear_backward | gb is a mean
# hint: gb is a mean over the examples
def linear_backward(x, W, g):
    return g @ W, g.T @ x, g.mean(0)


# %% wrong | linear_backward | gb has one number an example
# hint: gb must be one number an output
def linear_backward(x, W, g):
    return g @ W, g.T @ x, g.sum(axis=1)


# %% wrong | linear_backward | gb is not summed
# hint: gb is g itself
def linear_backward(x, W, g):
    return g @ W, g.T @ x, g


# %% wrong | linear_backward | divides by N once more
# hint: gW is a mean over the examples
def linear_backward(x, W, g):
    return g @ W, g.T @ x / len(x), g.sum(0)


# %% wrong | linear_backward | prints instead of returning
# hint: A function that ends without `return` gives None
def linear_backward(x, W, g):
    print(g @ W, g.T @ x, g.sum(0))


# %% right | linear_backward | einsum
def linear_backward(x, W, g):
    return np.einsum("nm,md->nd", g, W), np.einsum("nm,nd->md", g, x), np.einsum("nm->m", g)


# %% right | linear_backward | a sum of outer products, as a list
def linear_backward(x, W, g):
    gW, gb = np.zeros(W.shape), np.zeros(len(W))
    for row, arrived in zip(x, g, strict=True):
        gW += np.outer(arrived, row)
        gb += arrived
    return [(W.T @ g.T).T, gW, gb]


# %% wrong | mlp_backward | x twice, as on the slide
# hint: The input x stands in the gradient twice
def mlp_backward(params, X, Y, act):
    inputs, slopes, h = [], [], X
    for layer, (W, b) in enumerate(params):
        inputs.append(h)
        h = h @ W.T + b
        if layer < len(params) - 1:
            h, slope = act(h)
            slopes.append(slope)
    delta, grads = h - Y, []
    for layer in range(len(params) - 1, -1, -1):
        twice = inputs[layer] if layer == len(params) - 1 else inputs[layer] ** 2
        grads.insert(0, (delta.T @ twice, delta.sum(0)))
        if layer:
            delta = (delta @ params[layer][0]) * slopes[layer - 1]
    return grads


# %% wrong | mlp_backward | slope at h instead of a
# hint: The slope is taken at h
def mlp_backward(params, X, Y, act):
    inputs, h = [], X
    for layer, (W, b) in enumerate(params):
        inputs.append(h)
        h = h @ W.T + b
        if layer < len(params) - 1:
            h, _ = act(h)
    delta, grads = h - Y, []
    for layer in range(len(params) - 1, -1, -1):
        grads.insert(0, (delta.T @ inputs[layer], delta.sum(0)))
        if layer:
            delta = (delta @ params[layer][0]) * act(inputs[layer])[1]
    return grads


# %% wrong | mlp_backward | Minhas's sign
# hint: The sign is turned round
def mlp_backward(params, X, Y, act):
    inputs, slopes, h = [], [], X
    for layer, (W, b) in enumerate(params):
        inputs.append(h)
        h = h @ W.T + b
        if layer < len(params) - 1:
            h, slope = act(h)
            slopes.append(slope)
    delta, grads = Y - h, []
    for layer in range(len(params) - 1, -1, -1):
        grads.insert(0, (delta.T @ inputs[layer], delta.sum(0)))
        if layer:
            delta = (delta @ params[layer][0]) * slopes[layer - 1]
    return grads


# %% wrong | mlp_backward | factor two
# hint: Twice too large
def mlp_backward(params, X, Y, act):
    inputs, slopes, h = [], [], X
    for layer, (W, b) in enumerate(params):
        inputs.append(h)
        h = h @ W.T + b
        if layer < len(params) - 1:
            h, slope = act(h)
            slopes.append(slope)
    delta, grads = 2 * (h - Y), []
    for layer in range(len(params) - 1, -1, -1):
        grads.insert(0, (delta.T @ inputs[layer], delta.sum(0)))
        if layer:
            delta = (delta @ params[layer][0]) * slopes[layer - 1]
    return grads


# %% wrong | mlp_backward | a mean over the examples
# hint: This is a mean over the examples
def mlp_backward(params, X, Y, act):
    inputs, slopes, h = [], [], X
    for layer, (W, b) in enumerate(params):
        inputs.append(h)
        h = h @ W.T + b
        if layer < len(params) - 1:
            h, slope = act(h)
            slopes.append(slope)
    delta, grads = (h - Y) / len(X), []
    for layer in range(len(params) - 1, -1, -1):
        grads.insert(0, (delta.T @ inputs[layer], delta.sum(0)))
        if layer:
            delta = (delta @ params[layer][0]) * slopes[layer - 1]
    return grads


# %% wrong | mlp_backward | activation on the last layer
# hint: The last layer is linear
def mlp_backward(params, X, Y, act):
    inputs, slopes, h = [], [], X
    for W, b in params:
        inputs.append(h)
        h, slope = act(h @ W.T + b)
        slopes.append(slope)
    delta, grads = (h - Y) * slopes[-1], []
    for layer in range(len(params) - 1, -1, -1):
        grads.insert(0, (delta.T @ inputs[layer], delta.sum(0)))
        if layer:
            delta = (delta @ params[layer][0]) * slopes[layer - 1]
    return grads


# %% wrong | mlp_backward | no slopes
# hint: The slope of the activation is missing
def mlp_backward(params, X, Y, act):
    inputs, h = [], X
    for layer, (W, b) in enumerate(params):
        inputs.append(h)
        h = h @ W.T + b
        if layer < len(params) - 1:
            h, _ = act(h)
    delta, grads = h - Y, []
    for layer in range(len(params) - 1, -1, -1):
        grads.insert(0, (delta.T @ inputs[layer], delta.sum(0)))
        delta = delta @ params[layer][0]
    return grads


# %% wrong | mlp_backward | gradients in backward order
# hint: expected shape
def mlp_backward(params, X, Y, act):
    inputs, slopes, h = [], [], X
    for layer, (W, b) in enumerate(params):
        inputs.append(h)
        h = h @ W.T + b
        if layer < len(params) - 1:
            h, slope = act(h)
            slopes.append(slope)
    delta, grads = h - Y, []
    for layer in range(len(params) - 1, -1, -1):
        grads.append((delta.T @ inputs[layer], delta.sum(0)))
        if layer:
            delta = (delta @ params[layer][0]) * slopes[layer - 1]
    return grads


# %% wrong | mlp_backward | autograd does it
# hint: is off limits here
def mlp_backward(params, X, Y, act):
    leaves = [torch.tensor(v, requires_grad=True) for pair in params for v in pair]
    h = torch.tensor(X)
    for i in range(0, len(leaves), 2):
        h = h @ leaves[i].T + leaves[i + 1]
        if i + 2 < len(leaves):
            h = torch.tanh(h)
    (((torch.tensor(Y) - h) ** 2).sum() / 2).backward()
    return [(leaves[i].grad.numpy(), leaves[i + 1].grad.numpy()) for i in range(0, len(leaves), 2)]


# %% right | mlp_backward | columns inside, recursion over layers
def mlp_backward(params, X, Y, act):
    def go(layer, h):  # h has one column an example; returns dE/dh and the gradients from this layer on
        W, b = params[layer]
        a = W @ h + b[:, None]
        if layer == len(params) - 1:
            delta, later = a - Y.T, []
        else:
            value, slope = act(a)
            back, later = go(layer + 1, value)
            delta = back * slope
        return W.T @ delta, [(delta @ h.T, delta.sum(axis=1)), *later]

    return go(0, X.T)[1]


# %% right | mlp_backward | pattern by pattern, as lists
def mlp_backward(params, X, Y, act):
    total = [[np.zeros_like(W), np.zeros_like(b)] for W, b in params]
    for x, t in zip(X, Y, strict=True):
        hs, ds = [x], []
        for i, (W, b) in enumerate(params):
            a = W @ hs[-1] + b
            h, d = (a, np.ones_like(a)) if i == len(params) - 1 else act(a)
            hs.append(h)
            ds.append(d)
        delta = -(t - hs[-1]) * ds[-1]
        for i in reversed(range(len(params))):
            total[i][0] += np.outer(delta, hs[i])
            total[i][1] += delta
            delta = (params[i][0].T @ delta) * (ds[i - 1] if i else 1.0)
    return total


# %% right | mlp_backward | with linear_backward and a generator
def mlp_backward(params, X, Y, act):
    tape = []
    h = X
    *hidden, last = params
    for W, b in hidden:
        value, slope = act(h @ W.T + b)
        tape.append((h, W, slope))
        h = value
    g, gW, gb = linear_backward(h, last[0], h @ last[0].T + last[1] - Y)
    out = [(gW, gb)]
    while tape:
        h, W, slope = tape.pop()
        g, gW, gb = linear_backward(h, W, g * slope)
        out = [(gW, gb), *out]
    return out


# %% wrong | grad_check | one-sided difference
# hint: this is a one-sided difference
def grad_check(f, x, eps=1e-5):
    value, claimed = f(x)
    worst = 0.0
    for i in np.ndindex(x.shape):
        moved = x.copy()
        moved[i] += eps
        numerical = (f(moved)[0] - value) / eps
        worst = max(worst, abs(claimed[i] - numerical) / max(abs(claimed[i]), abs(numerical), 1e-8))
    return worst


# %% wrong | grad_check | in float32
# hint: Keep everything in float64
def grad_check(f, x, eps=1e-5):
    claimed = f(x)[1].astype(np.float32)
    worst = 0.0
    for i in np.ndindex(x.shape):
        up, down = x.astype(np.float32), x.astype(np.float32)
        up[i] += eps
        down[i] -= eps
        numerical = (np.float32(f(up)[0]) - np.float32(f(down)[0])) / np.float32(2 * eps)
        worst = max(worst, abs(claimed[i] - numerical) / max(abs(claimed[i]), abs(numerical), 1e-8))
    return float(worst)


# %% wrong | grad_check | absolute error
# hint: This looks like an absolute error
def grad_check(f, x, eps=1e-5):
    claimed = f(x)[1]
    worst = 0.0
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = eps
        worst = max(worst, abs(claimed[i] - (f(x + step)[0] - f(x - step)[0]) / (2 * eps)))
    return worst


# %% wrong | grad_check | leaves x changed
# hint: changed in place
def grad_check(f, x, eps=1e-5):
    claimed = f(x)[1]
    worst = 0.0
    for i in np.ndindex(x.shape):
        x[i] += eps
        high = f(x)[0]
        x[i] -= 2 * eps
        low = f(x)[0]
        numerical = (high - low) / (2 * eps)
        worst = max(worst, abs(claimed[i] - numerical) / max(abs(claimed[i]), abs(numerical), 1e-8))
    return worst


# %% wrong | grad_check | a norm over all entries
# hint: hides one small entry that is wrong
def grad_check(f, x, eps=1e-5):
    claimed, numerical = f(x)[1], np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = eps
        numerical[i] = (f(x + step)[0] - f(x - step)[0]) / (2 * eps)
    return np.linalg.norm(claimed - numerical) / (np.linalg.norm(claimed) + np.linalg.norm(numerical))


# %% wrong | grad_check | moves a copy that ravel made
# hint: x.ravel() and x.reshape(-1) are copies
def grad_check(f, x, eps=1e-5):
    claimed = f(x)[1].ravel()
    flat = x.ravel()
    worst = 0.0
    for i in range(x.size):
        old = flat[i]
        flat[i] = old + eps
        high = f(x)[0]
        flat[i] = old - eps
        low = f(x)[0]
        flat[i] = old
        numerical = (high - low) / (2 * eps)
        worst = max(worst, abs(claimed[i] - numerical) / max(abs(claimed[i]), abs(numerical), 1e-8))
    return worst


# %% wrong | grad_check | zero divided by zero
# hint: Put a floor under the denominator
def grad_check(f, x, eps=1e-5):
    claimed, numerical = f(x)[1], np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = eps
        numerical[i] = (f(x + step)[0] - f(x - step)[0]) / (2 * eps)
    return np.max(np.abs(claimed - numerical) / np.maximum(np.abs(claimed), np.abs(numerical)))


# %% right | grad_check | in place and put back, sum in the denominator
def grad_check(f, x, eps=1e-5):
    _, claimed = f(x)
    claimed = np.array(claimed)
    x = np.array(x)
    errors = []
    for i in np.ndindex(*x.shape):
        old = x[i]
        x[i] = old + eps
        high, _ = f(x)
        x[i] = old - eps
        low, _ = f(x)
        x[i] = old
        numerical = (high - low) / eps / 2
        errors.append(abs(numerical - claimed[i]) / (abs(numerical) + abs(claimed[i]) + 1e-8))
    return max(errors)


# %% right | grad_check | complex step
def grad_check(f, x, eps=1e-5):
    claimed = np.asarray(f(x)[1])
    numerical = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[i] += 1e-30j
        numerical[i] = np.imag(f(moved)[0]) / 1e-30
    return float((np.abs(claimed - numerical) / np.maximum(np.maximum(abs(claimed), abs(numerical)), 1e-8)).max())


# %% right | grad_check | all directions from an identity matrix, divided by the numerical gradient
def grad_check(f, x, eps=1e-5):
    steps = eps * np.eye(x.size).reshape(x.size, *x.shape)
    numerical = np.array([f(x + s)[0] - f(x - s)[0] for s in steps]).reshape(x.shape) / (2 * eps)
    return np.abs((f(x)[1] - numerical) / (np.abs(numerical) + 1e-9)).max()


# %% wrong | vjp | p has no part in it
# hint: p has no part in it
def vjp(f, x, p):
    x = x.detach().clone().requires_grad_()
    f(x).sum().backward()
    return x.grad


# %% wrong | vjp | Jp instead of pᵀJ
# hint: This is Jp
def vjp(f, x, p):
    J = torch.autograd.functional.jacobian(f, x.detach())
    if J.shape[0] != J.shape[1]:
        return p @ J
    return J @ p


# %% wrong | vjp | the whole Jacobian
# hint: That is the whole Jacobian
def vjp(f, x, p):
    J = torch.autograd.functional.jacobian(f, x.detach())
    return (p.reshape(-1) @ J.reshape(p.numel(), x.numel())).reshape(x.shape)


# %% wrong | vjp | one row at a time, nothing stored
# hint: That is the whole Jacobian
def vjp(f, x, p):
    x = x.detach().clone().requires_grad_()
    y = f(x).reshape(-1)
    rows = [torch.autograd.grad(y[i], x, retain_graph=True)[0] for i in range(len(y))]
    return sum(weight * row for weight, row in zip(p.reshape(-1), rows, strict=True))


# %% wrong | vjp | leaves a grad on x
# hint: x was changed
def vjp(f, x, p):
    x.requires_grad_()
    f(x).backward(p)
    return x.grad


# %% wrong | vjp | the ready-made one
# hint: is off limits here
def vjp(f, x, p):
    return torch.autograd.functional.vjp(f, x.detach(), p)[1]


# %% wrong | vjp | a product of scalars only, p weighs the inputs
# hint: expected
def vjp(f, x, p):
    x = x.detach().clone().requires_grad_()
    f(x).sum().backward()
    return x.grad * p[: len(x)]


# %% right | vjp | backward with a vector
def vjp(f, x, p):
    leaf = torch.tensor(x.detach().numpy(), requires_grad=True)
    f(leaf).backward(gradient=p)
    return leaf.grad


# %% right | vjp | torch.func.grad of a scalar
def vjp(f, x, p):
    return torch.func.grad(lambda v: torch.tensordot(f(v), p, p.ndim))(x.detach())


# %% right | vjp | grad_outputs
def vjp(f, x, p):
    with torch.enable_grad():
        start = x.detach().requires_grad_(True)
        end = f(start)
    return torch.autograd.grad(end, start, grad_outputs=p)[0]


# %% wrong | jacobian_bytes | forgets the itemsize
# hint: You counted entries
def jacobian_bytes(in_shape, out_shape, itemsize=4):
    return math.prod(in_shape) * math.prod(out_shape)


# %% wrong | jacobian_bytes | one copy of the block
# hint: multiply the two sizes
def jacobian_bytes(in_shape, out_shape, itemsize=4):
    return (math.prod(in_shape) + math.prod(out_shape)) * itemsize


# %% wrong | jacobian_bytes | overflows 64 bits
# hint: The product overflowed 64 bits
def jacobian_bytes(in_shape, out_shape, itemsize=4):
    return int(np.prod(in_shape, dtype=np.int64) * np.prod(out_shape, dtype=np.int64) * itemsize)


# %% wrong | jacobian_bytes | a decimal terabyte
# hint: A tebibyte is 2⁴⁰ bytes
def jacobian_bytes(in_shape, out_shape, itemsize=4):
    exact = math.prod(in_shape) * math.prod(out_shape) * itemsize
    return 10**12 if exact == 2**40 else exact


# %% wrong | jacobian_bytes | an empty shape has size 0
# hint: The shape () is one number
def jacobian_bytes(in_shape, out_shape, itemsize=4):
    def size(shape):
        total = 1 if shape else 0
        for n in shape:
            total *= n
        return total

    return size(in_shape) * size(out_shape) * itemsize


# %% right | jacobian_bytes | loops
def jacobian_bytes(in_shape, out_shape, itemsize=4):
    total = itemsize
    for n in (*in_shape, *out_shape):
        total = total * int(n)
    return total


# %% right | jacobian_bytes | torch counts
def jacobian_bytes(in_shape, out_shape, itemsize=4):
    return torch.Size(in_shape).numel() * torch.Size(out_shape).numel() * itemsize


# %% wrong | value | overwrites instead of adding
# hint: add with +=
class Value:
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = float(data), 0.0, parents

    def wrap(self, other):
        return other if isinstance(other, Value) else Value(other)

    def __add__(self, other):
        other = self.wrap(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = self.wrap(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __pow__(self, n):
        return Value(self.data**n, [(self, n * self.data ** (n - 1))])

    def exp(self):
        return Value(math.exp(self.data), [(self, math.exp(self.data))])

    def relu(self):
        return Value(max(0.0, self.data), [(self, float(self.data > 0))])

    def tanh(self):
        return Value(math.tanh(self.data), [(self, 1 - math.tanh(self.data) ** 2)])

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __sub__(self, other):
        return self + self.wrap(other) * -1

    def __rsub__(self, other):
        return self * -1 + other

    def __truediv__(self, other):
        return self * self.wrap(other) ** -1

    def __rtruediv__(self, other):
        return self**-1 * other

    def backward(self):
        order, seen = [], set()

        def visit(v):
            if v not in seen:
                seen.add(v)
                for p, _ in v.parents:
                    visit(p)
                order.append(v)

        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            for p, local in v.parents:
                p.grad = v.grad * local


# %% wrong | value | breadth first, no topological order
# hint: s has passed its gradient on before all of it had arrived
class Value:
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = float(data), 0.0, parents

    def wrap(self, other):
        return other if isinstance(other, Value) else Value(other)

    def __add__(self, other):
        other = self.wrap(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = self.wrap(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __pow__(self, n):
        return Value(self.data**n, [(self, n * self.data ** (n - 1))])

    def exp(self):
        return Value(math.exp(self.data), [(self, math.exp(self.data))])

    def relu(self):
        return Value(max(0.0, self.data), [(self, float(self.data > 0))])

    def tanh(self):
        return Value(math.tanh(self.data), [(self, 1 - math.tanh(self.data) ** 2)])

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __sub__(self, other):
        return self + self.wrap(other) * -1

    def __rsub__(self, other):
        return self * -1 + other

    def __truediv__(self, other):
        return self * self.wrap(other) ** -1

    def __rtruediv__(self, other):
        return self**-1 * other

    def backward(self):
        self.grad = 1.0
        queue, seen = [self], {self}
        while queue:
            v = queue.pop(0)
            for p, local in v.parents:
                p.grad += v.grad * local
                if p not in seen:
                    seen.add(p)
                    queue.append(p)


# %% wrong | value | the root's gradient is not 1
# hint: ∂e/∂e, must start at 1
class Value:
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = float(data), 0.0, parents

    def wrap(self, other):
        return other if isinstance(other, Value) else Value(other)

    def __add__(self, other):
        other = self.wrap(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = self.wrap(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __pow__(self, n):
        return Value(self.data**n, [(self, n * self.data ** (n - 1))])

    def exp(self):
        return Value(math.exp(self.data), [(self, math.exp(self.data))])

    def relu(self):
        return Value(max(0.0, self.data), [(self, float(self.data > 0))])

    def tanh(self):
        return Value(math.tanh(self.data), [(self, 1 - math.tanh(self.data) ** 2)])

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __sub__(self, other):
        return self + self.wrap(other) * -1

    def __rsub__(self, other):
        return self * -1 + other

    def __truediv__(self, other):
        return self * self.wrap(other) ** -1

    def __rtruediv__(self, other):
        return self**-1 * other

    def backward(self):
        order, seen = [], set()

        def visit(v):
            if v not in seen:
                seen.add(v)
                for p, _ in v.parents:
                    visit(p)
                order.append(v)

        visit(self)
        for v in reversed(order):
            for p, local in v.parents:
                p.grad += v.grad * local


# %% wrong | value | one call for every path
# hint: work that grows faster than it must
class Value:
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = float(data), 0.0, parents

    def wrap(self, other):
        return other if isinstance(other, Value) else Value(other)

    def __add__(self, other):
        other = self.wrap(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = self.wrap(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __pow__(self, n):
        return Value(self.data**n, [(self, n * self.data ** (n - 1))])

    def exp(self):
        return Value(math.exp(self.data), [(self, math.exp(self.data))])

    def relu(self):
        return Value(max(0.0, self.data), [(self, float(self.data > 0))])

    def tanh(self):
        return Value(math.tanh(self.data), [(self, 1 - math.tanh(self.data) ** 2)])

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __sub__(self, other):
        return self + self.wrap(other) * -1

    def __rsub__(self, other):
        return self * -1 + other

    def __truediv__(self, other):
        return self * self.wrap(other) ** -1

    def __rtruediv__(self, other):
        return self**-1 * other

    def backward(self, arrived=1.0):
        self.grad += arrived
        for p, local in self.parents:
            p.backward(arrived * local)


# %% wrong | value | tanh's slope taken at a, no sign in a difference
# hint: tanh' is 1 − tanh(a)²
class Value:
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = float(data), 0.0, parents

    def wrap(self, other):
        return other if isinstance(other, Value) else Value(other)

    def __add__(self, other):
        other = self.wrap(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = self.wrap(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __pow__(self, n):
        return Value(self.data**n, [(self, n * self.data ** (n - 1))])

    def exp(self):
        return Value(math.exp(self.data), [(self, math.exp(self.data))])

    def relu(self):
        return Value(max(0.0, self.data), [(self, float(self.data > 0))])

    def tanh(self):
        return Value(math.tanh(self.data), [(self, 1 - self.data**2)])

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __sub__(self, other):
        return self + self.wrap(other) * -1

    def __rsub__(self, other):
        return self * -1 + other

    def __truediv__(self, other):
        return self * self.wrap(other) ** -1

    def __rtruediv__(self, other):
        return self**-1 * other

    def backward(self):
        order, seen = [], set()

        def visit(v):
            if v not in seen:
                seen.add(v)
                for p, _ in v.parents:
                    visit(p)
                order.append(v)

        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            for p, local in v.parents:
                p.grad += v.grad * local


# %% wrong | value | no plain numbers on the left
# hint: unsupported operand
class Value:
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = float(data), 0.0, parents

    def wrap(self, other):
        return other if isinstance(other, Value) else Value(other)

    def __add__(self, other):
        other = self.wrap(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __sub__(self, other):
        other = self.wrap(other)
        return Value(self.data - other.data, [(self, 1.0), (other, -1.0)])

    def __mul__(self, other):
        other = self.wrap(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __truediv__(self, other):
        other = self.wrap(other)
        return Value(self.data / other.data, [(self, 1 / other.data), (other, -self.data / other.data**2)])

    def __pow__(self, n):
        return Value(self.data**n, [(self, n * self.data ** (n - 1))])

    def exp(self):
        return Value(math.exp(self.data), [(self, math.exp(self.data))])

    def relu(self):
        return Value(max(0.0, self.data), [(self, float(self.data > 0))])

    def tanh(self):
        return Value(math.tanh(self.data), [(self, 1 - math.tanh(self.data) ** 2)])

    def backward(self):
        order, seen = [], set()

        def visit(v):
            if v not in seen:
                seen.add(v)
                for p, _ in v.parents:
                    visit(p)
                order.append(v)

        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            for p, local in v.parents:
                p.grad += v.grad * local


# %% right | value | closures and a recursive topological sort
class Value:
    def __init__(self, data, children=()):
        self.data = data
        self.grad = 0.0
        self._children = set(children)
        self._pull = lambda: None

    @staticmethod
    def _lift(thing):
        return thing if isinstance(thing, Value) else Value(thing)

    def __add__(self, other):
        other = Value._lift(other)
        out = Value(self.data + other.data, (self, other))

        def pull():
            self.grad += out.grad
            other.grad += out.grad

        out._pull = pull
        return out

    def __mul__(self, other):
        other = Value._lift(other)
        out = Value(self.data * other.data, (self, other))

        def pull():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._pull = pull
        return out

    def __pow__(self, power):
        out = Value(self.data**power, (self,))

        def pull():
            self.grad += power * out.data / self.data * out.grad

        out._pull = pull
        return out

    def _unary(self, value, slope):
        out = Value(value, (self,))

        def pull():
            self.grad += slope * out.grad

        out._pull = pull
        return out

    def exp(self):
        return self._unary(math.exp(self.data), math.exp(self.data))

    def tanh(self):
        return self._unary(math.tanh(self.data), 1 / math.cosh(self.data) ** 2)

    def relu(self):
        return self._unary(self.data if self.data >= 0 else 0.0, 1.0 if self.data >= 0 else 0.0)

    def backward(self):
        topo, visited = [], set()

        def build(v):
            if v not in visited:
                visited.add(v)
                for c in v._children:
                    build(c)
                topo.append(v)

        build(self)
        self.grad = 1
        for v in reversed(topo):
            v._pull()

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + (-Value._lift(other))

    def __rsub__(self, other):
        return Value._lift(other) + (-self)

    def __truediv__(self, other):
        return self * Value._lift(other) ** -1

    def __rtruediv__(self, other):
        return Value._lift(other) * self**-1


# %% right | value | a global tape
class Value:
    tape = ()

    def __init__(self, data, backward=None):
        self.data, self.grad, self._step = np.float64(data), 0.0, backward
        Value.tape = (*Value.tape, self)

    def _binary(self, other, value, left, right):
        def step(g):
            self.grad += g * left
            if isinstance(other, Value):
                other.grad += g * right

        return Value(value, step)

    def __add__(self, other):
        return self._binary(other, self.data + getattr(other, "data", other), 1.0, 1.0)

    def __sub__(self, other):
        return self._binary(other, self.data - getattr(other, "data", other), 1.0, -1.0)

    def __mul__(self, other):
        number = other.data if isinstance(other, Value) else other
        return self._binary(other, self.data * number, number, self.data)

    def __truediv__(self, other):
        number = other.data if isinstance(other, Value) else other
        return self._binary(other, self.data / number, 1 / number, -self.data / number**2)

    def __pow__(self, n):
        return self._binary(None, self.data**n, n * self.data ** (n - 1), 0.0)

    def __radd__(self, number):
        return Value(number) + self

    def __rsub__(self, number):
        return Value(number) - self

    def __rmul__(self, number):
        return Value(number) * self

    def __rtruediv__(self, number):
        return Value(number) / self

    def exp(self):
        return self._binary(None, np.exp(self.data), np.exp(self.data), 0.0)

    def tanh(self):
        return self._binary(None, np.tanh(self.data), 1 - np.tanh(self.data) ** 2, 0.0)

    def relu(self):
        return self._binary(None, max(self.data, 0.0), 0.0 if self.data <= 0 else 1.0, 0.0)

    def backward(self):
        for v in Value.tape:
            v.grad = 0.0
        self.grad = 1.0
        for v in Value.tape[Value.tape.index(self) :: -1]:
            if v._step is not None and v.grad:
                v._step(v.grad)


# %% wrong | train_mlp | climbs
# hint: the steps go uphill
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    rng = np.random.default_rng(seed)
    W1, b1 = rng.normal(0, np.sqrt(2 / X.shape[1]), (hidden, X.shape[1])), np.zeros(hidden)
    W2, b2 = rng.normal(0, np.sqrt(2 / hidden), (y.max() + 1, hidden)), np.zeros(y.max() + 1)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(X)), len(X) // 32 + 1):
            h, slope = act("relu", X[batch] @ W1.T + b1)
            dh, gW2, gb2 = linear_backward(h, W2, softmax_ce(h @ W2.T + b2, y[batch])[1])
            _, gW1, gb1 = linear_backward(X[batch], W1, dh * slope)
            W1, b1, W2, b2 = W1 + 0.1 * gW1, b1 + 0.1 * gb1, W2 + 0.1 * gW2, b2 + 0.1 * gb2
    return [(W1, b1), (W2, b2)]


# %% wrong | train_mlp | all hidden units start equal
# hint: All hidden units are equal
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    rng = np.random.default_rng(seed)
    W1, b1 = np.full((hidden, X.shape[1]), 0.1), np.zeros(hidden)
    W2, b2 = np.full((y.max() + 1, hidden), 0.1), np.zeros(y.max() + 1)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(X)), len(X) // 32 + 1):
            h, slope = act("relu", X[batch] @ W1.T + b1)
            dh, gW2, gb2 = linear_backward(h, W2, softmax_ce(h @ W2.T + b2, y[batch])[1])
            _, gW1, gb1 = linear_backward(X[batch], W1, dh * slope)
            W1, b1, W2, b2 = W1 - 0.1 * gW1, b1 - 0.1 * gb1, W2 - 0.1 * gW2, b2 - 0.1 * gb2
    return [(W1, b1), (W2, b2)]


# %% wrong | train_mlp | only the last layer is trained
# hint: Only the last layer is trained
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    rng = np.random.default_rng(seed)
    W1, b1 = rng.normal(0, np.sqrt(2 / X.shape[1]), (hidden, X.shape[1])), np.zeros(hidden)
    W2, b2 = rng.normal(0, np.sqrt(2 / hidden), (y.max() + 1, hidden)), np.zeros(y.max() + 1)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(X)), len(X) // 32 + 1):
            h, _ = act("relu", X[batch] @ W1.T + b1)
            _, gW2, gb2 = linear_backward(h, W2, softmax_ce(h @ W2.T + b2, y[batch])[1])
            W2, b2 = W2 - 0.5 * gW2, b2 - 0.5 * gb2
    return [(W1, b1), (W2, b2)]


# %% wrong | train_mlp | learning rate far too high
# hint: Every hidden unit is dead
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    rng = np.random.default_rng(seed)
    W1, b1 = rng.normal(0, np.sqrt(2 / X.shape[1]), (hidden, X.shape[1])), np.zeros(hidden)
    W2, b2 = rng.normal(0, np.sqrt(2 / hidden), (y.max() + 1, hidden)), np.zeros(y.max() + 1)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(X)), len(X) // 32 + 1):
            h, slope = act("relu", X[batch] @ W1.T + b1)
            dh, gW2, gb2 = linear_backward(h, W2, softmax_ce(h @ W2.T + b2, y[batch])[1])
            _, gW1, gb1 = linear_backward(X[batch], W1, dh * slope)
            W1, b1, W2, b2 = W1 - 10 * gW1, b1 - 10 * gb1, W2 - 10 * gW2, b2 - 10 * gb2
    return [(W1, b1), (W2, b2)]


# %% wrong | train_mlp | one step an epoch, too small
# hint: It learns, but too little
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    rng = np.random.default_rng(seed)
    W1, b1 = rng.normal(0, np.sqrt(2 / X.shape[1]), (hidden, X.shape[1])), np.zeros(hidden)
    W2, b2 = rng.normal(0, np.sqrt(2 / hidden), (y.max() + 1, hidden)), np.zeros(y.max() + 1)
    for _ in range(epochs):
        h, slope = act("relu", X @ W1.T + b1)
        dh, gW2, gb2 = linear_backward(h, W2, softmax_ce(h @ W2.T + b2, y)[1])
        _, gW1, gb1 = linear_backward(X, W1, dh * slope)
        W1, b1, W2, b2 = W1 - 0.5 * gW1, b1 - 0.5 * gb1, W2 - 0.5 * gW2, b2 - 0.5 * gb2
    return [(W1, b1), (W2, b2)]


# %% wrong | train_mlp | draws from the global generator
# hint: global random generator was used
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    np.random.seed(seed)
    W1, b1 = np.random.randn(hidden, X.shape[1]) * np.sqrt(2 / X.shape[1]), np.zeros(hidden)
    W2, b2 = np.random.randn(y.max() + 1, hidden) * np.sqrt(2 / hidden), np.zeros(y.max() + 1)
    for _ in range(epochs):
        for batch in np.array_split(np.random.permutation(len(X)), len(X) // 32 + 1):
            h, slope = act("relu", X[batch] @ W1.T + b1)
            dh, gW2, gb2 = linear_backward(h, W2, softmax_ce(h @ W2.T + b2, y[batch])[1])
            _, gW1, gb1 = linear_backward(X[batch], W1, dh * slope)
            W1, b1, W2, b2 = W1 - 0.5 * gW1, b1 - 0.5 * gb1, W2 - 0.5 * gW2, b2 - 0.5 * gb2
    return [(W1, b1), (W2, b2)]


# %% wrong | train_mlp | ignores the seed
# hint: Two seeds gave the same weights
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    rng = np.random.default_rng(0)
    W1, b1 = rng.normal(0, np.sqrt(2 / X.shape[1]), (hidden, X.shape[1])), np.zeros(hidden)
    W2, b2 = rng.normal(0, np.sqrt(2 / hidden), (y.max() + 1, hidden)), np.zeros(y.max() + 1)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(X)), len(X) // 32 + 1):
            h, slope = act("relu", X[batch] @ W1.T + b1)
            dh, gW2, gb2 = linear_backward(h, W2, softmax_ce(h @ W2.T + b2, y[batch])[1])
            _, gW1, gb1 = linear_backward(X[batch], W1, dh * slope)
            W1, b1, W2, b2 = W1 - 0.5 * gW1, b1 - 0.5 * gb1, W2 - 0.5 * gW2, b2 - 0.5 * gb2
    return [(W1, b1), (W2, b2)]


# %% wrong | train_mlp | torch trains it
# hint: is off limits here
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, target = torch.tensor(X), torch.tensor(y)
    W1 = (torch.randn(hidden, x.shape[1], generator=generator, dtype=x.dtype) * 0.2).requires_grad_()
    W2 = (torch.randn(int(y.max()) + 1, hidden, generator=generator, dtype=x.dtype) * 0.2).requires_grad_()
    for _ in range(epochs * 10):
        loss = F.cross_entropy(torch.relu(x @ W1.T) @ W2.T, target)
        g1, g2 = torch.autograd.grad(loss, (W1, W2))
        with torch.no_grad():
            W1 -= g1
            W2 -= g2
    return [(W1.detach().numpy(), np.zeros(hidden)), (W2.detach().numpy(), np.zeros(len(W2)))]


# %% right | train_mlp | squared error by mlp_backward
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    rng = np.random.default_rng(seed)
    targets = np.eye(int(y.max()) + 1)[y]
    sizes = [X.shape[1], hidden, targets.shape[1]]
    params = [(rng.normal(size=(m, d)) * (2 / d) ** 0.5, np.zeros(m)) for d, m in itertools.pairwise(sizes)]
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(X)), max(1, len(X) // 20)):
            grads = mlp_backward(params, X[batch], targets[batch], lambda a: act("relu", a))
            params = [(W - 0.005 * gW, b - 0.005 * gb) for (W, b), (gW, gb) in zip(params, grads, strict=True)]
    return params


# %% right | train_mlp | Adam, everything written out
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    rng = np.random.default_rng(seed)
    d, k = X.shape[1], len(np.unique(y))
    theta = {
        "W1": rng.uniform(-1, 1, (hidden, d)) * (6 / d) ** 0.5,
        "b1": np.zeros(hidden),
        "W2": rng.uniform(-1, 1, (k, hidden)) * (3 / hidden) ** 0.5,
        "b2": np.zeros(k),
    }
    m, v, t = dict.fromkeys(theta, 0.0), dict.fromkeys(theta, 0.0), 0
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for i in range(0, len(X), 64):
            x, label, t = X[order[i : i + 64]], y[order[i : i + 64]], t + 1
            h = np.maximum(x @ theta["W1"].T + theta["b1"], 0)
            z = h @ theta["W2"].T + theta["b2"]
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(x)), label] -= 1
            p /= len(x)
            back = (p @ theta["W2"]) * (h > 0)
            for name, g in (("W1", back.T @ x), ("b1", back.sum(0)), ("W2", p.T @ h), ("b2", p.sum(0))):
                m[name] = 0.9 * m[name] + 0.1 * g
                v[name] = 0.999 * v[name] + 0.001 * g * g
                theta[name] = theta[name] - 0.01 * (m[name] / (1 - 0.9**t)) / (np.sqrt(v[name] / (1 - 0.999**t)) + 1e-8)
    return [(theta["W1"], theta["b1"]), (theta["W2"], theta["b2"])]


# %% right | train_mlp | plain gradient descent, early Xavier start
def train_mlp(X, y, hidden=64, epochs=30, seed=0):
    rng = np.random.default_rng(seed)
    layers = []
    for d, m in ((X.shape[1], hidden), (hidden, int(y.max()) + 1)):
        layers.append([rng.uniform(-1, 1, (m, d)) * np.sqrt(6 / (d + m)), np.zeros(m)])
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(X)), max(1, len(X) // 32)):
            h, slope = act("relu", X[batch] @ layers[0][0].T + layers[0][1])
            _, dz = softmax_ce(h @ layers[1][0].T + layers[1][1], y[batch])
            dh, *last = linear_backward(h, layers[1][0], dz)
            _, *first = linear_backward(X[batch], layers[0][0], dh * slope)
            for layer, gradients in zip(layers, (first, last), strict=True):
                for i in (0, 1):
                    layer[i] = layer[i] - 0.5 * gradients[i]
    return [tuple(layer) for layer in layers]
