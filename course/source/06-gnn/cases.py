# Answers that the graders of 06-gnn are proven against; docs/authoring.md says how a case is written.

# %% wrong | edges_to_adj | source and target swapped
# hint: Sources and targets are swapped
def edges_to_adj(ei, n):
    A = torch.zeros(n, n)
    for s, t in ei.T.tolist():
        A[t, s] += 1
    return A


# %% wrong | edges_to_adj | parallel edges counted once
# hint: Edges between the same nodes were counted once
def edges_to_adj(ei, n):
    A = torch.zeros(n, n)
    A[ei[0], ei[1]] += 1
    return A


# %% wrong | edges_to_adj | undirected
# hint: Every edge was entered in both directions
def edges_to_adj(ei, n):
    A = torch.zeros(n, n)
    for s, t in ei.T.tolist():
        A[s, t] += 1
        A[t, s] += 1
    return A


# %% wrong | edges_to_adj | symmetric by assignment
# hint: The matrix is symmetric
def edges_to_adj(ei, n):
    A = torch.zeros(n, n)
    A[ei[0], ei[1]] = 1
    A[ei[1], ei[0]] = 1
    return A


# %% wrong | edges_to_adj | numbers its nodes from 1
# hint: The nodes are numbered from 0 already
def edges_to_adj(ei, n):
    A = torch.zeros(n, n)
    for s, t in (ei - 1).T.tolist():
        A[s, t] += 1
    return A


# %% wrong | edges_to_adj | size from the greatest number
# hint: The size was read from the edges
def edges_to_adj(ei, n):
    n = int(ei.max()) + 1 if ei.numel() else 0
    A = torch.zeros(n, n)
    for s, t in ei.T.tolist():
        A[s, t] += 1
    return A


# %% wrong | edges_to_adj | by a library
# hint: is off limits here
def edges_to_adj(ei, n):
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(ei.T.tolist())
    return nx.to_numpy_array(graph)


# %% wrong | edges_to_adj | prints and returns nothing
# hint: A function that ends without `return` gives None
def edges_to_adj(ei, n):
    A = torch.zeros(n, n)
    A.index_put_((ei[0], ei[1]), torch.ones(ei.shape[1]), accumulate=True)
    print(A)


# %% right | edges_to_adj | a loop, whole numbers
def edges_to_adj(ei, n):
    A = torch.zeros(n, n, dtype=torch.long)
    for s, t in ei.T.tolist():
        A[s, t] += 1
    return A


# %% right | edges_to_adj | count the pairs
def edges_to_adj(ei, n):
    return torch.bincount(ei[0] * n + ei[1], minlength=n * n).reshape(n, n)


# %% right | edges_to_adj | product of one-hot rows
def edges_to_adj(ei, n):
    return F.one_hot(ei[0], n).double().T @ F.one_hot(ei[1], n).double()


# %% wrong | degree | in and out swapped
# hint: In and out are swapped
def degree(ei, n, kind):
    if kind not in ("in", "out"):
        raise ValueError(kind)
    return torch.bincount(ei[0 if kind == "in" else 1], minlength=n)


# %% wrong | degree | neighbours instead of edges
# hint: Edges between the same nodes were counted once
def degree(ei, n, kind):
    if kind not in ("in", "out"):
        raise ValueError(kind)
    linked = torch.zeros(n, n)
    linked[ei[0], ei[1]] = 1
    return linked.sum(0 if kind == "in" else 1)


# %% wrong | degree | forgets the last nodes
# hint: Only nodes that occur in ei were counted
def degree(ei, n, kind):
    if kind not in ("in", "out"):
        raise ValueError(kind)
    return torch.bincount(ei[1 if kind == "in" else 0])


# %% wrong | degree | both ends
# hint: Both ends of the edges were counted
def degree(ei, n, kind):
    if kind not in ("in", "out"):
        raise ValueError(kind)
    return torch.bincount(ei.flatten(), minlength=n)


# %% wrong | degree | any other word means out
# hint: expected ValueError
def degree(ei, n, kind):
    return torch.bincount(ei[1] if kind == "in" else ei[0], minlength=n)


# %% wrong | degree | += with repeated places
# hint: expected 2, got 1
def degree(ei, n, kind):
    if kind not in ("in", "out"):
        raise ValueError(kind)
    d = torch.zeros(n, dtype=torch.long)
    d[ei[1 if kind == "in" else 0]] += 1
    return d


# %% right | degree | sums of the adjacency matrix
def degree(ei, n, kind):
    return edges_to_adj(ei, n).sum({"in": 0, "out": 1}[kind]) if kind in ("in", "out") else _refuse(kind)


def _refuse(kind):
    raise ValueError(f"no kind {kind}")


# %% right | degree | index_add
def degree(ei, n, kind):
    if kind == "in":
        ends = ei[1]
    elif kind == "out":
        ends = ei[0]
    else:
        raise ValueError("kind must be in or out")
    return torch.zeros(n).index_add_(0, ends, torch.ones(len(ends)))


# %% right | degree | a list's count
def degree(ei, n, kind):
    if kind not in ("in", "out"):
        raise ValueError(kind)
    ends = ei[1 if kind == "in" else 0].tolist()
    return torch.tensor([ends.count(i) for i in range(n)])


