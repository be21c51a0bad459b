# Answers that the graders of 05-transformer are proven against; docs/authoring.md says how a case is written.

# %% wrong | kernel_attention | theta not squared
# hint: theta was not squared
def kernel_attention(xq, xk, v, theta, mask=None):
    scores = -theta * (xq[:, None] - xk).square().sum(-1)
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% wrong | kernel_attention | distance not squared
# hint: The distance was not squared
def kernel_attention(xq, xk, v, theta, mask=None):
    scores = -(theta**2) * (xq[:, None] - xk).square().sum(-1).sqrt()
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% wrong | kernel_attention | normalised over the queries
# hint: The weights sum to 1 over the queries
def kernel_attention(xq, xk, v, theta, mask=None):
    scores = -(theta**2) * (xq[:, None] - xk).square().sum(-1)
    if mask is None:
        return scores.softmax(0) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(0).masked_fill(~mask, 0.0) @ v


# %% wrong | kernel_attention | not normalised
# hint: The weights of a query do not sum to 1
def kernel_attention(xq, xk, v, theta, mask=None):
    weights = torch.exp(-(theta**2) * torch.cdist(xq, xk).square())
    return (weights if mask is None else weights * mask) @ v


# %% wrong | kernel_attention | mask after the softmax
# hint: The mask came after the softmax
def kernel_attention(xq, xk, v, theta, mask=None):
    weights = (-(theta**2) * (xq[:, None] - xk).square().sum(-1)).softmax(-1)
    return (weights if mask is None else weights * mask) @ v


# %% wrong | kernel_attention | the exponentials underflow
# hint: 0/0 is no weight
def kernel_attention(xq, xk, v, theta, mask=None):
    kernel = torch.exp(-(theta**2) * (xq[:, None] - xk).square().sum(-1))
    if mask is not None:
        kernel = kernel * mask
        return torch.where(mask.any(1, keepdim=True), kernel @ v / kernel.sum(1, keepdim=True), 0.0)
    return kernel @ v / kernel.sum(1, keepdim=True)


# %% wrong | kernel_attention | underflow patched with a small number
# hint: Far from all keys the result is 0
def kernel_attention(xq, xk, v, theta, mask=None):
    kernel = torch.exp(-(theta**2) * (xq[:, None] - xk).square().sum(-1))
    kernel = kernel if mask is None else kernel * mask
    return kernel @ v / (kernel.sum(1, keepdim=True) + 1e-30)


