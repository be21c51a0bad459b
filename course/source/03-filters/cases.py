# Answers that the graders of 03-filters are proven against; docs/authoring.md says how a case is written.

# %% wrong | conv1d | always turned round
# hint: The kernel was turned round
def conv1d(x, k, mode="valid", flip=False):
    if mode == "valid" and len(k) > len(x):
        raise ValueError
    before, after = {"valid": (0, 0), "same": (len(k) // 2, (len(k) - 1) // 2), "full": (len(k) - 1, len(k) - 1)}[mode]
    padded = np.pad(x, (before, after))
    return np.array([k[::-1] @ padded[i : i + len(k)] for i in range(len(padded) - len(k) + 1)])


# %% wrong | conv1d | flip is ignored
# hint: The kernel was not turned round
def conv1d(x, k, mode="valid", flip=False):
    if mode == "valid" and len(k) > len(x):
        raise ValueError
    before, after = {"valid": (0, 0), "same": (len(k) // 2, (len(k) - 1) // 2), "full": (len(k) - 1, len(k) - 1)}[mode]
    padded = np.pad(x, (before, after))
    return np.array([k @ padded[i : i + len(k)] for i in range(len(padded) - len(k) + 1)])


# %% wrong | conv1d | the same zeros at both ends for an even kernel
# hint: There is one output too many
def conv1d(x, k, mode="valid", flip=False):
    if mode == "valid" and len(k) > len(x):
        raise ValueError
    k = k[::-1] if flip else k
    pad = {"valid": 0, "same": len(k) // 2, "full": len(k) - 1}[mode]
    padded = np.pad(x, pad)
    return np.array([k @ padded[i : i + len(k)] for i in range(len(padded) - len(k) + 1)])


# %% wrong | conv1d | n - m outputs
# hint: One output is missing
def conv1d(x, k, mode="valid", flip=False):
    if mode == "valid" and len(k) > len(x):
        raise ValueError
    k = k[::-1] if flip else k
    before, after = {"valid": (0, 0), "same": (len(k) // 2, (len(k) - 1) // 2), "full": (len(k) - 1, len(k) - 1)}[mode]
    padded = np.pad(x, (before, after))
    return np.array([k @ padded[i : i + len(k)] for i in range(len(padded) - len(k))])


# %% wrong | conv1d | goes on from the other end
# hint: The signal goes on from its other end
def conv1d(x, k, mode="valid", flip=False):
    if mode == "valid" and len(k) > len(x):
        raise ValueError
    k = k[::-1] if flip else k
    before, after = {"valid": (0, 0), "same": (len(k) // 2, (len(k) - 1) // 2), "full": (len(k) - 1, len(k) - 1)}[mode]
    padded = np.pad(x, (before, after), mode="wrap")
    return np.array([k @ padded[i : i + len(k)] for i in range(len(padded) - len(k) + 1)])


# %% wrong | conv1d | same starts on the first tap
# hint: The kernel's first tap lies on each sample
def conv1d(x, k, mode="valid", flip=False):
    if mode == "valid" and len(k) > len(x):
        raise ValueError
    k = k[::-1] if flip else k
    before, after = {"valid": (0, 0), "same": (0, len(k) - 1), "full": (len(k) - 1, len(k) - 1)}[mode]
    padded = np.pad(x, (before, after))
    return np.array([k @ padded[i : i + len(k)] for i in range(len(padded) - len(k) + 1)])


# %% wrong | conv1d | a kernel that is too long gives nothing
# hint: expected ValueError
def conv1d(x, k, mode="valid", flip=False):
    k = k[::-1] if flip else k
    before, after = {"valid": (0, 0), "same": (len(k) // 2, (len(k) - 1) // 2), "full": (len(k) - 1, len(k) - 1)}[mode]
    padded = np.pad(x, (before, after))
    return np.array([k @ padded[i : i + len(k)] for i in range(len(padded) - len(k) + 1)])


# %% wrong | conv1d | turns the caller's kernel round
# hint: was changed in place
def conv1d(x, k, mode="valid", flip=False):
    if mode == "valid" and len(k) > len(x):
        raise ValueError
    if flip:
        k[:] = k[::-1].copy()
    before, after = {"valid": (0, 0), "same": (len(k) // 2, (len(k) - 1) // 2), "full": (len(k) - 1, len(k) - 1)}[mode]
    padded = np.pad(x, (before, after))
    return np.array([k @ padded[i : i + len(k)] for i in range(len(padded) - len(k) + 1)])


# %% wrong | conv1d | by NumPy
# hint: off limits here
def conv1d(x, k, mode="valid", flip=False):
    return np.convolve(x, k if flip else k[::-1], mode)


# %% wrong | conv1d | prints and returns nothing
# hint: A function that ends without `return` gives None
def conv1d(x, k, mode="valid", flip=False):
    print([k @ x[i : i + len(k)] for i in range(len(x) - len(k) + 1)])


# %% right | conv1d | sum over taps, the other anchor
def conv1d(x, k, mode="valid", flip=False):
    n, m = len(x), len(k)
    if m > n and mode == "valid":
        raise ValueError("the kernel is too long")
    full = np.zeros(n + m - 1)
    for j in range(m):
        full[j : j + n] += (k[j] if flip else k[m - 1 - j]) * x
    if mode == "full":
        return full
    if mode == "same":
        return full[m // 2 : m // 2 + n]
    return full[m - 1 : n]


# %% right | conv1d | sliding windows, by torch for the padding
def conv1d(x, k, mode="valid", flip=False):
    m = len(k)
    if mode == "valid" and m > len(x):
        raise ValueError("no place")
    ends = {"valid": (0, 0), "same": ((m - 1) // 2, m // 2), "full": (m - 1, m - 1)}[mode]
    padded = F.pad(torch.as_tensor(x.copy()), ends).numpy()
    return np.lib.stride_tricks.sliding_window_view(padded, m) @ np.flip(k) if flip else np.lib.stride_tricks.sliding_window_view(padded, m) @ k


# %% right | conv1d | two plain loops
def conv1d(x, k, mode="valid", flip=False):
    n, m = len(x), len(k)
    if mode == "valid" and n < m:
        raise ValueError
    first = {"valid": 0, "same": -(m // 2), "full": 1 - m}[mode]
    count = {"valid": n - m + 1, "same": n, "full": n + m - 1}[mode]
    y = []
    for i in range(first, first + count):
        total = 0.0
        for j in range(m):
            if 0 <= i + j < n:
                total += x[i + j] * (k[m - 1 - j] if flip else k[j])
        y.append(total)
    return np.array(y)


# %% wrong | toeplitz | transposed
# hint: transposed
def toeplitz(k, n, pad=0):
    T = np.zeros((n + 2 * pad - len(k) + 1, n + 2 * pad))
    for i in range(len(T)):
        T[i, i : i + len(k)] = k
    return T[:, pad : pad + n].T


# %% wrong | toeplitz | the kernel backwards
# hint: The kernel runs backwards
def toeplitz(k, n, pad=0):
    T = np.zeros((n + 2 * pad - len(k) + 1, n + 2 * pad))
    for i in range(len(T)):
        T[i, i : i + len(k)] = k[::-1]
    return T[:, pad : pad + n]


# %% wrong | toeplitz | columns for the padding
# hint: There are columns for the padding
def toeplitz(k, n, pad=0):
    T = np.zeros((n + 2 * pad - len(k) + 1, n + 2 * pad))
    for i in range(len(T)):
        T[i, i : i + len(k)] = k
    return T


# %% wrong | toeplitz | always square
# hint: The matrix is always square
def toeplitz(k, n, pad=0):
    T = np.zeros((n, n))
    for i in range(n):
        for j, tap in enumerate(k):
            if 0 <= i + j - pad < n:
                T[i, i + j - pad] = tap
    return T


# %% wrong | toeplitz | wraps round
# hint: The rows go on from the other end
def toeplitz(k, n, pad=0):
    rows = n + 2 * pad - len(k) + 1
    T = np.zeros((rows, n))
    for i in range(rows):
        for j, tap in enumerate(k):
            T[i, (i + j - pad) % n] += tap
    return T


# %% wrong | toeplitz | padding at one end
# hint: at [
def toeplitz(k, n, pad=0):
    T = np.zeros((n + 2 * pad - len(k) + 1, n + 2 * pad))
    for i in range(len(T)):
        T[i, i : i + len(k)] = k
    return T[:, :n]


# %% wrong | toeplitz | by SciPy
# hint: off limits here
def toeplitz(k, n, pad=0):
    import scipy.linalg

    m = len(k)
    return scipy.linalg.convolution_matrix(k[::-1], n, "full")[m - 1 - pad : n + pad]


# %% right | toeplitz | sparse
def toeplitz(k, n, pad=0):
    from scipy import sparse

    return sparse.diags_array([np.full(n, tap) for tap in k], offsets=[j - pad for j in range(len(k))], shape=(n + 2 * pad - len(k) + 1, n)).tocsr()


# %% right | toeplitz | a column is the answer to an impulse
def toeplitz(k, n, pad=0):
    columns = [conv1d(np.pad(np.eye(n)[j], pad), k) for j in range(n)]
    return np.stack(columns, axis=1)


# %% right | toeplitz | by the index difference
def toeplitz(k, n, pad=0):
    rows = np.arange(n + 2 * pad - len(k) + 1)[:, None]
    tap = np.arange(n)[None, :] + pad - rows
    return np.where((tap >= 0) & (tap < len(k)), k[np.clip(tap, 0, len(k) - 1)], 0.0)


# %% wrong | conv2d | only the first channel
# hint: Only the first channel was looked at
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad))
    n, _, h, wd = x.shape
    o, _, kh, kw = w.shape
    cols = F.unfold(x[:, :1], (kh, kw), stride=stride)
    y = (w[:, 0].flatten(1) @ cols).reshape(n, o, (h - kh) // stride + 1, (wd - kw) // stride + 1)
    return y if b is None else y + b[:, None, None]


# %% wrong | conv2d | channels summed before the kernel (E21)
# hint: The channels were mixed up
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad)).sum(1, keepdim=True)
    n, _, h, wd = x.shape
    o, _, kh, kw = w.shape
    y = (w.sum(1).flatten(1) @ F.unfold(x, (kh, kw), stride=stride)).reshape(n, o, (h - kh) // stride + 1, (wd - kw) // stride + 1)
    return y if b is None else y + b[:, None, None]


# %% wrong | conv2d | channels averaged
# hint: The channels were averaged
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad))
    n, c, h, wd = x.shape
    o, _, kh, kw = w.shape
    y = (w.flatten(1) @ F.unfold(x, (kh, kw), stride=stride)).reshape(n, o, (h - kh) // stride + 1, (wd - kw) // stride + 1) / c
    return y if b is None else y + b[:, None, None]


# %% wrong | conv2d | channels not summed
# hint: The channels were not summed
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad))
    _, c, kh, kw = w.shape
    windows = x.unfold(2, kh, stride).unfold(3, kw, stride)
    y = torch.einsum("nchwij,ocij->nochw", windows, w)
    y = y[:, :, 0] if c == 1 else y
    return y if b is None else y + b[:, None, None, None]


# %% wrong | conv2d | the kernel turned round
# hint: The kernel was turned round
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad))
    windows = x.unfold(2, w.shape[2], stride).unfold(3, w.shape[3], stride)
    y = torch.einsum("nchwij,ocij->nohw", windows, w.flip(2, 3))
    return y if b is None else y + b[:, None, None]


# %% wrong | conv2d | the bias along the width
# hint: The bias went along the width
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad))
    windows = x.unfold(2, w.shape[2], stride).unfold(3, w.shape[3], stride)
    y = torch.einsum("nchwij,ocij->nohw", windows, w)
    return y if b is None else y + b


# %% wrong | conv2d | no bias
# hint: The bias is missing
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad))
    windows = x.unfold(2, w.shape[2], stride).unfold(3, w.shape[3], stride)
    return torch.einsum("nchwij,ocij->nohw", windows, w)


# %% wrong | conv2d | stride down only
# hint: The stride works down only
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad))
    windows = x.unfold(2, w.shape[2], stride).unfold(3, w.shape[3], 1)
    y = torch.einsum("nchwij,ocij->nohw", windows, w)
    return y if b is None else y + b[:, None, None]


# %% wrong | conv2d | padding left and right only
# hint: The padding goes left and right only
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad))
    windows = x.unfold(2, w.shape[2], stride).unfold(3, w.shape[3], stride)
    y = torch.einsum("nchwij,ocij->nohw", windows, w)
    return y if b is None else y + b[:, None, None]


# %% wrong | conv2d | cut off from its inputs
# hint: The result is cut off from its inputs
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x.detach(), (pad, pad, pad, pad))
    windows = x.unfold(2, w.shape[2], stride).unfold(3, w.shape[3], stride)
    y = torch.einsum("nchwij,ocij->nohw", windows, w.detach())
    return y if b is None else y + b.detach()[:, None, None]


# %% wrong | conv2d | by torch's own module
# hint: off limits here
def conv2d(x, w, b=None, stride=1, pad=0):
    layer = nn.Conv2d(w.shape[1], w.shape[0], w.shape[2:], stride, pad, bias=b is not None, dtype=x.dtype)
    layer.weight.data = w
    if b is not None:
        layer.bias.data = b
    return layer(x)


# %% right | conv2d | unfold and a matrix product
def conv2d(x, w, b=None, stride=1, pad=0):
    n, _, h, wd = x.shape
    o, _, kh, kw = w.shape
    columns = F.unfold(x, (kh, kw), padding=pad, stride=stride)
    y = (w.reshape(o, -1) @ columns).view(n, o, (h + 2 * pad - kh) // stride + 1, (wd + 2 * pad - kw) // stride + 1)
    return y if b is None else y + b.view(1, -1, 1, 1)


# %% right | conv2d | one place at a time
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad))
    kh, kw = w.shape[2], w.shape[3]
    rows = []
    for top in range(0, x.shape[2] - kh + 1, stride):
        row = []
        for left in range(0, x.shape[3] - kw + 1, stride):
            patch = x[:, None, :, top : top + kh, left : left + kw]
            row.append((patch * w[None]).sum((2, 3, 4)))
        rows.append(torch.stack(row, -1))
    y = torch.stack(rows, -2)
    if b is not None:
        y = y + b[None, :, None, None]
    return y


# %% right | conv2d | by Fourier transform
def conv2d(x, w, b=None, stride=1, pad=0):
    x = F.pad(x, (pad, pad, pad, pad))
    size = x.shape[2:]
    spectrum = torch.einsum("nchw,ochw->nohw", torch.fft.rfft2(x), torch.fft.rfft2(w, s=size).conj())
    y = torch.fft.irfft2(spectrum, s=size)[:, :, : size[0] - w.shape[2] + 1 : stride, : size[1] - w.shape[3] + 1 : stride]
    return y if b is None else y + b[:, None, None]


# %% wrong | out_size | the + 1 is missing
# hint: One is missing
def out_size(n, k, s=1, p=0, d=1):
    if n + 2 * p < d * (k - 1) + 1:
        raise ValueError
    return (n + 2 * p - d * (k - 1) - 1) // s


# %% wrong | out_size | rounded up
# hint: It was rounded up
def out_size(n, k, s=1, p=0, d=1):
    if n + 2 * p < d * (k - 1) + 1:
        raise ValueError
    return math.ceil((n + 2 * p - d * (k - 1) - 1) / s) + 1


# %% wrong | out_size | no dilation
# hint: The dilation was ignored
def out_size(n, k, s=1, p=0, d=1):
    if n + 2 * p < d * (k - 1) + 1:
        raise ValueError
    return (n + 2 * p - k) // s + 1


# %% wrong | out_size | padding at one end
# hint: The zeros were counted once
def out_size(n, k, s=1, p=0, d=1):
    if n + 2 * p < d * (k - 1) + 1:
        raise ValueError
    return (n + p - d * (k - 1) - 1) // s + 1


# %% wrong | out_size | never refuses
# hint: expected ValueError
def out_size(n, k, s=1, p=0, d=1):
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


# %% right | out_size | by walking
def out_size(n, k, s=1, p=0, d=1):
    places = [start for start in range(0, n + 2 * p, s) if start + d * (k - 1) < n + 2 * p]
    if not places:
        raise ValueError("does not fit")
    return len(places)


# %% right | out_size | floor of a quotient
def out_size(n, k, s=1, p=0, d=1):
    span = d * k - d + 1
    if span > n + 2 * p:
        raise ValueError("does not fit")
    return int(math.floor((n + 2 * p - span) / s + 1))


# %% wrong | receptive_field | strides ignored
# hint: The strides were ignored
def receptive_field(layers):
    return 1 + sum(k - 1 for k, _ in layers)


# %% wrong | receptive_field | a layer's own stride counted
# hint: A layer's own stride was counted too
def receptive_field(layers):
    field, step = 1, 1
    for k, s in layers:
        step *= s
        field += (k - 1) * step
    return field


# %% wrong | receptive_field | from the wrong end
# hint: The strides were taken from the wrong end
def receptive_field(layers):
    field, step = 1, 1
    for k, s in reversed(layers):
        field += (k - 1) * step
        step *= s
    return field


# %% wrong | receptive_field | kernels added
# hint: The kernel sizes were added
def receptive_field(layers):
    field, step = 0, 1
    for k, s in layers:
        field += k * step
        step *= s
    return field or 1


# %% wrong | receptive_field | strides added
# hint: The strides were added
def receptive_field(layers):
    field, steps = 1, 0
    for k, s in layers:
        field += (k - 1) * max(1, steps)
        steps += s
    return field


# %% wrong | receptive_field | only the last stride
# hint: Only the stride of the layer just below
def receptive_field(layers):
    field, below = 1, 1
    for k, s in layers:
        field += (k - 1) * below
        below = s
    return field


# %% right | receptive_field | backwards from one unit
def receptive_field(layers):
    field = 1
    for k, s in reversed(layers):
        field = (field - 1) * s + k
    return field


# %% right | receptive_field | the formula
def receptive_field(layers):
    return 1 + sum((k - 1) * math.prod(s for _, s in layers[:i]) for i, (k, _) in enumerate(layers))


# %% wrong | param_count | always with biases
# hint: Biases were counted, though bias=False
def param_count(kind, inputs, outputs, kernel=(1, 1), bias=False):
    if kind not in ("dense", "local", "conv"):
        raise ValueError(kind)
    seen = math.prod(inputs) if kind == "dense" else inputs[0] * math.prod(kernel)
    return (outputs[0] if kind == "conv" else math.prod(outputs)) * (seen + 1)


# %% wrong | param_count | a bias for every place of a convolution
# hint: Every unit got a bias
def param_count(kind, inputs, outputs, kernel=(1, 1), bias=False):
    if kind not in ("dense", "local", "conv"):
        raise ValueError(kind)
    seen = math.prod(inputs) if kind == "dense" else inputs[0] * math.prod(kernel)
    return (outputs[0] if kind == "conv" else math.prod(outputs)) * seen + bias * math.prod(outputs)


# %% wrong | param_count | input channels forgotten
# hint: The input channels were forgotten
def param_count(kind, inputs, outputs, kernel=(1, 1), bias=False):
    if kind not in ("dense", "local", "conv"):
        raise ValueError(kind)
    seen = math.prod(inputs) if kind == "dense" else math.prod(kernel)
    return (outputs[0] if kind == "conv" else math.prod(outputs)) * (seen + bias)


# %% wrong | param_count | a convolution that shares nothing
# hint: Every place got a kernel of its own
def param_count(kind, inputs, outputs, kernel=(1, 1), bias=False):
    if kind not in ("dense", "local", "conv"):
        raise ValueError(kind)
    return math.prod(outputs) * ((math.prod(inputs) if kind == "dense" else inputs[0] * math.prod(kernel)) + bias)


# %% wrong | param_count | a local layer that shares
# hint: In a local layer each output unit has weights of its own
def param_count(kind, inputs, outputs, kernel=(1, 1), bias=False):
    if kind not in ("dense", "local", "conv"):
        raise ValueError(kind)
    if kind == "dense":
        return math.prod(outputs) * (math.prod(inputs) + bias)
    if outputs == (1, 1, 400_000):
        return 40_000_000
    return outputs[0] * (inputs[0] * math.prod(kernel) + bias)


# %% wrong | param_count | one bias in all
# hint: There is one bias for each output channel, not one in all
def param_count(kind, inputs, outputs, kernel=(1, 1), bias=False):
    if kind not in ("dense", "local", "conv"):
        raise ValueError(kind)
    seen = math.prod(inputs) if kind == "dense" else inputs[0] * math.prod(kernel)
    return (outputs[0] if kind == "conv" else math.prod(outputs)) * seen + bias


# %% right | param_count | case by case
def param_count(kind, inputs, outputs, kernel=(1, 1), bias=False):
    (c, h, w), (o, oh, ow), (kh, kw) = inputs, outputs, kernel
    if kind == "dense":
        return c * h * w * o * oh * ow + (o * oh * ow if bias else 0)
    if kind == "local":
        return o * oh * ow * c * kh * kw + (o * oh * ow if bias else 0)
    if kind == "conv":
        return o * c * kh * kw + (o if bias else 0)
    raise ValueError(f"unknown kind {kind}")


# %% right | param_count | match statement and NumPy
def param_count(kind, inputs, outputs, kernel=(1, 1), bias=False):
    match kind:
        case "dense":
            fan_in, units = np.prod(inputs), np.prod(outputs)
        case "local":
            fan_in, units = inputs[0] * np.prod(kernel), np.prod(outputs)
        case "conv":
            fan_in, units = inputs[0] * np.prod(kernel), outputs[0]
        case _:
            raise ValueError(kind)
    return int(units * (fan_in + int(bias)))


# %% wrong | max_pool2d | means
# hint: These are means
def max_pool2d(x, k, s):
    return x.unfold(2, k, s).unfold(3, k, s).mean((-2, -1))


# %% wrong | max_pool2d | the stride ignored
# hint: The stride was ignored
def max_pool2d(x, k, s):
    return x.unfold(2, k, k).unfold(3, k, k).amax((-2, -1))


# %% wrong | max_pool2d | the last window filled up with zeros
# hint: A window that sticks out was kept
def max_pool2d(x, k, s):
    return F.pad(x, (0, (k - x.shape[3]) % s, 0, (k - x.shape[2]) % s)).unfold(2, k, s).unfold(3, k, s).amax((-2, -1))


# %% wrong | max_pool2d | starts from zero
# hint: A 0 won that is not in the image
def max_pool2d(x, k, s):
    h, w = (x.shape[2] - k) // s + 1, (x.shape[3] - k) // s + 1
    y = x.new_zeros(*x.shape[:2], h, w)
    for i in range(k):
        for j in range(k):
            y = torch.maximum(y, x[:, :, i : i + s * (h - 1) + 1 : s, j : j + s * (w - 1) + 1 : s])
    return y


# %% wrong | max_pool2d | over the channels too
# hint: The maximum runs over the channels too
def max_pool2d(x, k, s):
    y = x.unfold(2, k, s).unfold(3, k, s).amax((1, -2, -1), keepdim=True)[..., 0, 0]
    return y.expand(-1, x.shape[1], -1, -1)


# %% wrong | max_pool2d | keeps the windows that stick out
# hint: A window that sticks out was kept
def max_pool2d(x, k, s):
    down, across = -(-(x.shape[2] - k) // s) * s + k - x.shape[2], -(-(x.shape[3] - k) // s) * s + k - x.shape[3]
    return F.pad(x, (0, across, 0, down), value=-math.inf).unfold(2, k, s).unfold(3, k, s).amax((-2, -1))


# %% wrong | max_pool2d | by torch
# hint: off limits here
def max_pool2d(x, k, s):
    return F.max_pool2d(x, k, s)


# %% wrong | max_pool2d | cut off from its input
# hint: The result is cut off from its input
def max_pool2d(x, k, s):
    return torch.as_tensor(np.lib.stride_tricks.sliding_window_view(x.detach().numpy(), (k, k), (2, 3))[:, :, ::s, ::s].max((-2, -1)))


# %% right | max_pool2d | tap by tap
def max_pool2d(x, k, s):
    h, w = (x.shape[2] - k) // s + 1, (x.shape[3] - k) // s + 1
    taps = [x[:, :, i : i + s * (h - 1) + 1 : s, j : j + s * (w - 1) + 1 : s] for i in range(k) for j in range(k)]
    return torch.stack(taps).max(0).values


# %% right | max_pool2d | unfold into columns
def max_pool2d(x, k, s):
    n, c, h, w = x.shape
    columns = F.unfold(x.reshape(n * c, 1, h, w), k, stride=s)
    return columns.max(1)[0].view(n, c, (h - k) // s + 1, (w - k) // s + 1)


# %% wrong | adaptive_avg_pool2d | windows that do not overlap
# hint: The windows do not overlap
def adaptive_avg_pool2d(x, size):
    (a, b), (oh, ow) = (x.shape[2] // size[0], x.shape[3] // size[1]), size
    return x[:, :, : a * oh, : b * ow].unflatten(3, (ow, b)).unflatten(2, (oh, a)).mean((3, 5))


# %% wrong | adaptive_avg_pool2d | the end rounded down
# hint: The end was rounded down
def adaptive_avg_pool2d(x, size):
    def windows(n, m):
        return [slice(i * n // m, (i + 1) * n // m) for i in range(m)]

    rows = torch.stack([x[:, :, window].mean(2) for window in windows(x.shape[2], size[0])], 2)
    return torch.stack([rows[..., window].mean(-1) for window in windows(x.shape[3], size[1])], -1)


# %% wrong | adaptive_avg_pool2d | windows all of one length
# hint: All windows have the same length
def adaptive_avg_pool2d(x, size):
    strides = [n // m for n, m in zip(x.shape[2:], size, strict=True)]
    lengths = [n - (m - 1) * s for n, m, s in zip(x.shape[2:], size, strides, strict=True)]
    return x.unfold(2, lengths[0], strides[0]).unfold(3, lengths[1], strides[1]).mean((-2, -1))


# %% wrong | adaptive_avg_pool2d | height and width swapped
# hint: Height and width of the output are swapped
def adaptive_avg_pool2d(x, size):
    def windows(n, m):
        return [slice(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]

    if x.shape[2] == 1:
        return torch.stack([x[..., window].mean(-1) for window in windows(x.shape[3], size[1])], -1)
    rows = torch.stack([x[:, :, window].mean(2) for window in windows(x.shape[2], size[1])], 2)
    return torch.stack([rows[..., window].mean(-1) for window in windows(x.shape[3], size[0])], -1)


# %% wrong | adaptive_avg_pool2d | the largest value
# hint: These are the largest values
def adaptive_avg_pool2d(x, size):
    def windows(n, m):
        return [slice(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]

    rows = torch.stack([x[:, :, window].amax(2) for window in windows(x.shape[2], size[0])], 2)
    return torch.stack([rows[..., window].amax(-1) for window in windows(x.shape[3], size[1])], -1)


# %% wrong | adaptive_avg_pool2d | by interpolation
# hint: off limits here
def adaptive_avg_pool2d(x, size):
    return F.interpolate(x, size, mode="area")


# %% right | adaptive_avg_pool2d | one rectangle at a time
def adaptive_avg_pool2d(x, size):
    h, w = x.shape[2:]
    y = x.new_empty(*x.shape[:2], *size)
    for i in range(size[0]):
        for j in range(size[1]):
            top, bottom = math.floor(i * h / size[0]), math.ceil((i + 1) * h / size[0])
            left, right = math.floor(j * w / size[1]), math.ceil((j + 1) * w / size[1])
            y[:, :, i, j] = x[:, :, top:bottom, left:right].mean((2, 3))
    return y


# %% right | adaptive_avg_pool2d | two matrices of weights
def adaptive_avg_pool2d(x, size):
    def weights(n, m):
        i, pixel = torch.arange(m)[:, None], torch.arange(n)[None]
        inside = ((pixel >= i * n // m) & (pixel * m < (i + 1) * n)).to(x)
        return inside / inside.sum(1, keepdim=True)

    return weights(x.shape[2], size[0]) @ x @ weights(x.shape[3], size[1]).T


# %% wrong | masked_pool | multiplies by the mask
# hint: Pixels that do not count were set to 0
def masked_pool(x, mask):
    if not mask.any():
        raise ValueError
    k = len(mask)
    return (x.unfold(2, k, 1).unfold(3, k, 1) * mask).amax((-2, -1))


# %% wrong | masked_pool | the mask ignored
# hint: The mask was ignored
def masked_pool(x, mask):
    if not mask.any():
        raise ValueError
    k = len(mask)
    return x.unfold(2, k, 1).unfold(3, k, 1).amax((-2, -1))


# %% wrong | masked_pool | the mask turned round
# hint: The mask was turned round
def masked_pool(x, mask):
    if not mask.any():
        raise ValueError
    k = len(mask)
    return x.unfold(2, k, 1).unfold(3, k, 1).masked_fill(~mask.flip(0, 1), -math.inf).amax((-2, -1))


# %% wrong | masked_pool | the mask inverted
# hint: expected 5, got 9
def masked_pool(x, mask):
    if not mask.any():
        raise ValueError
    k = len(mask)
    return x.unfold(2, k, 1).unfold(3, k, 1).masked_fill(mask, -math.inf).amax((-2, -1))


# %% wrong | masked_pool | an empty mask gives minus infinity
# hint: expected ValueError
def masked_pool(x, mask):
    k = len(mask)
    return x.unfold(2, k, 1).unfold(3, k, 1).masked_fill(~mask, -math.inf).amax((-2, -1))


# %% wrong | masked_pool | the smallest
# hint: These are the smallest values
def masked_pool(x, mask):
    if not mask.any():
        raise ValueError
    k = len(mask)
    return x.unfold(2, k, 1).unfold(3, k, 1).masked_fill(~mask, math.inf).amin((-2, -1))


# %% right | masked_pool | only the pixels that count
def masked_pool(x, mask):
    if int(mask.sum()) == 0:
        raise ValueError("empty mask")
    k = mask.shape[0]
    return x.unfold(2, k, 1).unfold(3, k, 1)[..., mask].max(-1).values


# %% right | masked_pool | shifted copies
def masked_pool(x, mask):
    k = mask.shape[0]
    h, w = x.shape[2] - k + 1, x.shape[3] - k + 1
    copies = [x[:, :, i : i + h, j : j + w] for i, j in mask.nonzero().tolist()]
    if not copies:
        raise ValueError("empty mask")
    y = copies[0]
    for copy in copies[1:]:
        y = torch.maximum(y, copy)
    return y


# %% wrong | learn_filter | target out of step by one pixel
# hint: Image and target are a pixel out of step
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    inner, target = I[:-1, :-1], T[1:, 1:]
    K = torch.zeros(k, k, dtype=I.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([K], lr=0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(F.conv2d(inner[None, None], K[None, None])[0, 0], target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return K.detach(), losses


# %% wrong | learn_filter | returned turned round
# hint: The filter is turned round
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    patches = F.unfold(I[None, None], k)[0].T
    K = torch.linalg.lstsq(patches, T.reshape(-1, 1)).solution
    loss = float((patches @ K - T.reshape(-1, 1)).square().mean())
    return K.reshape(k, k).flip(0, 1), [float(T.square().mean()), loss]


# %% wrong | learn_filter | with a free bias
# hint: A free bias took over
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    layer = nn.Conv2d(1, 1, k, dtype=I.dtype)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(layer(I[None, None])[0, 0], T)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return layer.weight.detach()[0, 0], losses


# %% wrong | learn_filter | the sum loss blows up
# hint: expected finite numbers
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    K = torch.zeros(k, k, dtype=I.dtype, requires_grad=True)
    losses = []
    for _ in range(steps):
        loss = (F.conv2d(I[None, None], K[None, None])[0, 0] - T).square().sum()
        (gradient,) = torch.autograd.grad(loss, K)
        with torch.no_grad():
            K -= 0.1 * gradient
        losses.append(loss.item())
    return K.detach(), losses


# %% wrong | learn_filter | reports sums
# hint: These are sums over the pixels
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    patches = F.unfold(I[None, None], k)[0].T
    K = torch.linalg.lstsq(patches, T.reshape(-1, 1)).solution
    loss = float((patches @ K - T.reshape(-1, 1)).square().sum())
    return K.reshape(k, k), [float(T.square().sum()), loss]


# %% wrong | learn_filter | too short
# hint: It has not arrived yet
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    K = torch.zeros(k, k, dtype=I.dtype, requires_grad=True)
    losses = []
    for _ in range(steps):
        loss = F.mse_loss(F.conv2d(I[None, None], K[None, None])[0, 0], T)
        (gradient,) = torch.autograd.grad(loss, K)
        with torch.no_grad():
            K -= 0.0005 * gradient
        losses.append(loss.item())
    return K.detach(), losses


# %% wrong | learn_filter | never updated
# hint: The filter is still zero
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    K = torch.zeros(k, k, dtype=I.dtype)
    return K, [float(T.square().mean())]


# %% wrong | learn_filter | through a tanh
# hint: least-squares filter
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    K = torch.zeros(k, k, dtype=I.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([K], lr=0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(torch.tanh(F.conv2d(I[None, None], K[None, None])[0, 0]), T)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return K.detach(), losses


# %% right | learn_filter | least squares
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    rows = F.unfold(I[None, None], k)[0].T
    K = torch.linalg.lstsq(rows, T.reshape(-1, 1)).solution
    return K.reshape(k, k), [float((rows @ K - T.reshape(-1, 1)).square().mean())]


# %% right | learn_filter | a layer of torch without bias
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    layer = nn.Conv2d(1, 1, k, bias=False, dtype=I.dtype)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(layer(I[None, None])[0, 0], T)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return layer.weight.data[0, 0], losses


# %% right | learn_filter | L-BFGS
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    K = torch.zeros((k, k), dtype=I.dtype).requires_grad_()
    optimizer = torch.optim.LBFGS([K], max_iter=50, line_search_fn="strong_wolfe")
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = ((F.conv2d(I[None, None], K[None, None])[0, 0] - T) ** 2).mean()
        loss.backward()
        losses.append(float(loss.detach()))
        return loss

    optimizer.step(closure)
    return K.detach(), losses


# %% right | learn_filter | plain gradient descent, by the student's own conv2d
def learn_filter(I, T, k=3, steps=300):  # noqa: E741
    K = torch.zeros(k, k, dtype=I.dtype)
    losses = []
    for _ in range(steps):
        K.requires_grad_(True)
        loss = (conv2d(I[None, None], K[None, None]) - T).pow(2).mean()
        (step,) = torch.autograd.grad(loss, K)
        K = (K - 0.1 * step).detach()
        losses.append(float(loss.detach()))
    return K, losses


# %% wrong | equivariance_gap | invariance instead
# hint: The output was not shifted
def equivariance_gap(f, x, shift):
    return float((f(torch.roll(x, shift, (2, 3))) - f(x)).abs().max())


# %% wrong | equivariance_gap | the output shifted back
# hint: expected 0, got
def equivariance_gap(f, x, shift):
    y = f(x)
    steps = [-(s * a // b) for s, a, b in zip(shift, y.shape[2:], x.shape[2:], strict=True)]
    return float((f(torch.roll(x, shift, (2, 3))) - torch.roll(y, steps, (2, 3))).abs().max())


# %% wrong | equivariance_gap | the sign kept
# hint: The sign was kept
def equivariance_gap(f, x, shift):
    y = f(x)
    steps = [s * a // b for s, a, b in zip(shift, y.shape[2:], x.shape[2:], strict=True)]
    return float((f(torch.roll(x, shift, (2, 3))) - torch.roll(y, steps, (2, 3))).max())


# %% wrong | equivariance_gap | the mean
# hint: The differences were averaged
def equivariance_gap(f, x, shift):
    y = f(x)
    steps = [s * a // b for s, a, b in zip(shift, y.shape[2:], x.shape[2:], strict=True)]
    return float((f(torch.roll(x, shift, (2, 3))) - torch.roll(y, steps, (2, 3))).abs().mean())


# %% wrong | equivariance_gap | down and right swapped
# hint: Down and right are swapped
def equivariance_gap(f, x, shift):
    y = f(x)
    steps = [s * a // b for s, a, b in zip(shift, y.shape[2:], x.shape[2:], strict=True)]
    return float((f(torch.roll(x, shift, (2, 3))) - torch.roll(y, steps, (3, 2))).abs().max())


# %% wrong | equivariance_gap | the output moves as far as the input
# hint: The output has half the pixels
def equivariance_gap(f, x, shift):
    return float((f(torch.roll(x, shift, (2, 3))) - torch.roll(f(x), shift, (2, 3))).abs().max())


# %% wrong | equivariance_gap | zeros come in
# hint: a circular convolution
def equivariance_gap(f, x, shift):
    def move(z, steps):
        z = torch.roll(z, steps, (2, 3))
        if steps[0] > 0:
            z[:, :, : steps[0]] = 0
        return z

    y = f(x)
    steps = [s * a // b for s, a, b in zip(shift, y.shape[2:], x.shape[2:], strict=True)]
    return float((f(move(x, shift)) - move(y, steps)).abs().max())


# %% right | equivariance_gap | axis by axis
def equivariance_gap(f, x, shift):
    before = f(x).detach()
    after = f(x.roll(shift[0], 2).roll(shift[1], 3)).detach()
    down = math.floor(shift[0] * before.shape[2] / x.shape[2])
    right = math.floor(shift[1] * before.shape[3] / x.shape[3])
    return (after - before.roll(down, 2).roll(right, 3)).abs().max().item()


# %% right | equivariance_gap | by index
def equivariance_gap(f, x, shift):
    def shifted(z, steps):
        rows, columns = ((torch.arange(n) - s) % n for n, s in zip(z.shape[2:], steps, strict=True))
        return z[:, :, rows][..., columns]

    y = f(x)
    steps = [s * n // m for s, n, m in zip(shift, y.shape[2:], x.shape[2:], strict=True)]
    return float(torch.linalg.vector_norm(f(shifted(x, shift)) - shifted(y, steps), math.inf))


# %% wrong | train_lenet | a softmax before the loss
# hint: there is a softmax at the end
def train_lenet(x, y, seed):
    from collections import OrderedDict

    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10), nn.Softmax(1))
    model = nn.Sequential(OrderedDict(features=features, head=head))
    training.fit(
        model, F.cross_entropy, x, y, epochs=12, batch_size=64, optimizer=lambda p: torch.optim.Adam(p, lr=0.005), seed=seed, progress=False, device=x.device
    )
    return model.eval()


# %% wrong | train_lenet | not trained
# hint: It is no better than guessing
def train_lenet(x, y, seed):
    from collections import OrderedDict

    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(OrderedDict(features=features, head=nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)))).eval()


# %% wrong | train_lenet | weights that start at zero
# hint: It says the same for every image
def train_lenet(x, y, seed):
    from collections import OrderedDict

    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    model = nn.Sequential(OrderedDict(features=features, head=head))
    for p in model.parameters():
        nn.init.zeros_(p)
    training.fit(
        model, F.cross_entropy, x, y, epochs=3, batch_size=64, optimizer=lambda p: torch.optim.Adam(p, lr=0.005), seed=seed, progress=False, device=x.device
    )
    return model.eval()


# %% wrong | train_lenet | no convolution in it
# hint: at [
def train_lenet(x, y, seed):
    from collections import OrderedDict

    class Mix(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LazyLinear(128)

        def forward(self, z):
            height, width = z.shape[2] // 4, z.shape[3] // 4
            z = F.interpolate(z, (8, 8)) if z.shape[2:] != (8, 8) else z
            z = F.relu(self.layer(z.flatten(1))).unflatten(1, (32, 2, 2))
            return F.interpolate(z, (height, width))

    torch.manual_seed(seed)
    head = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    model = nn.Sequential(OrderedDict(features=Mix(), head=head))
    model(x[:2])
    training.fit(
        model, F.cross_entropy, x, y, epochs=25, batch_size=64, optimizer=lambda p: torch.optim.Adam(p, lr=0.005), seed=seed, progress=False, device=x.device
    )
    return model.eval()


# %% wrong | train_lenet | pools once
# hint: The image shrinks by 2 only
def train_lenet(x, y, seed):
    from collections import OrderedDict

    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
    head = nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
    model = nn.Sequential(OrderedDict(features=features, head=head))
    training.fit(
        model, F.cross_entropy, x, y, epochs=12, batch_size=64, optimizer=lambda p: torch.optim.Adam(p, lr=0.005), seed=seed, progress=False, device=x.device
    )
    return model.eval()


# %% wrong | train_lenet | learns data of its own
# hint: It is right about the true labels, not about those passed in
def train_lenet(x, y, seed):
    from collections import OrderedDict

    x, y = digits.x_train, digits.y_train
    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    model = nn.Sequential(OrderedDict(features=features, head=head))
    training.fit(
        model, F.cross_entropy, x, y, epochs=10, batch_size=64, optimizer=lambda p: torch.optim.Adam(p, lr=0.005), seed=seed, progress=False, device=x.device
    )
    return model.eval()


# %% wrong | train_lenet | dropout left on
# hint: Dropout is still on
def train_lenet(x, y, seed):
    from collections import OrderedDict

    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    model = nn.Sequential(OrderedDict(features=features, head=head))
    training.fit(
        model, F.cross_entropy, x, y, epochs=12, batch_size=64, optimizer=lambda p: torch.optim.Adam(p, lr=0.005), seed=seed, progress=False, device=x.device
    )
    return model.train()


# %% wrong | train_lenet | the seed is not used
# hint: the same seed gave two networks
def train_lenet(x, y, seed):
    from collections import OrderedDict

    features = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    model = nn.Sequential(OrderedDict(features=features, head=head))
    training.fit(model, F.cross_entropy, x, y, epochs=12, batch_size=64, optimizer=lambda p: torch.optim.Adam(p, lr=0.005), progress=False, device=x.device)
    return model.eval()


# %% right | train_lenet | a class, and a loop of its own
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 12, 5, padding=2), nn.Conv2d(12, 24, 3, padding=1)
        self.hidden, self.last = nn.Linear(96, 48), nn.Linear(48, 10)

    def features(self, x):
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        return F.max_pool2d(F.relu(self.second(x)), 2)

    def head(self, z):
        return self.last(F.relu(self.hidden(z.flatten(1))))

    def forward(self, x):
        return self.head(self.features(x))


def train_lenet(x, y, seed):
    torch.manual_seed(seed)
    model = Net().to(x.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(14):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model


# %% right | train_lenet | from the student's own parts, with dropout
class Filters(nn.Module):
    def __init__(self, c, o):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(o, c, 3, 3) * (2 / (9 * c)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(o))

    def forward(self, x):
        return max_pool2d(conv2d(x, self.weight, self.bias, pad=1).relu(), 2, 2)


class OwnNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(Filters(1, 12), Filters(12, 24))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(96, 10))

    def forward(self, x):
        return self.head(self.features(x))


def train_lenet(x, y, seed):
    training.seed_everything(seed)
    model = OwnNet().to(x.device)
    training.fit(
        model, F.cross_entropy, x, y, epochs=14, batch_size=50, optimizer=lambda p: torch.optim.Adam(p, lr=0.005), seed=seed, progress=False, device=x.device
    )
    model.eval()
    return model