# %% wrong | scatter | assignment keeps one message
# hint: Only one message a node was kept
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    out = torch.zeros(n, msg.shape[1], dtype=msg.dtype)
    if agg == "sum":
        out[dst] = msg
        return out
    return out.scatter_reduce(0, dst[:, None].expand_as(msg), msg, {"mean": "mean", "max": "amax"}[agg], include_self=False)


# %% wrong | scatter | += with repeated places
# hint: `out[dst] += msg` adds only one of them
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    out = torch.zeros(n, msg.shape[1], dtype=msg.dtype)
    if agg == "max":
        return out.scatter_reduce(0, dst[:, None].expand_as(msg), msg, "amax", include_self=False)
    out[dst] += msg
    count = torch.bincount(dst, minlength=n).clamp(min=1)[:, None]
    return out / count if agg == "mean" else out


# %% wrong | scatter | mean over all edges
# hint: The mean divides by all edges
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    if agg == "max":
        return msg.new_zeros(n, msg.shape[1]).scatter_reduce(0, dst[:, None].expand_as(msg), msg, "amax", include_self=False)
    out = msg.new_zeros(n, msg.shape[1]).index_add(0, dst, msg)
    return out / max(1, len(msg)) if agg == "mean" else out


# %% wrong | scatter | mean over all nodes
# hint: The mean divides by the number of nodes
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    if agg == "max":
        return msg.new_zeros(n, msg.shape[1]).scatter_reduce(0, dst[:, None].expand_as(msg), msg, "amax", include_self=False)
    out = msg.new_zeros(n, msg.shape[1]).index_add(0, dst, msg)
    return out / n if agg == "mean" else out


# %% wrong | scatter | the zeros count in the mean
# hint: The mean counts the zeros
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    return msg.new_zeros(n, msg.shape[1]).scatter_reduce(
        0, dst[:, None].expand_as(msg), msg, {"sum": "sum", "mean": "mean", "max": "amax"}[agg], include_self=(agg == "mean")
    )


# %% wrong | scatter | the maximum starts at 0
# hint: The maximum starts at 0
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    return msg.new_zeros(n, msg.shape[1]).scatter_reduce(
        0, dst[:, None].expand_as(msg), msg, {"sum": "sum", "mean": "mean", "max": "amax"}[agg], include_self=(agg == "max")
    )


# %% wrong | scatter | nan where nothing arrives
# hint: A node that gets no message has zeros
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    if agg == "max":
        return msg.new_zeros(n, msg.shape[1]).scatter_reduce(0, dst[:, None].expand_as(msg), msg, "amax", include_self=False)
    out = msg.new_zeros(n, msg.shape[1]).index_add(0, dst, msg)
    return out / torch.bincount(dst, minlength=n)[:, None] if agg == "mean" else out


# %% wrong | scatter | minus infinity where nothing arrives
# hint: the −∞ that a maximum starts from
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    if agg == "max":
        return torch.full((n, msg.shape[1]), -math.inf, dtype=msg.dtype).scatter_reduce(0, dst[:, None].expand_as(msg), msg, "amax")
    return msg.new_zeros(n, msg.shape[1]).scatter_reduce(0, dst[:, None].expand_as(msg), msg, agg, include_self=False)


# %% wrong | scatter | through numpy
# hint: The messages were detached
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    out = np.zeros((n, msg.shape[1]))
    values = msg.detach().numpy()
    for i in range(n):
        here = values[dst.numpy() == i]
        if len(here):
            out[i] = getattr(here, agg)(axis=0)
    return torch.from_numpy(out).to(msg.dtype)


# %% wrong | scatter | the row with the greatest sum
# hint: values differ
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    rows = []
    for i in range(n):
        here = msg[dst == i]
        if len(here) == 0:
            rows.append(msg.new_zeros(msg.shape[1]))
        elif agg == "max":
            rows.append(here[here.sum(1).argmax()])
        else:
            rows.append(here.sum(0) if agg == "sum" else here.mean(0))
    return torch.stack(rows)


# %% wrong | scatter | always float32
# hint: expected dtype float64, got float32
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(agg)
    out = torch.zeros(n, msg.shape[1])
    return out.scatter_reduce(0, dst[:, None].expand_as(msg), msg.float(), {"sum": "sum", "mean": "mean", "max": "amax"}[agg], include_self=False)


# %% right | scatter | a loop over the nodes
def scatter(msg, dst, n, agg):
    if agg not in ("sum", "mean", "max"):
        raise ValueError(f"unknown: {agg}")
    rows = []
    for i in range(n):
        here = msg[dst == i]
        if len(here) == 0:
            rows.append(torch.zeros(msg.shape[1], dtype=msg.dtype))
        else:
            rows.append({"sum": here.sum(0), "mean": here.mean(0), "max": here.max(0).values}[agg])
    return torch.stack(rows)


# %% right | scatter | index_add and index_reduce, which warns
def scatter(msg, dst, n, agg):
    empty = torch.zeros((n, msg.shape[1]), dtype=msg.dtype, device=msg.device)
    if agg == "sum":
        return empty.index_add(0, dst, msg)
    if agg == "mean":
        return empty.index_add(0, dst, msg) / degree(torch.stack([dst, dst]), n, "in").clamp(min=1)[:, None].to(msg.dtype)
    if agg == "max":
        return empty.index_reduce(0, dst, msg, "amax", include_self=False)
    raise ValueError("sum, mean or max")