# %% wrong | kernel_attention | nan where a query sees nothing
# hint: Put zeros into such a row
def kernel_attention(xq, xk, v, theta, mask=None):
    scores = -(theta**2) * (xq[:, None] - xk).square().sum(-1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


# %% wrong | kernel_attention | a very small score in place of minus infinity
# hint: got the mean of all values
def kernel_attention(xq, xk, v, theta, mask=None):
    scores = -(theta**2) * (xq[:, None] - xk).square().sum(-1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e30)
    return scores.softmax(-1) @ v


# %% wrong | kernel_attention | mask inverted
# hint: is the wrong way round
def kernel_attention(xq, xk, v, theta, mask=None):
    scores = -(theta**2) * (xq[:, None] - xk).square().sum(-1)
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(mask, -math.inf).softmax(-1).nan_to_num(0.0) @ v


# %% wrong | kernel_attention | near and far swapped
# hint: the minus sign is missing
def kernel_attention(xq, xk, v, theta, mask=None):
    scores = theta**2 * (xq[:, None] - xk).square().sum(-1)
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% wrong | kernel_attention | through numpy
# hint: yours were cut off
def kernel_attention(xq, xk, v, theta, mask=None):
    scores = -(theta**2) * (xq.detach()[:, None] - xk.detach()).square().sum(-1)
    if mask is None:
        return scores.softmax(-1) @ v.detach()
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v.detach()


# %% right | kernel_attention | log space, one query at a time
def kernel_attention(xq, xk, v, theta, mask=None):
    rows = []
    for i in range(len(xq)):
        keep = torch.ones(len(xk), dtype=torch.bool) if mask is None else mask[i]
        if not keep.any():
            rows.append(torch.zeros(v.shape[1], dtype=v.dtype))
            continue
        scores = -(theta**2) * torch.stack([((xq[i] - key) ** 2).sum() for key in xk[keep]])
        rows.append((torch.exp(scores - torch.logsumexp(scores, 0))[:, None] * v[keep]).sum(0))
    return torch.stack(rows)


# %% right | kernel_attention | cdist and nan_to_num
def kernel_attention(xq, xk, v, theta, mask=None):
    scores = -((theta * torch.cdist(xq, xk, compute_mode="donot_use_mm_for_euclid_dist")) ** 2)
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    return torch.einsum("mn,ne->me", torch.nan_to_num(F.softmax(scores, dim=1)), v)


# %% wrong | sdpa | not scaled
# hint: The scores are not scaled
def sdpa(q, k, v, mask=None):
    scores = q @ k.mT
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% wrong | sdpa | divided by the width itself
# hint: Divide by its square root
def sdpa(q, k, v, mask=None):
    scores = q @ k.mT / k.shape[-1]
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% wrong | sdpa | root of the values' width
# hint: Take the width of the keys
def sdpa(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(v.shape[-1])
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% wrong | sdpa | root of the number of keys
# hint: the root of the number of keys
def sdpa(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(k.shape[-2])
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% wrong | sdpa | softmax over the queries
# hint: The softmax runs over the queries
def sdpa(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(k.shape[-1])
    if mask is None:
        return scores.softmax(-2) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(-2).masked_fill(~mask, 0.0) @ v


# %% wrong | sdpa | mask inverted
# hint: The mask is the wrong way round
def sdpa(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(k.shape[-1])
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(mask, -math.inf).softmax(-1).nan_to_num(0.0) @ v


# %% wrong | sdpa | scores times the mask
# hint: The scores were multiplied by the mask
def sdpa(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(k.shape[-1])
    if mask is not None:
        scores = scores * mask
    return scores.softmax(-1) @ v


# %% wrong | sdpa | mask after the softmax
# hint: The mask came after the softmax
def sdpa(q, k, v, mask=None):
    weights = (q @ k.mT / math.sqrt(k.shape[-1])).softmax(-1)
    return (weights if mask is None else weights * mask) @ v


# %% wrong | sdpa | mask ignored
# hint: The mask was ignored
def sdpa(q, k, v, mask=None):
    return (q @ k.mT / math.sqrt(k.shape[-1])).softmax(-1) @ v


# %% wrong | sdpa | nan where a query sees nothing
# hint: Put zeros into such a row
def sdpa(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(k.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


# %% wrong | sdpa | exponentials by hand
# hint: The exponential overflowed
def sdpa(q, k, v, mask=None):
    weights = torch.exp(q @ k.mT / math.sqrt(k.shape[-1]))
    if mask is not None:
        weights = weights * mask
    return weights @ v / weights.sum(-1, keepdim=True).clamp_min(1e-30)


# %% wrong | sdpa | torch's own
# hint: is off limits here
def sdpa(q, k, v, mask=None):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


# %% wrong | sdpa | detached
# hint: yours were cut off
def sdpa(q, k, v, mask=None):
    with torch.no_grad():
        scores = q @ k.mT / math.sqrt(k.shape[-1])
        if mask is None:
            return scores.softmax(-1) @ v
        return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% wrong | sdpa | scales its input in place
# hint: changed in place
def sdpa(q, k, v, mask=None):
    if not q.requires_grad:
        q /= math.sqrt(k.shape[-1])
    else:
        q = q / math.sqrt(k.shape[-1])
    scores = q @ k.mT
    if mask is None:
        return scores.softmax(-1) @ v
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% wrong | sdpa | two axes only
# hint: RuntimeError
def sdpa(q, k, v, mask=None):
    scores = torch.mm(q, k.t()) / math.sqrt(k.shape[-1])
    if mask is None:
        return torch.mm(scores.softmax(-1), v)
    return scores.masked_fill(~mask, -math.inf).softmax(-1).masked_fill(~mask, 0.0) @ v


# %% right | sdpa | one query at a time
def sdpa(q, k, v, mask=None):
    full = None if mask is None else mask.expand(*q.shape[:-1], k.shape[-2])
    rows = []
    for i in range(q.shape[-2]):
        scores = (q[..., i, None, :] * k).sum(-1) * k.shape[-1] ** -0.5
        if full is not None:
            scores = torch.where(full[..., i, :], scores, -torch.inf)
        rows.append((torch.nan_to_num(torch.softmax(scores, -1))[..., None] * v).sum(-2))
    return torch.stack(rows, dim=-2)


# %% right | sdpa | einsum, scaled on both sides, maximum subtracted by hand
def sdpa(q, k, v, mask=None):
    root = k.size(-1) ** 0.25
    scores = torch.einsum("...md,...nd->...mn", q / root, k / root)
    allowed = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand(scores.shape)
    scores = scores - scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).amax(-1, keepdim=True).detach()
    weights = scores.clamp_max(0.0).exp() * allowed
    return torch.einsum("...mn,...nd->...md", weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny), v)


# %% wrong | causal_mask | upper triangle
# hint: The triangle is the upper one
def causal_mask(n):
    return torch.ones(n, n, dtype=torch.bool).triu()


# %% wrong | causal_mask | itself left out
# hint: A token does not see itself
def causal_mask(n):
    return torch.ones(n, n, dtype=torch.bool).tril(-1)


# %% wrong | causal_mask | True where it may not look
# hint: The mask is the wrong way round
def causal_mask(n):
    return torch.ones(n, n, dtype=torch.bool).triu(1)


# %% wrong | causal_mask | zeros and minus infinity
# hint: True where a query may look
def causal_mask(n):
    return torch.full((n, n), -math.inf).triu(1)


# %% wrong | causal_mask | ones and zeros
# hint: a bool tensor is expected
def causal_mask(n):
    return torch.tril(torch.ones(n, n))


# %% wrong | causal_mask | the visible one by heart
# hint: expected shape
def causal_mask(n):
    return torch.tensor([[True, False, False], [True, True, False], [True, True, True]])


# %% right | causal_mask | by comparing places
def causal_mask(n):
    place = torch.arange(n)
    return place[None, :] <= place[:, None]


# %% right | causal_mask | loops
def causal_mask(n):
    mask = torch.zeros((n, n)).bool()
    for query in range(n):
        for key in range(query + 1):
            mask[query, key] = True
    return mask


# %% wrong | lm_loss | no shift
# hint: shift by one place
def lm_loss(logits, tokens, pad=-1):
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=pad)


# %% wrong | lm_loss | shifted the other way
# hint: The shift goes the wrong way
def lm_loss(logits, tokens, pad=-1):
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), tokens[:, :-1].flatten(), ignore_index=pad)


# %% wrong | lm_loss | both cut at the same end
# hint: were cut at the same end
def lm_loss(logits, tokens, pad=-1):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, :-1].flatten(), ignore_index=pad)


# %% wrong | lm_loss | sum
# hint: This is the sum over the targets
def lm_loss(logits, tokens, pad=-1):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=pad, reduction="sum")