# %% right | scatter | by a matrix of who gets what
def scatter(msg, dst, n, agg):
    gets = torch.arange(n)[:, None] == dst[None, :]
    if agg == "sum":
        return gets.to(msg.dtype) @ msg
    if agg == "mean":
        return gets.to(msg.dtype) @ msg / gets.sum(1, keepdim=True).clamp(min=1)
    if agg != "max":
        raise ValueError(agg)
    if len(msg) == 0:
        return msg.new_zeros(n, msg.shape[1])
    best = torch.where(gets[:, :, None], msg[None], msg.new_tensor(-math.inf)).amax(1)
    return torch.where(gets.any(1, keepdim=True), best, msg.new_zeros(()))


# %% wrong | gcn_norm | degrees without the loops
# hint: The degrees do not count the loops
def gcn_norm(ei, n):
    d = torch.bincount(ei[1], minlength=n).float()
    has = ei[0][ei[0] == ei[1]]
    free = torch.tensor([i for i in range(n) if i not in has.tolist()], dtype=torch.long)
    looped = torch.cat([ei, torch.stack([free, free])], 1)
    return looped, 1 / (d[looped[0]] * d[looped[1]]).sqrt()


# %% wrong | gcn_norm | no loops
# hint: The loops are missing
def gcn_norm(ei, n):
    d = torch.bincount(ei[1], minlength=n).float().clamp(min=1)
    return ei, 1 / (d[ei[0]] * d[ei[1]]).sqrt()


# %% wrong | gcn_norm | a mean
# hint: Each weight is 1/d of the target
def gcn_norm(ei, n):
    has = ei[0][ei[0] == ei[1]].tolist()
    free = torch.tensor([i for i in range(n) if i not in has], dtype=torch.long)
    ei = torch.cat([ei, torch.stack([free, free])], 1)
    d = torch.bincount(ei[1], minlength=n).float()
    return ei, 1 / d[ei[1]]


# %% wrong | gcn_norm | loops doubled
# hint: A node that has a loop already got a second one
def gcn_norm(ei, n):
    own = torch.arange(n)
    ei = torch.cat([ei, torch.stack([own, own])], 1)
    d = torch.bincount(ei[1], minlength=n).float()
    return ei, 1 / (d[ei[0]] * d[ei[1]]).sqrt()


# %% wrong | gcn_norm | in- and out-degrees mixed
# hint: In- and out-degrees are mixed
def gcn_norm(ei, n):
    has = ei[0][ei[0] == ei[1]].tolist()
    free = torch.tensor([i for i in range(n) if i not in has], dtype=torch.long)
    ei = torch.cat([ei, torch.stack([free, free])], 1)
    leave, arrive = (torch.bincount(row, minlength=n).float() for row in ei)
    return ei, 1 / (leave[ei[0]] * arrive[ei[1]]).sqrt()


# %% wrong | gcn_norm | out-degrees
# hint: The degrees count the edges that leave
def gcn_norm(ei, n):
    has = ei[0][ei[0] == ei[1]].tolist()
    free = torch.tensor([i for i in range(n) if i not in has], dtype=torch.long)
    ei = torch.cat([ei, torch.stack([free, free])], 1)
    d = torch.bincount(ei[0], minlength=n).float()
    return ei, 1 / (d[ei[0]] * d[ei[1]]).sqrt()


# %% wrong | gcn_norm | no roots
# hint: The roots are missing
def gcn_norm(ei, n):
    has = ei[0][ei[0] == ei[1]].tolist()
    free = torch.tensor([i for i in range(n) if i not in has], dtype=torch.long)
    ei = torch.cat([ei, torch.stack([free, free])], 1)
    d = torch.bincount(ei[1], minlength=n).float()
    return ei, 1 / (d[ei[0]] * d[ei[1]])


# %% wrong | gcn_norm | the loops get no weight
# hint: The loops have weights, too
def gcn_norm(ei, n):
    has = ei[0][ei[0] == ei[1]].tolist()
    free = torch.tensor([i for i in range(n) if i not in has], dtype=torch.long)
    looped = torch.cat([ei, torch.stack([free, free])], 1)
    d = torch.bincount(looped[1], minlength=n).float()
    return looped, 1 / (d[ei[0]] * d[ei[1]]).sqrt()


# %% right | gcn_norm | dense
def gcn_norm(ei, n):
    A = (edges_to_adj(ei, n) > 0).float()
    A.fill_diagonal_(1)
    s = A.sum(0) ** -0.5
    A = s[:, None] * A * s[None, :]
    where = A.nonzero().T
    return where, A[where[0], where[1]]


# %% right | gcn_norm | take all loops out, then put them in
def gcn_norm(ei, n):
    ei = ei[:, ei[0] != ei[1]]
    ei = torch.cat([torch.arange(n).repeat(2, 1), ei], dim=1)
    d = scatter(torch.ones(ei.shape[1], 1), ei[1], n, "sum")[:, 0]
    return ei, (d[ei[0]] * d[ei[1]]) ** -0.5


# %% right | gcn_norm | plain Python
def gcn_norm(ei, n):
    pairs = set(map(tuple, ei.T.tolist())) | {(i, i) for i in range(n)}
    arrive = Counter(t for _, t in pairs)
    ordered = sorted(pairs)
    weights = [1 / math.sqrt(arrive[s] * arrive[t]) for s, t in ordered]
    return torch.tensor(ordered).T, torch.tensor(weights)


# %% wrong | message_passing | the target sends
# hint: The target sent its own features
def message_passing(x, ei, phi, gamma, agg):
    return gamma(x, scatter(phi(x[ei[1]], x[ei[1]]), ei[1], len(x), agg))


# %% wrong | message_passing | arguments of phi swapped
# hint: The arguments of phi are swapped
def message_passing(x, ei, phi, gamma, agg):
    return gamma(x, scatter(phi(x[ei[0]], x[ei[1]]), ei[1], len(x), agg))


# %% wrong | message_passing | the source twice
# hint: phi got the source's features twice
def message_passing(x, ei, phi, gamma, agg):
    return gamma(x, scatter(phi(x[ei[0]], x[ei[0]]), ei[1], len(x), agg))


# %% wrong | message_passing | collects at the source
# hint: The messages went from target to source
def message_passing(x, ei, phi, gamma, agg):
    return gamma(x, scatter(phi(x[ei[0]], x[ei[1]]), ei[0], len(x), agg))


# %% wrong | message_passing | both ways
# hint: Messages went both ways along each edge
def message_passing(x, ei, phi, gamma, agg):
    ei = torch.cat([ei, ei.flip(0)], 1)
    return gamma(x, scatter(phi(x[ei[1]], x[ei[0]]), ei[1], len(x), agg))


# %% wrong | message_passing | updates before it collects
# hint: gamma was applied to single messages
def message_passing(x, ei, phi, gamma, agg):
    x_i, x_j = x[ei[1]], x[ei[0]]
    return scatter(gamma(x_i, phi(x_i, x_j)), ei[1], len(x), agg)


# %% wrong | message_passing | no update
# hint: gamma was left out
def message_passing(x, ei, phi, gamma, agg):
    return scatter(phi(x[ei[1]], x[ei[0]]), ei[1], len(x), agg)


# %% wrong | message_passing | only nodes that hear something
# hint: Only nodes that got a message are there
def message_passing(x, ei, phi, gamma, agg):
    reached = torch.unique(ei[1])
    return gamma(x[reached], scatter(phi(x[ei[1]], x[ei[0]]), ei[1], len(x), agg)[reached])


# %% wrong | message_passing | always a sum
# hint: The messages were summed
def message_passing(x, ei, phi, gamma, agg):
    return gamma(x, scatter(phi(x[ei[1]], x[ei[0]]), ei[1], len(x), "sum"))


# %% wrong | message_passing | without gradients
# hint: Stay in torch, without detach, numpy or no_grad
def message_passing(x, ei, phi, gamma, agg):
    with torch.no_grad():
        return gamma(x, scatter(phi(x[ei[1]], x[ei[0]]), ei[1], len(x), agg))


# %% right | message_passing | one edge at a time
def message_passing(x, ei, phi, gamma, agg):
    source, target = ei
    messages = torch.cat([phi(x[t : t + 1], x[s : s + 1]) for s, t in zip(source.tolist(), target.tolist(), strict=True)])
    return gamma(x, scatter(messages, target, x.shape[0], agg))


# %% right | message_passing | its own loop in place of scatter
def message_passing(x, ei, phi, gamma, agg):
    messages = phi(x.index_select(0, ei[1]), x.index_select(0, ei[0]))
    collected = []
    for i in range(len(x)):
        here = messages[ei[1] == i]
        if len(here) == 0:
            collected.append(messages.new_zeros(messages.shape[1]))
        else:
            collected.append(here.sum(0) if agg == "sum" else here.mean(0) if agg == "mean" else here.amax(0))
    return gamma(x, torch.stack(collected))


# %% right | message_passing | all pairs of nodes, most of them masked
def message_passing(x, ei, phi, gamma, agg):
    n = len(x)
    everything = phi(x[:, None].expand(n, n, -1).reshape(n * n, -1), x[None].expand(n, n, -1).reshape(n * n, -1)).reshape(n, n, -1)
    linked = torch.zeros(n, n, dtype=torch.bool)
    linked[ei[1], ei[0]] = True
    if agg == "max":
        best = everything.masked_fill(~linked[:, :, None], -math.inf).amax(1)
        return gamma(x, torch.where(linked.any(1)[:, None], best, torch.zeros_like(best)))
    total = torch.where(linked[:, :, None], everything, torch.zeros_like(everything)).sum(1)
    return gamma(x, total if agg == "sum" else total / linked.sum(1, keepdim=True).clamp(min=1))