# %% wrong | lm_loss | divided by T
# hint: The sum was divided by T
def lm_loss(logits, tokens, pad=-1):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=pad) * (tokens.shape[1] - 1) / tokens.shape[1]


# %% wrong | lm_loss | padding in the mean
# hint: Padding was counted in the mean
def lm_loss(logits, tokens, pad=-1):
    total = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=pad, reduction="sum")
    return total / tokens[:, 1:].numel()


# %% wrong | lm_loss | padding trained on
# hint: IndexError
def lm_loss(logits, tokens, pad=-1):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=-100)


# %% wrong | lm_loss | only a pad of -1 is seen
# hint: Padding was trained on as if it were a token
def lm_loss(logits, tokens, pad=-1):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=-1)


# %% wrong | lm_loss | mean of the sequences' means
# hint: Take one mean over all targets of the batch
def lm_loss(logits, tokens, pad=-1):
    return torch.stack([F.cross_entropy(z[:-1], t[1:], ignore_index=pad) for z, t in zip(logits, tokens, strict=True)]).mean()


# %% wrong | lm_loss | returns a number
# hint: gradients flow back
def lm_loss(logits, tokens, pad=-1):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=pad).detach()


# %% wrong | lm_loss | log of a softmax that underflows
# hint: expected finite numbers
def lm_loss(logits, tokens, pad=-1):
    keep = tokens[:, 1:] != pad
    p = logits[:, :-1].softmax(-1)[keep]
    return -p.gather(1, tokens[:, 1:][keep][:, None]).log().mean()


# %% right | lm_loss | log-softmax and gather
def lm_loss(logits, tokens, pad=-1):
    targets = tokens[:, 1:]
    keep = (targets != pad).to(logits.dtype)
    log_p = logits[:, :-1].log_softmax(-1).gather(-1, targets.clamp_min(0)[..., None])[..., 0]
    return -(log_p * keep).sum() / keep.sum()


# %% right | lm_loss | token by token
def lm_loss(logits, tokens, pad=-1):
    losses = []
    for z, sequence in zip(logits, tokens.tolist(), strict=True):
        for i in range(len(sequence) - 1):
            if sequence[i + 1] != pad:
                losses.append(torch.logsumexp(z[i], 0) - z[i, sequence[i + 1]])
    return torch.stack(losses).mean()


# %% wrong | mha | one view for the heads
# hint: The heads were cut with one view
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.h = h
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, mask=None):
        B, n, d = x.shape
        q, k, v = (layer(x).reshape(B, self.h, n, d // self.h) for layer in (self.wq, self.wk, self.wv))
        out = sdpa(q, k, v) if mask is None else sdpa(q, k, v, mask)
        return self.wo(out.reshape(B, n, d))


# %% wrong | mha | heads joined without moving their axis
# hint: The heads were put together with a view alone
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.h = h
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, mask=None):
        B, n, d = x.shape
        q, k, v = (layer(x).reshape(B, n, self.h, d // self.h).transpose(1, 2) for layer in (self.wq, self.wk, self.wv))
        return self.wo(sdpa(q, k, v, mask).reshape(B, n, d))


# %% wrong | mha | interleaved heads
# hint: The heads take every h-th feature
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.h = h
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, mask=None):
        B, n, d = x.shape
        q, k, v = (layer(x).reshape(B, n, d // self.h, self.h).permute(0, 3, 1, 2) for layer in (self.wq, self.wk, self.wv))
        return self.wo(sdpa(q, k, v, mask).permute(0, 2, 3, 1).reshape(B, n, d))


# %% wrong | mha | the root of d
# hint: divided by the root of d
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.h = h
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, mask=None):
        q, k, v = (layer(x).unflatten(-1, (self.h, -1)).transpose(1, 2) for layer in (self.wq, self.wk, self.wv))
        return self.wo(sdpa(q / math.sqrt(self.h), k, v, mask).transpose(1, 2).flatten(2))


# %% wrong | mha | no last layer
# hint: The last layer, wo, is missing
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.h = h
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, mask=None):
        q, k, v = (layer(x).unflatten(-1, (self.h, -1)).transpose(1, 2) for layer in (self.wq, self.wk, self.wv))
        return sdpa(q, k, v, mask).transpose(1, 2).flatten(2)


# %% wrong | mha | no biases
# hint: The biases are missing
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.h = h
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d, bias=False) for _ in range(4))

    def forward(self, x, mask=None):
        q, k, v = (layer(x).unflatten(-1, (self.h, -1)).transpose(1, 2) for layer in (self.wq, self.wk, self.wv))
        return self.wo(sdpa(q, k, v, mask).transpose(1, 2).flatten(2))


# %% wrong | mha | the mask is forgotten
# hint: The mask is not passed on
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.h = h
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, mask=None):
        q, k, v = (layer(x).unflatten(-1, (self.h, -1)).transpose(1, 2) for layer in (self.wq, self.wk, self.wv))
        return self.wo(sdpa(q, k, v).transpose(1, 2).flatten(2))


# %% wrong | mha | any width goes
# hint: expected ValueError
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h, self.width = h, d // h
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, mask=None):
        q, k, v = (layer(x).unflatten(-1, (self.h, self.width)).transpose(1, 2) for layer in (self.wq, self.wk, self.wv))
        return self.wo(sdpa(q, k, v, mask).transpose(1, 2).flatten(2))


# %% wrong | mha | one layer for queries and keys
# hint: four linear layers
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.h = h
        self.wq, self.wv, self.wo = (nn.Linear(d, d) for _ in range(3))
        self.wk = self.wq

    def forward(self, x, mask=None):
        q, k, v = (layer(x).unflatten(-1, (self.h, -1)).transpose(1, 2) for layer in (self.wq, self.wk, self.wv))
        return self.wo(sdpa(q, k, v, mask).transpose(1, 2).flatten(2))


# %% wrong | mha | torch's own inside
# hint: is off limits here
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.inner = nn.MultiheadAttention(d, h, batch_first=True)

    def forward(self, x, mask=None):
        return self.inner(x, x, x, attn_mask=None if mask is None else ~mask, need_weights=False)[0]


# %% right | mha | head by head
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h != 0:
            raise ValueError(f"d = {d} is not a multiple of h = {h}")
        self.width = d // h
        self.wq = nn.Linear(d, d)
        self.wk = nn.Linear(d, d)
        self.wv = nn.Linear(d, d)
        self.wo = nn.Linear(d, d)

    def forward(self, x, mask=None):
        heads = [
            sdpa(q, k, v, mask)
            for q, k, v in zip(self.wq(x).split(self.width, -1), self.wk(x).split(self.width, -1), self.wv(x).split(self.width, -1), strict=True)
        ]
        return self.wo(torch.cat(heads, dim=-1))


# %% right | mha | attention written out with einsum
class MHA(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        if d % h:
            raise ValueError("d must be a multiple of h")
        self.d, self.h = d, h
        for name in ("wq", "wk", "wv", "wo"):
            setattr(self, name, nn.Linear(d, d))

    def forward(self, x, mask=None):
        B, n, _ = x.shape
        q, k, v = (layer(x).view(B, n, self.h, -1) for layer in (self.wq, self.wk, self.wv))
        scores = torch.einsum("bmhc,bnhc->bhmn", q, k) * (self.d / self.h) ** -0.5
        if mask is not None:
            scores = scores.masked_fill(mask.logical_not(), float("-inf"))
        return self.wo(torch.einsum("bhmn,bnhc->bmhc", scores.softmax(dim=3), v).reshape(B, n, self.d))


# %% wrong | layer_norm | divides by d - 1
# hint: The variance divides by d - 1
def layer_norm(x, g, b, eps=1e-5):
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + eps) * g + b


# %% wrong | layer_norm | eps outside the root
# hint: eps was added to the standard deviation
def layer_norm(x, g, b, eps=1e-5):
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True, correction=0) + eps) * g + b


# %% wrong | layer_norm | over the tokens
# hint: Mean and variance were taken over the
def layer_norm(x, g, b, eps=1e-5):
    return (x - x.mean(0)) / torch.sqrt(x.var(0, unbiased=False) + eps) * g + b


# %% wrong | layer_norm | over everything
# hint: Each token has its own
def layer_norm(x, g, b, eps=1e-5):
    return (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + eps) * g + b


# %% wrong | layer_norm | no gain and bias
# hint: Gain and bias are missing
def layer_norm(x, g, b, eps=1e-5):
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + eps)


# %% wrong | layer_norm | divided by the variance
# hint: The root is missing
def layer_norm(x, g, b, eps=1e-5):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + eps) * g + b


# %% wrong | layer_norm | eps ignored
# hint: eps was ignored
def layer_norm(x, g, b, eps=1e-5):
    return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True, correction=0) * g + b


# %% wrong | layer_norm | statistics detached
# hint: cut off from the graph
def layer_norm(x, g, b, eps=1e-5):
    mean, variance = x.mean(-1, keepdim=True).detach(), x.var(-1, keepdim=True, unbiased=False).detach()
    return (x - mean) / torch.sqrt(variance + eps) * g + b


# %% wrong | layer_norm | torch's own
# hint: is off limits here
def layer_norm(x, g, b, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], g, b, eps)


# %% wrong | layer_norm | centres its input in place
# hint: changed in place
def layer_norm(x, g, b, eps=1e-5):
    if not x.requires_grad:
        x -= x.mean(-1, keepdim=True)
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + eps) * g + b


# %% right | layer_norm | var_mean and rsqrt
def layer_norm(x, g, b, eps=1e-5):
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return torch.addcmul(b, (x - mean) * torch.rsqrt(variance + eps), g)


# %% right | layer_norm | sums over the last axis
def layer_norm(x, g, b, eps=1e-5):
    d = x.shape[-1]
    mean = x.sum(-1) / d
    variance = ((x - mean.unsqueeze(-1)) ** 2).sum(-1) / d
    return g * ((x - mean.unsqueeze(-1)) / (variance.unsqueeze(-1) + eps) ** 0.5) + b


# %% wrong | sinusoid | starts at 1
# hint: The places start at 1
def sinusoid(n, d):
    angles = torch.arange(1, n + 1)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