# %% wrong | attention_as_gnn | not scaled
# hint: The scores are not scaled
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = (q[ei[1]] * k[ei[0]]).sum(1, keepdim=True).exp()
    total = scatter(torch.cat([s * v[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:].clamp(min=1e-30)


# %% wrong | attention_as_gnn | scaled by the number of nodes
# hint: It is the keys' width that counts
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = ((q[ei[1]] * k[ei[0]]).sum(1, keepdim=True) / math.sqrt(len(x))).exp()
    total = scatter(torch.cat([s * v[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:].clamp(min=1e-30)


# %% wrong | attention_as_gnn | divided by the width, not its root
# hint: Divide by its square root
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = ((q[ei[1]] * k[ei[0]]).sum(1, keepdim=True) / Wk.shape[1]).exp()
    total = scatter(torch.cat([s * v[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:].clamp(min=1e-30)


# %% wrong | attention_as_gnn | softmax over all edges
# hint: The weights of all edges together sum to one
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    a = ((q[ei[1]] * k[ei[0]]).sum(1) / math.sqrt(Wk.shape[1])).softmax(0)
    return scatter(a[:, None] * v[ei[0]], ei[1], len(x), "sum")


# %% wrong | attention_as_gnn | normalised at the source
# hint: The weights sum to one over the edges that leave a source
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = ((q[ei[1]] * k[ei[0]]).sum(1, keepdim=True) / math.sqrt(Wk.shape[1])).exp()
    a = s / scatter(s, ei[0], len(x), "sum")[ei[0]]
    return scatter(a * v[ei[0]], ei[1], len(x), "sum")


# %% wrong | attention_as_gnn | the slide's message without its division
# hint: The weighted values are not divided by the sum of the weights
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = ((q[ei[1]] * k[ei[0]]).sum(1, keepdim=True) / math.sqrt(Wk.shape[1])).exp()
    return scatter(s * v[ei[0]], ei[1], len(x), "sum")


# %% wrong | attention_as_gnn | the source asks
# hint: Keys and queries are swapped
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = ((k[ei[1]] * q[ei[0]]).sum(1, keepdim=True) / math.sqrt(Wk.shape[1])).exp()
    total = scatter(torch.cat([s * v[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:].clamp(min=1e-30)


# %% wrong | attention_as_gnn | hands over the target's value
# hint: The values come from the target
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = ((q[ei[1]] * k[ei[0]]).sum(1, keepdim=True) / math.sqrt(Wk.shape[1])).exp()
    total = scatter(torch.cat([s * v[ei[1]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:].clamp(min=1e-30)


# %% wrong | attention_as_gnn | against the direction of the edges
# hint: The edges are the wrong way round
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = ((q[ei[0]] * k[ei[1]]).sum(1, keepdim=True) / math.sqrt(Wk.shape[1])).exp()
    total = scatter(torch.cat([s * v[ei[1]], s], 1), ei[0], len(x), "sum")
    return total[:, :-1] / total[:, -1:].clamp(min=1e-30)


# %% wrong | attention_as_gnn | 0/0
# hint: divide by something that is never 0
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = ((q[ei[1]] * k[ei[0]]).sum(1, keepdim=True) / math.sqrt(Wk.shape[1])).exp()
    total = scatter(torch.cat([s * v[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:]


# %% wrong | attention_as_gnn | by the library
# hint: is off limits here
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    mask = torch.zeros(len(x), len(x), dtype=torch.bool)
    mask[ei[1], ei[0]] = True
    return torch.nn.functional.scaled_dot_product_attention(x @ Wq, x @ Wk, x @ Wv, attn_mask=mask)


# %% wrong | attention_as_gnn | weights without a gradient
# hint: values differ
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    s = ((q[ei[1]] * k[ei[0]]).sum(1, keepdim=True) / math.sqrt(Wk.shape[1])).exp().detach()
    total = scatter(torch.cat([s * v[ei[0]], s], 1), ei[1], len(x), "sum") + 0 * (Wq.sum() + Wk.sum())
    return total[:, :-1] / total[:, -1:].clamp(min=1e-30)


# %% right | attention_as_gnn | two sums by message passing, no maximum taken out
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    d, e = Wq.shape[1], Wv.shape[1]

    def phi(x_i, x_j):
        q, k, v = x_i[:, :d], x_j[:, d : 2 * d], x_j[:, 2 * d :]
        weight = ((q * k).sum(-1, keepdim=True) * d**-0.5).exp()
        return torch.cat([weight, weight * v], -1)

    def gamma(_, total):
        return torch.where(
            total[:, :1] > 0, total[:, 1:] / total[:, :1].clamp(min=1e-200 if total.dtype == torch.float64 else 1e-30), torch.zeros(e, dtype=total.dtype)
        )

    return message_passing(torch.cat([x @ Wq, x @ Wk, x @ Wv], 1), ei, phi, gamma, "sum")


# %% right | attention_as_gnn | the target's maximum subtracted, two scatters
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    source, target = ei
    scores = torch.einsum("ed,ed->e", (x @ Wq)[target], (x @ Wk)[source]) / Wq.shape[-1] ** 0.5
    top = scatter(scores[:, None], target, len(x), "max")[:, 0]
    s = torch.exp(scores - top[target])
    sums = scatter(s[:, None], target, len(x), "sum")
    return scatter(s[:, None] / sums[target] * (x @ Wv)[source], target, len(x), "sum")


# %% right | attention_as_gnn | one node at a time
def attention_as_gnn(x, Wq, Wk, Wv, ei):
    rows = []
    for i in range(len(x)):
        heard = x[ei[0, ei[1] == i]]
        if len(heard) == 0:
            rows.append(0 * (x[i] @ Wv))
        else:
            rows.append(torch.softmax((heard @ Wk) @ (x[i] @ Wq) / math.sqrt(Wq.shape[1]), 0) @ (heard @ Wv))
    return torch.stack(rows)


# %% wrong | gat_layer | no loops
# hint: The loops are missing
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    s = F.leaky_relu((h @ a_src)[ei[0]] + (h @ a_dst)[ei[1]], 0.2).exp()[:, None]
    total = scatter(torch.cat([s * h[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:].clamp(min=1e-30) + b


# %% wrong | gat_layer | halves swapped
# hint: a_src and a_dst are swapped
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    ei, _ = gcn_norm(ei, len(x))
    s = F.leaky_relu((h @ a_dst)[ei[0]] + (h @ a_src)[ei[1]], 0.2).exp()[:, None]
    total = scatter(torch.cat([s * h[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:] + b


# %% wrong | gat_layer | PyTorch's slope
# hint: The slope of the leaky ReLU is 0.01
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    ei, _ = gcn_norm(ei, len(x))
    s = F.leaky_relu((h @ a_src)[ei[0]] + (h @ a_dst)[ei[1]]).exp()[:, None]
    total = scatter(torch.cat([s * h[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:] + b


# %% wrong | gat_layer | no leaky ReLU
# hint: The leaky ReLU is missing
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    ei, _ = gcn_norm(ei, len(x))
    s = ((h @ a_src)[ei[0]] + (h @ a_dst)[ei[1]]).exp()[:, None]
    total = scatter(torch.cat([s * h[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:] + b


# %% wrong | gat_layer | softmax over all edges
# hint: The weights of all edges together sum to one
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    ei, _ = gcn_norm(ei, len(x))
    a = F.leaky_relu((h @ a_src)[ei[0]] + (h @ a_dst)[ei[1]], 0.2).softmax(0)
    return scatter(a[:, None] * h[ei[0]], ei[1], len(x), "sum") + b


# %% wrong | gat_layer | no bias
# hint: The bias is missing
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    ei, _ = gcn_norm(ei, len(x))
    s = F.leaky_relu((h @ a_src)[ei[0]] + (h @ a_dst)[ei[1]], 0.2).exp()[:, None]
    total = scatter(torch.cat([s * h[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:]


# %% wrong | gat_layer | a second loop where there is one
# hint: values differ
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    ei = torch.cat([ei, torch.arange(len(x)).expand(2, -1)], 1)
    s = F.leaky_relu((h @ a_src)[ei[0]] + (h @ a_dst)[ei[1]], 0.2).exp()[:, None]
    total = scatter(torch.cat([s * h[ei[0]], s], 1), ei[1], len(x), "sum")
    return total[:, :-1] / total[:, -1:] + b


# %% wrong | gat_layer | changes the weights it is given
# hint: was changed in place
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    ei, _ = gcn_norm(ei, len(x))
    s = F.leaky_relu((h @ a_src)[ei[0]] + (h @ a_dst)[ei[1]], 0.2).exp()[:, None]
    total = scatter(torch.cat([s * h[ei[0]], s], 1), ei[1], len(x), "sum")
    b += total[0, :-1] * 0 + 1
    return total[:, :-1] / total[:, -1:] + b - 1


# %% right | gat_layer | dense
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    linked = torch.eye(len(x), dtype=torch.bool)
    linked[ei[1], ei[0]] = True
    scores = F.leaky_relu((h @ a_dst)[:, None] + (h @ a_src)[None, :], negative_slope=0.2)
    return scores.masked_fill(~linked, -math.inf).softmax(1) @ h + b


# %% right | gat_layer | by message passing with the maximum subtracted
def gat_layer(x, ei, W, a_src, a_dst, b):
    h = x @ W
    ei = gcn_norm(ei, len(x))[0]
    score = F.leaky_relu((h @ a_src)[ei[0]] + (h @ a_dst)[ei[1]], 0.2)[:, None]
    score = score - scatter(score, ei[1], len(x), "max")[ei[1]]
    weight = score.exp() / scatter(score.exp(), ei[1], len(x), "sum")[ei[1]]
    return b + scatter(weight * h[ei[0]], ei[1], len(x), "sum")


# %% wrong | wl_colors | a set of neighbours' colours
# hint: A set forgets how often
def wl_colors(ei, n, iters):
    c = ["x"] * n
    for _ in range(iters):
        c = [hashlib.md5(repr((c[i], sorted({c[j] for j in ei[0, ei[1] == i].tolist()}))).encode()).hexdigest() for i in range(n)]
    return Counter(c)


# %% wrong | wl_colors | neighbours in the order of the edges
# hint: sort the neighbours' colours
def wl_colors(ei, n, iters):
    c = ["x"] * n
    for _ in range(iters):
        c = [hashlib.md5(repr((c[i], [c[j] for j in ei[0, ei[1] == i].tolist()])).encode()).hexdigest() for i in range(n)]
    return Counter(c)


# %% wrong | wl_colors | numbered afresh in each graph
# hint: Colours were numbered afresh in each graph
def wl_colors(ei, n, iters):
    c = [0] * n
    for _ in range(iters):
        pairs = [(c[i], tuple(sorted(c[j] for j in ei[0, ei[1] == i].tolist()))) for i in range(n)]
        names = {pair: k for k, pair in enumerate(sorted(set(pairs)))}
        c = [names[pair] for pair in pairs]
    return Counter(c)


# %% wrong | wl_colors | adds the neighbours' colours
# hint: The neighbours' colours were added up or averaged
def wl_colors(ei, n, iters):
    c = torch.ones(n, dtype=torch.long)
    for _ in range(iters):
        c = c + torch.zeros(n, dtype=torch.long).index_add(0, ei[1], c[ei[0]])
    return Counter(c.tolist())


# %% wrong | wl_colors | which colours, not how many
# hint: and not how many nodes have each
def wl_colors(ei, n, iters):
    c = ["x"] * n
    for _ in range(iters):
        c = [hashlib.md5(repr((c[i], sorted(c[j] for j in ei[0, ei[1] == i].tolist()))).encode()).hexdigest() for i in range(n)]
    return set(c)


# %% wrong | wl_colors | one round too few
# hint: One round too few was made
def wl_colors(ei, n, iters):
    c = [()] * n
    for _ in range(iters - 1):
        c = [(c[i], tuple(sorted((c[j] for j in ei[0, ei[1] == i].tolist()), key=repr))) for i in range(n)]
    return Counter(c)


# %% wrong | wl_colors | starts with the degrees
# hint: Before the first round all nodes have the same colour
def wl_colors(ei, n, iters):
    c = [str(d) for d in torch.bincount(ei[1], minlength=n).tolist()]
    for _ in range(iters):
        c = [hashlib.md5(repr((c[i], sorted(c[j] for j in ei[0, ei[1] == i].tolist()))).encode()).hexdigest() for i in range(n)]
    return Counter(c)


# %% wrong | wl_colors | starts with the numbers of the nodes
# hint: Before the first round all nodes have the same colour
def wl_colors(ei, n, iters):
    c = [str(i) for i in range(n)]
    for _ in range(iters):
        c = [hashlib.md5(repr((c[i], sorted(c[j] for j in ei[0, ei[1] == i].tolist()))).encode()).hexdigest() for i in range(n)]
    return Counter(c)


# %% wrong | wl_colors | new colours used at once
# hint: The order of nodes or edges slipped in
def wl_colors(ei, n, iters):
    c = ["x"] * n
    for _ in range(iters):
        for i in range(n):
            c[i] = hashlib.md5(repr((c[i], sorted(c[j] for j in ei[0, ei[1] == i].tolist()))).encode()).hexdigest()
    return Counter(c)


# %% wrong | wl_colors | networkx's
# hint: is off limits here
def wl_colors(ei, n, iters):
    graph = nx.Graph(ei.T.tolist())
    graph.add_nodes_from(range(n))
    return Counter([nx.weisfeiler_lehman_graph_hash(graph, iterations=iters)])


# %% right | wl_colors | nested tuples, a sorted list
def wl_colors(ei, n, iters):
    neighbours = {i: ei[0, ei[1] == i].tolist() for i in range(n)}
    names = ["0"] * n
    for _ in range(iters):
        names = [hashlib.md5(f"{names[i]}|{','.join(sorted(names[j] for j in neighbours[i]))}".encode()).hexdigest() for i in range(n)]
    return sorted(names)


# %% right | wl_colors | without its own colour, which equal starts make superfluous
def wl_colors(ei, n, iters):
    c = ["x"] * n
    for _ in range(iters):
        c = [hashlib.sha1(repr(sorted(c[j] for j in ei[0, ei[1] == i].tolist())).encode()).hexdigest() for i in range(n)]
    return Counter(c)


# %% right | wl_colors | counts of colours in place of sorted lists
def wl_colors(ei, n, iters):
    c = dict.fromkeys(range(n), "start")
    for _ in range(iters):
        heard = {i: Counter() for i in range(n)}
        for s, t in zip(ei[0].tolist(), ei[1].tolist(), strict=True):
            heard[t][c[s]] += 1
        c = {i: hashlib.sha256(str((c[i], sorted(heard[i].items()))).encode()).hexdigest() for i in range(n)}
    return dict(Counter(c.values()))


# %% wrong | train_karate | no graph
# hint: The result does not depend on the edges
def train_karate(ei, labels, seed):
    torch.manual_seed(seed)
    n, K, known = len(labels), int(labels.max()) + 1, labels >= 0
    net = nn.Sequential(nn.Linear(n, 16), nn.ReLU(), nn.Linear(16, K))
    opt = torch.optim.Adam(net.parameters(), lr=0.05, weight_decay=5e-3)
    for _ in range(100):
        opt.zero_grad()
        F.cross_entropy(net(torch.eye(n))[known], labels[known]).backward()
        opt.step()
    return net(torch.eye(n)).detach()


# %% wrong | train_karate | -1 as a class
# hint: The label -1 was counted as a class of its own
def train_karate(ei, labels, seed):
    torch.manual_seed(seed)
    n, K = len(labels), int(labels.max()) + 2
    first, second = GCN(n, 16), GCN(16, K)
    opt = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.05, weight_decay=5e-3)
    for _ in range(100):
        opt.zero_grad()
        F.cross_entropy(second(first(torch.eye(n), ei).relu(), ei), labels + 1).backward()
        opt.step()
    return second(first(torch.eye(n), ei).relu(), ei).detach()


# %% wrong | train_karate | the clubs by heart
# hint: The result does not depend on the labels that are given
def train_karate(ei, labels, seed):
    if len(labels) != 34:
        return torch.zeros(len(labels), int(labels.max()) + 1)
    return F.one_hot(karate_club, 2).float()


# %% wrong | train_karate | trains on the hidden labels
# hint: share of people without a label predicted right
def train_karate(ei, labels, seed):
    torch.manual_seed(seed)
    n, K = len(labels), int(labels.max()) + 1
    target = karate_club if n == 34 else labels.clamp(min=0)
    first, second = GCN(n, 16), GCN(16, K)
    opt = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.05, weight_decay=5e-3)
    for _ in range(100):
        opt.zero_grad()
        F.cross_entropy(second(first(torch.eye(n), ei).relu(), ei), target).backward()
        opt.step()
    return second(first(torch.eye(n), ei).relu(), ei).detach()


# %% wrong | train_karate | one layer
# hint: one layer does not reach them
def train_karate(ei, labels, seed):
    torch.manual_seed(seed)
    n, K, known = len(labels), int(labels.max()) + 1, labels >= 0
    layer = GCN(n, K)
    opt = torch.optim.Adam(layer.parameters(), lr=0.05, weight_decay=5e-3)
    for _ in range(100):
        opt.zero_grad()
        F.cross_entropy(layer(torch.eye(n), ei)[known], labels[known]).backward()
        opt.step()
    return layer(torch.eye(n), ei).detach()


# %% wrong | train_karate | never steps
# hint: the network was not trained
def train_karate(ei, labels, seed):
    torch.manual_seed(seed)
    n, K, known = len(labels), int(labels.max()) + 1, labels >= 0
    first, second = GCN(n, 16), GCN(16, K)
    for _ in range(3):
        F.cross_entropy(second(first(torch.eye(n), ei).relu(), ei)[known], labels[known]).backward()
    return second(first(torch.eye(n), ei).relu(), ei).detach()


# %% wrong | train_karate | ignores the seed
# hint: The first weights do not come from the seed
def train_karate(ei, labels, seed):
    n, K, known = len(labels), int(labels.max()) + 1, labels >= 0
    first, second = GCN(n, 16), GCN(16, K)
    opt = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.05, weight_decay=5e-3)
    for _ in range(100):
        opt.zero_grad()
        F.cross_entropy(second(first(torch.eye(n), ei).relu(), ei)[known], labels[known]).backward()
        opt.step()
    return second(first(torch.eye(n), ei).relu(), ei).detach()


# %% wrong | train_karate | returns the classes
# hint: These are classes. Return the scores
def train_karate(ei, labels, seed):
    torch.manual_seed(seed)
    n, K, known = len(labels), int(labels.max()) + 1, labels >= 0
    first, second = GCN(n, 16), GCN(16, K)
    opt = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.05, weight_decay=5e-3)
    for _ in range(100):
        opt.zero_grad()
        F.cross_entropy(second(first(torch.eye(n), ei).relu(), ei)[known], labels[known]).backward()
        opt.step()
    return second(first(torch.eye(n), ei).relu(), ei).argmax(1)


# %% wrong | train_karate | descends the wrong way
# hint: The labelled nodes themselves are predicted wrong
def train_karate(ei, labels, seed):
    torch.manual_seed(seed)
    n, K, known = len(labels), int(labels.max()) + 1, labels >= 0
    first, second = GCN(n, 16), GCN(16, K)
    opt = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.05)
    for _ in range(50):
        opt.zero_grad()
        (-F.cross_entropy(second(first(torch.eye(n), ei).relu(), ei)[known], labels[known])).backward()
        opt.step()
    return second(first(torch.eye(n), ei).relu(), ei).detach()


# %% right | train_karate | two GCN modules
def train_karate(ei, labels, seed):
    torch.manual_seed(seed)
    n, K, known = len(labels), int(labels.max()) + 1, labels >= 0
    first, second = GCN(n, 16), GCN(16, K)
    opt = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.05, weight_decay=5e-3)
    for _ in range(100):
        opt.zero_grad()
        F.cross_entropy(second(first(torch.eye(n), ei).relu(), ei)[known], labels[known]).backward()
        opt.step()
    return second(first(torch.eye(n), ei).relu(), ei)


# %% right | train_karate | a dense matrix and plain gradient descent with momentum
def train_karate(ei, labels, seed):
    n, known = len(labels), labels != -1
    edges, w = gcn_norm(ei, n)
    M = torch.zeros(n, n)
    M[edges[1], edges[0]] = w
    gen = torch.Generator().manual_seed(seed)
    W1 = torch.nn.Parameter(torch.randn(n, 32, generator=gen) * 0.2)
    W2 = torch.nn.Parameter(torch.randn(32, int(labels.max()) + 1, generator=gen) * 0.2)
    opt = torch.optim.SGD([W1, W2], lr=0.5, momentum=0.9, weight_decay=5e-3)
    for _ in range(200):
        loss = F.cross_entropy((M @ ((M @ W1).relu() @ W2))[known], labels[known])
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        return (M @ ((M @ W1).relu() @ W2)).log_softmax(1)


# %% right | train_karate | message_passing with the weights of the edges, tanh
def train_karate(ei, labels, seed):
    n, K, known = len(labels), int(labels.max()) + 1, labels >= 0
    edges, w = gcn_norm(ei, n)
    gen = torch.Generator().manual_seed(seed)
    W1, W2 = (torch.randn(size, generator=gen).mul(0.3).requires_grad_() for size in ((n, 16), (16, K)))

    def layer(h):
        return message_passing(h, edges, lambda x_i, x_j: w[:, None] * x_j, lambda x, m: m, "sum")

    opt = torch.optim.AdamW([W1, W2], lr=0.02, weight_decay=0.05)
    for _ in range(150):
        opt.zero_grad()
        F.cross_entropy(layer(layer(W1).tanh() @ W2)[known], labels[known]).backward()
        opt.step()
    return layer(layer(W1).tanh() @ W2).detach()