# %% wrong | sinusoid | exponent half as large
# hint: The exponent is -i/d
def sinusoid(n, d):
    angles = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(d // 2) / d)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


# %% wrong | sinusoid | exponent twice as large
# hint: The exponent of the second frequency is too large
def sinusoid(n, d):
    angles = torch.arange(n)[:, None] * 10000.0 ** (-2 * torch.arange(0, d, 2) / d)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


# %% wrong | sinusoid | frequencies grow
# hint: values differ
def sinusoid(n, d):
    angles = torch.arange(n)[:, None] * 10000.0 ** (torch.arange(0, d, 2) / d)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


# %% wrong | sinusoid | sines only
# hint: values differ
def sinusoid(n, d):
    angles = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)
    return torch.stack([angles.sin(), angles.sin()], dim=-1).flatten(1)


# %% wrong | sinusoid | width and length swapped
# hint: expected shape (3, 4)
def sinusoid(n, d):
    angles = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).mT


# %% right | sinusoid | all sines first
def sinusoid(n, d):
    frequency = torch.exp(-math.log(10000.0) * torch.arange(0, d, 2) / d)
    angles = torch.outer(torch.arange(n, dtype=torch.float32), frequency)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


# %% right | sinusoid | filled in entry by entry
def sinusoid(n, d):
    code = torch.empty(n, d)
    for t in range(n):
        for i in range(d // 2):
            angle = t / 10000 ** (2 * i / d)
            code[t, 2 * i], code[t, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return code


# %% wrong | patchify | reshape alone
# hint: These are strips, not squares
def patchify(x, p):
    N, C, H, W = x.shape
    if H % p or W % p:
        raise ValueError("p must divide the size")
    return x.reshape(N, -1, C * p * p)


# %% wrong | patchify | column by column
# hint: The patches go column by column
def patchify(x, p):
    N, C, H, W = x.shape
    if H % p or W % p:
        raise ValueError("p must divide the size")
    return x.reshape(N, C, H // p, p, W // p, p).permute(0, 4, 2, 1, 3, 5).reshape(N, -1, C * p * p)


# %% wrong | patchify | each patch transposed
# hint: Each patch is transposed
def patchify(x, p):
    N, C, H, W = x.shape
    if H % p or W % p:
        raise ValueError("p must divide the size")
    return x.reshape(N, C, H // p, p, W // p, p).permute(0, 2, 4, 1, 5, 3).reshape(N, -1, C * p * p)


# %% wrong | patchify | channels last
# hint: The order in a patch is channel, row, column
def patchify(x, p):
    N, C, H, W = x.shape
    if H % p or W % p:
        raise ValueError("p must divide the size")
    return x.reshape(N, C, H // p, p, W // p, p).permute(0, 2, 4, 3, 5, 1).reshape(N, -1, C * p * p)


# %% wrong | patchify | crops silently
# hint: expected ValueError
def patchify(x, p):
    N, C, H, W = x.shape
    x = x[:, :, : H // p * p, : W // p * p]
    return x.reshape(N, C, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5).reshape(N, (H // p) * (W // p), C * p * p)


# %% wrong | patchify | square images only
# hint: RuntimeError
def patchify(x, p):
    N, C, H, W = x.shape
    if H % p or W % p:
        raise ValueError("p must divide the size")
    return x.reshape(N, C, H // p, p, H // p, p).permute(0, 2, 4, 1, 3, 5).reshape(N, -1, C * p * p)


# %% wrong | patchify | one channel only
# hint: expected shape
def patchify(x, p):
    N, _, H, W = x.shape
    if H % p or W % p:
        raise ValueError("p must divide the size")
    x = x[:, :1]
    return x.reshape(N, H // p, p, W // p, p).transpose(2, 3).reshape(N, -1, p * p)


# %% right | patchify | unfold of a tensor
def patchify(x, p):
    if x.shape[2] % p or x.shape[3] % p:
        raise ValueError("p must divide the size")
    return x.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


# %% right | patchify | patch by patch
def patchify(x, p):
    H, W = x.shape[2:]
    if H / p != H // p or W / p != W // p:
        raise ValueError("patches do not fit")
    return torch.stack([x[:, :, i : i + p, j : j + p].flatten(1) for i in range(0, H, p) for j in range(0, W, p)], dim=1)


# %% wrong | unpatchify | reshape alone
# hint: Each patch became a row
def unpatchify(t, p, H, W):
    return t.reshape(len(t), -1, H, W)


# %% wrong | unpatchify | column by column
# hint: The patches were laid out column by column
def unpatchify(t, p, H, W):
    N, C = len(t), t.shape[-1] // p**2
    return t.reshape(N, W // p, H // p, C, p, p).permute(0, 3, 2, 4, 1, 5).reshape(N, C, H, W)


# %% wrong | unpatchify | each patch transposed
# hint: Each patch is transposed
def unpatchify(t, p, H, W):
    N, C = len(t), t.shape[-1] // p**2
    return t.reshape(N, H // p, W // p, C, p, p).permute(0, 3, 1, 5, 2, 4).reshape(N, C, H, W)


# %% wrong | unpatchify | channels last
# hint: The order in a patch is channel, row, column
def unpatchify(t, p, H, W):
    N, C = len(t), t.shape[-1] // p**2
    return t.reshape(N, H // p, W // p, p, p, C).permute(0, 5, 1, 3, 2, 4).reshape(N, C, H, W)


# %% wrong | unpatchify | height and width swapped
# hint: Height and width are swapped
def unpatchify(t, p, H, W):
    N, C = len(t), t.shape[-1] // p**2
    return t.reshape(N, W // p, H // p, C, p, p).permute(0, 3, 1, 4, 2, 5).reshape(N, C, W, H)


# %% wrong | unpatchify | one channel only
# hint: RuntimeError
def unpatchify(t, p, H, W):
    return t.reshape(len(t), H // p, W // p, p, p).transpose(2, 3).reshape(len(t), 1, H, W)


# %% right | unpatchify | fold
def unpatchify(t, p, H, W):
    return F.fold(t.transpose(1, 2), (H, W), kernel_size=p, stride=p)


# %% right | unpatchify | patch by patch
def unpatchify(t, p, H, W):
    N, n, width = t.shape
    x = t.new_zeros(N, width // (p * p), H, W)
    for number in range(n):
        i, j = divmod(number, W // p)
        x[:, :, i * p : i * p + p, j * p : j * p + p] = t[:, number].view(N, -1, p, p)
    return x


# %% wrong | train_fsm | learns XOR whatever the pairs
# hint: XOR was learnt whatever the pairs say
def train_fsm(pairs, seed=0):
    training.seed_everything(seed)
    tokens = torch.tensor([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    for _ in range(10):
        model = GPT(vocabulary=2, length=3)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(120):
            optimizer.zero_grad()
            logits = model(tokens)
            lm_loss(logits, tokens).backward()
            optimizer.step()
        if logits[:, 1].softmax(-1).gather(1, tokens[:, 2:]).min() > 0.95:
            break
    return model


# %% wrong | train_fsm | looks ahead
# hint: The model looks ahead
class Ahead(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(2, 16), nn.Parameter(torch.randn(3, 16))
        self.block, self.head = Block(16, 2), nn.Linear(16, 2)

    def forward(self, tokens):
        return self.head(self.block(self.embedding(tokens) + self.positions[: tokens.shape[1]]))


def train_fsm(pairs, seed=0):
    training.seed_everything(seed)
    x = torch.tensor([list(ab) for ab, _ in pairs])
    c = torch.tensor([c for _, c in pairs])
    for _ in range(10):
        model = Ahead()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(100):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x)[:, 1], c)
            loss.backward()
            optimizer.step()
        if loss < 0.03:
            break
    return model


# %% wrong | train_fsm | too few steps
# hint: train longer
def train_fsm(pairs, seed=0):
    training.seed_everything(seed)
    tokens = torch.tensor([[a, b, c] for (a, b), c in pairs])
    for _ in range(30):
        model = GPT(vocabulary=2, length=3)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(200):
            optimizer.zero_grad()
            logits = model(tokens)
            lm_loss(logits, tokens).backward()
            optimizer.step()
            if logits[:, 1].softmax(-1).gather(1, tokens[:, 2:]).min() > 0.7:
                return model
    return model


# %% wrong | train_fsm | no positions and no mask
# hint: does not know the order of its tokens
class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.block, self.head = nn.Embedding(2, 16), Block(16, 2), nn.Linear(16, 2)

    def forward(self, tokens):
        x = self.block(self.embedding(tokens))
        return self.head(x.cumsum(1))


def train_fsm(pairs, seed=0):
    training.seed_everything(seed)
    tokens = torch.tensor([[a, b, c] for (a, b), c in pairs])
    model = Bag()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(tokens[:, :2])[:, 1], tokens[:, 2]).backward()
        optimizer.step()
    return model


# %% wrong | train_fsm | answers looked up
# hint: The answers are looked up rather than computed
class Table(nn.Module):
    def __init__(self, pairs):
        super().__init__()
        self.answers = dict(pairs)

    def forward(self, tokens):
        logits = torch.zeros(*tokens.shape, 2)
        for i, sequence in enumerate(tokens.tolist()):
            if len(sequence) == 2:
                logits[i, 1, self.answers[tuple(sequence)]] = 9.0
        return logits


def train_fsm(pairs, seed=0):
    return Table(pairs)


# %% wrong | train_fsm | not seeded
# hint: the same seed gives the same model
def train_fsm(pairs, seed=0):
    tokens = torch.tensor([[a, b, c] for (a, b), c in pairs])
    for _ in range(10):
        model = GPT(vocabulary=2, length=3)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(160):
            optimizer.zero_grad()
            logits = model(tokens)
            lm_loss(logits, tokens).backward()
            optimizer.step()
            if logits[:, 1].softmax(-1).gather(1, tokens[:, 2:]).min() > 0.98:
                return model
    return model


# %% wrong | train_fsm | logits of the last place only
# hint: expected shape (4, 2, 2)
class Last(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, tokens):
        return self.inner(tokens)[:, -1]


def train_fsm(pairs, seed=0):
    training.seed_everything(seed)
    model = Last(GPT(vocabulary=2, length=3))
    x, c = torch.tensor([ab for ab, _ in pairs]), torch.tensor([c for _, c in pairs])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(x), c).backward()
        optimizer.step()
    return model


# %% wrong | train_fsm | predicts the token it has just read
# hint: The second row of logits repeats the second input
def train_fsm(pairs, seed=0):
    training.seed_everything(seed)
    tokens = torch.tensor([[a, b, c] for (a, b), c in pairs])
    model = GPT(vocabulary=2, length=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()
    return model


# %% right | train_fsm | two blocks, learned positions, loss on the third token
class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.what, self.where = nn.Embedding(2, 24), nn.Embedding(2, 24)
        self.blocks, self.out = nn.ModuleList([Block(24, 3), Block(24, 3)]), nn.Linear(24, 2)

    def forward(self, tokens):
        n = tokens.shape[1]
        x = self.what(tokens) + self.where(torch.arange(n))
        for block in self.blocks:
            x = block(x, torch.ones(n, n).tril() > 0)
        return self.out(x)


def train_fsm(pairs, seed=0):
    torch.manual_seed(seed)
    x, c = torch.tensor([ab for ab, _ in pairs]), torch.tensor([c for _, c in pairs])
    for _ in range(20):
        model = Small()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
        for _ in range(100):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x)[:, 1], c)
            loss.backward()
            optimizer.step()
        if loss < 0.02:
            break
    return model


# %% right | train_fsm | torch's encoder layer
class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.place = nn.Embedding(2, 16), nn.Parameter(torch.randn(2, 16))
        self.layer = nn.TransformerEncoderLayer(16, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, tokens):
        n = tokens.shape[1]
        return self.head(self.layer(self.embedding(tokens) + self.place[:n], src_mask=torch.ones(n, n).triu(1).bool()))


def train_fsm(pairs, seed=0):
    best = None
    for attempt in range(8):
        torch.manual_seed(seed + 1000 * attempt)
        x, c = torch.tensor([ab for ab, _ in pairs]), torch.tensor([c for _, c in pairs])
        model = Encoder()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(80):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x)[:, 1], c)
            loss.backward()
            optimizer.step()
        if best is None or loss < best[0]:
            best = (loss, model)
        if best[0] < 0.02:
            break
    return best[1]


# %% wrong | favor | no norm in the exponent
# hint: Half the squared norm of x is missing
def favor(x, W):
    return torch.exp(x @ W.mT) / math.sqrt(len(W))


# %% wrong | favor | the whole squared norm
# hint: Subtract half of it
def favor(x, W):
    return torch.exp(x @ W.mT - x.square().sum(-1, keepdim=True)) / math.sqrt(len(W))


# %% wrong | favor | the norm, not its square
# hint: The norm was not squared
def favor(x, W):
    return torch.exp(x @ W.mT - x.norm(dim=-1, keepdim=True) / 2) / math.sqrt(len(W))


# %% wrong | favor | no factor
# hint: The factor 1/√m is missing
def favor(x, W):
    return torch.exp(x @ W.mT - x.square().sum(-1, keepdim=True) / 2)


# %% wrong | favor | factor 1/m
# hint: The factor is 1/m
def favor(x, W):
    return torch.exp(x @ W.mT - x.square().sum(-1, keepdim=True) / 2) / len(W)


# %% wrong | favor | the root of the width in place of the number of features
# hint: expected
def favor(x, W):
    return torch.exp(x @ W.mT - x.square().sum(-1, keepdim=True) / 2) / math.sqrt(W.shape[1])


# %% wrong | favor | trigonometric features
# hint: expected
def favor(x, W):
    return torch.cos(x @ W.mT) * torch.exp(x.square().sum(-1, keepdim=True) / 2) / math.sqrt(len(W))


# %% right | favor | point by point
def favor(x, W):
    m = W.shape[0]
    return torch.stack([torch.exp(W @ point - point.dot(point) / 2) * m**-0.5 for point in x])


# %% right | favor | everything in the exponent
def favor(x, W):
    return torch.exp(torch.einsum("nd,md->nm", x, W) - 0.5 * (x * x).sum(1)[:, None] - 0.5 * math.log(len(W)))


# %% wrong | vit | positions ignored
# hint: The position codes are missing
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.p, self.embedding = p, nn.Linear(channels * p * p, d)
        self.blocks = nn.ModuleList(Block(d, h) for _ in range(depth))
        self.norm, self.head = Norm(d), nn.Linear(d, classes)

    def forward(self, x):
        tokens = self.embedding(patchify(x, self.p))
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1))


# %% wrong | vit | positions always
# hint: The argument `positions` is not used
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.p, self.embedding = p, nn.Linear(channels * p * p, d)
        self.register_buffer("places", sinusoid((size // p) ** 2, d))
        self.blocks = nn.ModuleList(Block(d, h) for _ in range(depth))
        self.norm, self.head = Norm(d), nn.Linear(d, classes)

    def forward(self, x):
        tokens = self.embedding(patchify(x, self.p)) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1))


# %% wrong | vit | blocks in a plain list
# hint: The blocks lie in a plain list
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.p, self.embedding = p, nn.Linear(channels * p * p, d)
        self.register_buffer("places", sinusoid((size // p) ** 2, d) * positions)
        self.blocks = [Block(d, h) for _ in range(depth)]
        self.norm, self.head = Norm(d), nn.Linear(d, classes)

    def forward(self, x):
        tokens = self.embedding(patchify(x, self.p)) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1))


# %% wrong | vit | one block, many times
# hint: each block adds its
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.p, self.embedding = p, nn.Linear(channels * p * p, d)
        self.register_buffer("places", sinusoid((size // p) ** 2, d) * positions)
        self.blocks = nn.ModuleList([Block(d, h)] * depth)
        self.norm, self.head = Norm(d), nn.Linear(d, classes)

    def forward(self, x):
        tokens = self.embedding(patchify(x, self.p)) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1))


# %% wrong | vit | logits of every token
# hint: There are logits for every token
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.p, self.embedding = p, nn.Linear(channels * p * p, d)
        self.register_buffer("places", sinusoid((size // p) ** 2, d) * positions)
        self.blocks = nn.ModuleList(Block(d, h) for _ in range(depth))
        self.norm, self.head = Norm(d), nn.Linear(d, classes)

    def forward(self, x):
        tokens = self.embedding(patchify(x, self.p)) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens))


# %% wrong | vit | mean over the images
# hint: expected shape
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.p, self.embedding = p, nn.Linear(channels * p * p, d)
        self.register_buffer("places", sinusoid((size // p) ** 2, d) * positions)
        self.blocks = nn.ModuleList(Block(d, h) for _ in range(depth))
        self.norm, self.head = Norm(d), nn.Linear(d, classes)

    def forward(self, x):
        tokens = self.embedding(patchify(x, self.p)) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(0))


# %% wrong | vit | strips in place of patches
# hint: values differ
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.width, self.embedding = channels * p * p, nn.Linear(channels * p * p, d)
        self.register_buffer("places", sinusoid((size // p) ** 2, d) * positions)
        self.blocks = nn.ModuleList(Block(d, h) for _ in range(depth))
        self.norm, self.head = Norm(d), nn.Linear(d, classes)

    def forward(self, x):
        tokens = self.embedding(x.reshape(len(x), -1, self.width)) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1))


# %% wrong | vit | probabilities
# hint: these are probabilities
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.p, self.embedding = p, nn.Linear(channels * p * p, d)
        self.register_buffer("places", sinusoid((size // p) ** 2, d) * positions)
        self.blocks = nn.ModuleList(Block(d, h) for _ in range(depth))
        self.norm, self.head = Norm(d), nn.Linear(d, classes)

    def forward(self, x):
        tokens = self.embedding(patchify(x, self.p)) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1)).softmax(-1)


# %% right | vit | class token and learned positions
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.p = p
        self.embed = nn.Linear(channels * p**2, d)
        self.class_token = nn.Parameter(torch.randn(1, 1, d))
        self.places = nn.Parameter(torch.randn(1, (size // p) ** 2, d)) if positions else None
        self.blocks = nn.Sequential(*[Block(d, h) for _ in range(depth)])
        self.head = nn.Sequential(Norm(d), nn.Linear(d, classes))

    def forward(self, x):
        tokens = self.embed(patchify(x, self.p))
        if self.places is not None:
            tokens = tokens + self.places
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], dim=1)
        return self.head(self.blocks(tokens)[:, 0])


# %% right | vit | patches by a strided convolution
class ViT(nn.Module):
    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.cut = nn.Conv2d(channels, d, kernel_size=p, stride=p)
        self.positions, self.d = positions, d
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(Block(d, h))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, classes)

    def forward(self, x):
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        if self.positions:
            tokens = tokens + sinusoid(tokens.shape[1], self.d).to(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens)).mean(dim=1)


# %% wrong | train_vit | a small step
# hint: It learns, but too little
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d, h, depth, positions)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model


# %% wrong | train_vit | all images in one step
# hint: It learns, but too little
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d, h, depth, positions)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(epochs):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


# %% wrong | train_vit | labels shuffled apart
# hint: No better than guessing
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d, h, depth, positions)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    for _ in range(epochs):
        for batch, other in zip(torch.randperm(len(x)).split(64), torch.randperm(len(x)).split(64), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[other]).backward()
            optimizer.step()
    return model


# %% wrong | train_vit | uphill
# hint: Do the steps go downhill
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d, h, depth, positions)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            (-F.cross_entropy(model(x[batch]), y[batch])).backward()
            optimizer.step()
    return model


# %% wrong | train_vit | not seeded
# hint: the same seed gives the same model
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d, h, depth, positions)
    training.fit(model, F.cross_entropy, x, y, epochs=epochs, batch_size=32, optimizer=lambda q: torch.optim.AdamW(q, lr=0.005), progress=False, device="cpu")
    return model


# %% wrong | train_vit | positions not passed on
# hint: `positions`, `p` and the sizes are passed on
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d, h, depth)
    training.fit(
        model, F.cross_entropy, x, y, epochs=epochs, batch_size=32, optimizer=lambda q: torch.optim.AdamW(q, lr=0.005), progress=False, device="cpu", seed=seed
    )
    return model


# %% wrong | train_vit | depth not passed on
# hint: `d`, `h` and `depth` are passed on
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d=d, h=h, positions=positions)
    training.fit(
        model, F.cross_entropy, x, y, epochs=epochs, batch_size=32, optimizer=lambda q: torch.optim.AdamW(q, lr=0.005), progress=False, device="cpu", seed=seed
    )
    return model


# %% wrong | train_vit | always six epochs
# hint: does not depend on `epochs`
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d, h, depth, positions)
    training.fit(
        model, F.cross_entropy, x, y, epochs=6, batch_size=32, optimizer=lambda q: torch.optim.AdamW(q, lr=0.005), progress=False, device="cpu", seed=seed
    )
    return model


# %% wrong | train_vit | ten classes whatever the labels
# hint: expected shape (60, 3)
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, 10, d, h, depth, positions)
    training.fit(
        model, F.cross_entropy, x, y, epochs=epochs, batch_size=32, optimizer=lambda q: torch.optim.AdamW(q, lr=0.005), progress=False, device="cpu", seed=seed
    )
    return model


# %% right | train_vit | the course's own loop
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d, h, depth, positions)
    training.fit(
        model,
        F.cross_entropy,
        x,
        y,
        epochs=epochs,
        batch_size=32,
        optimizer=lambda q: torch.optim.AdamW(q, lr=0.005),
        progress=False,
        device=x.device,
        seed=seed,
    )
    return model


# %% right | train_vit | a generator of its own, cosine schedule
def train_vit(x, y, p=2, d=32, h=4, depth=1, epochs=10, positions=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = ViT(x.shape[1], x.shape[-1], p, len(y.unique()), d, h, depth, positions)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(32):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return model.eval()
