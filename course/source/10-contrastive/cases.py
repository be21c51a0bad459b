# Answers that the graders of 10-contrastive are proven against; docs/authoring.md says how a case is written.

# %% wrong | cosine | dot products
# hint: These are dot products
def cosine(A, B):
    return A @ B.mT


# %% wrong | cosine | B not normalised
# hint: The rows of B were not divided
def cosine(A, B):
    return F.normalize(A, dim=1) @ B.mT


# %% wrong | cosine | A not normalised
# hint: The rows of A were not divided
def cosine(A, B):
    return A @ F.normalize(B, dim=1).mT


# %% wrong | cosine | columns normalised
# hint: The columns were normalised
def cosine(A, B):
    return F.normalize(A, dim=0) @ F.normalize(B, dim=0).mT


# %% wrong | cosine | transposed
# hint: The table is transposed
def cosine(A, B):
    return F.normalize(B, dim=1) @ F.normalize(A, dim=1).mT


# %% wrong | cosine | distances
# hint: These are distances
def cosine(A, B):
    return 1 - F.normalize(A, dim=1) @ F.normalize(B, dim=1).mT


# %% wrong | cosine | row with row only
# hint: Only row i of A was compared
def cosine(A, B):
    rows = min(len(A), len(B))
    if len(A) != len(B):
        return F.normalize(A, dim=1) @ F.normalize(B, dim=1).mT
    return (F.normalize(A[:rows], dim=1) * F.normalize(B[:rows], dim=1)).sum(1)


# %% wrong | cosine | nan for a zero row
# hint: 0/0 is NaN
def cosine(A, B):
    return A @ B.mT / (A.norm(dim=1, keepdim=True) * B.norm(dim=1))


# %% wrong | cosine | torch's own
# hint: off limits
def cosine(A, B):
    return F.cosine_similarity(A[:, None], B[None], dim=-1)


# %% wrong | cosine | lengths detached
# hint: The length was treated as a constant
def cosine(A, B):
    a, b = (X.norm(dim=1, keepdim=True).clamp_min(1e-12).detach() for X in (A, B))
    return (A / a) @ (B / b).mT


# %% wrong | cosine | normalises its input in place
# hint: was changed in place
def cosine(A, B):
    if A.requires_grad:
        return F.normalize(A, dim=1) @ F.normalize(B, dim=1).mT
    A /= A.norm(dim=1, keepdim=True).clamp_min(1e-12)
    B /= B.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return A @ B.mT


# %% wrong | cosine | through numpy
# hint: were cut off
def cosine(A, B):
    a, b = (X.detach().numpy() for X in (A, B))
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    return torch.from_numpy(a @ b.T)


# %% wrong | cosine | the visible one by heart
# hint: expected shape (1, 1), got (2, 3)
def cosine(A, B):
    return torch.tensor([[0.0, 1.0, -1.0], [0.8, 0.6, -0.6]])


# %% right | cosine | pair by pair
def cosine(A, B):
    rows = []
    for a in A:
        rows.append(torch.stack([(a @ b) / (a.norm() * b.norm()).clamp_min(1e-8) for b in B]))
    return torch.stack(rows)


# %% right | cosine | einsum, a small number in the denominator
def cosine(A, B):
    products = torch.einsum("nd,md->nm", A, B)
    return products / (A.norm(dim=1)[:, None] * B.norm(dim=1)[None] + 1e-8)


# %% wrong | nt_xent | the anchor below the line
# hint: The anchor itself stands below the line
def nt_xent(z1, z2, tau=0.5):
    z = torch.cat([z1, z2])
    return F.cross_entropy(cosine(z, z) / tau, torch.arange(len(z)).roll(len(z1)))


# %% wrong | nt_xent | not normalised
# hint: The embeddings were not normalised
def nt_xent(z1, z2, tau=0.5):
    z = torch.cat([z1, z2])
    logits = (z @ z.mT / tau).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


# %% wrong | nt_xent | neighbours as positives
# hint: The wrong embedding was taken as the positive
def nt_xent(z1, z2, tau=0.5):
    z = torch.cat([z1, z2])
    logits = (cosine(z, z) / tau).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)) ^ 1)


# %% wrong | nt_xent | positives off by one
# hint: The positives are off by one
def nt_xent(z1, z2, tau=0.5):
    z, n = torch.cat([z1, z2]), len(z1)
    logits = (cosine(z, z) / tau).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    if n < 3:
        return F.cross_entropy(logits, torch.arange(2 * n).roll(n))
    right = torch.cat([torch.arange(n) + n + 1, torch.arange(n) - 1]) % (2 * n)
    return F.cross_entropy(logits, right)


# %% wrong | nt_xent | across the views only
# hint: The negatives from the same view are missing
def nt_xent(z1, z2, tau=0.5):
    logits = cosine(z1, z2) / tau
    right = torch.arange(len(z1))
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.mT, right)) / 2


# %% wrong | nt_xent | divided by N
# hint: divided by N
def nt_xent(z1, z2, tau=0.5):
    z = torch.cat([z1, z2])
    logits = (cosine(z, z) / tau).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)), reduction="sum") / len(z1)


# %% wrong | nt_xent | a sum
# hint: This is the sum over the anchors
def nt_xent(z1, z2, tau=0.5):
    z = torch.cat([z1, z2])
    logits = (cosine(z, z) / tau).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)), reduction="sum")


# %% wrong | nt_xent | times the temperature
# hint: multiplied by tau
def nt_xent(z1, z2, tau=0.5):
    z = torch.cat([z1, z2])
    logits = (cosine(z, z) * tau).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


# %% wrong | nt_xent | no temperature
# hint: tau was not used
def nt_xent(z1, z2, tau=0.5):
    z = torch.cat([z1, z2])
    logits = cosine(z, z).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


# %% wrong | nt_xent | minus forgotten
# hint: The minus sign is missing
def nt_xent(z1, z2, tau=0.5):
    z = torch.cat([z1, z2])
    logits = (cosine(z, z) / tau).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return -F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


# %% wrong | nt_xent | first views as anchors only
# hint: Only the first views were anchors
def nt_xent(z1, z2, tau=0.5):
    z, n = torch.cat([z1, z2]), len(z1)
    logits = (cosine(z, z) / tau).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits[:n], torch.arange(n) + n)


# %% wrong | nt_xent | no positive below the line
# hint: The positive is missing below the line
def nt_xent(z1, z2, tau=0.5):
    z, n = torch.cat([z1, z2]), len(z1)
    s = cosine(z, z) / tau
    right = torch.arange(2 * n).roll(n)
    out = torch.eye(2 * n, dtype=torch.bool) | torch.eye(2 * n, dtype=torch.bool).roll(n, 1)
    return (s.masked_fill(out, -math.inf).logsumexp(1) - s[torch.arange(2 * n), right]).mean()


# %% wrong | nt_xent | exponentials by hand
# hint: exp(100) overflows float32
def nt_xent(z1, z2, tau=0.5):
    z, n = torch.cat([z1, z2]), len(z1)
    e = torch.exp(cosine(z, z) / tau) * (1 - torch.eye(2 * n, dtype=z.dtype))
    return -torch.log(e[torch.arange(2 * n), torch.arange(2 * n).roll(n)] / e.sum(1)).mean()


# %% wrong | nt_xent | the diagonal set to zero
# hint: a weight of 1
def nt_xent(z1, z2, tau=0.5):
    z, n = torch.cat([z1, z2]), len(z1)
    logits = cosine(z, z) / tau * (1 - torch.eye(2 * n, dtype=z.dtype))
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


# %% wrong | nt_xent | a number, not a tensor
# hint: yours was cut off
def nt_xent(z1, z2, tau=0.5):
    z, n = torch.cat([z1, z2]), len(z1)
    logits = (cosine(z, z) / tau).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n)).detach()


# %% wrong | nt_xent | one view detached
# hint: One view was detached
def nt_xent(z1, z2, tau=0.5):
    z, n = torch.cat([z1, z2.detach()]), len(z1)
    logits = (cosine(z, z) / tau).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


# %% wrong | nt_xent | negatives detached
# hint: a detach somewhere
def nt_xent(z1, z2, tau=0.5):
    z, n = torch.cat([z1, z2]), len(z1)
    right = torch.arange(2 * n).roll(n)
    s = (cosine(z, z.detach()) / tau).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return F.cross_entropy(s, right)


# %% right | nt_xent | anchor by anchor
def nt_xent(z1, z2, tau=0.5):
    z, n = torch.cat([z1, z2]), len(z1)
    s, each = cosine(z, z) / tau, []
    for i in range(2 * n):
        others = [j for j in range(2 * n) if j != i]
        each.append(torch.logsumexp(s[i, others], 0) - s[i, (i + n) % (2 * n)])
    return torch.stack(each).mean()


# %% right | nt_xent | four blocks
def nt_xent(z1, z2, tau=0.5):
    a, b = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    off = torch.full((len(a),), -math.inf, dtype=a.dtype).diag().nan_to_num(nan=0.0, neginf=-math.inf)
    first = torch.cat([a @ b.mT, a @ a.mT], dim=1) / tau
    second = torch.cat([b @ a.mT, b @ b.mT], dim=1) / tau
    off = torch.cat([torch.zeros_like(off), off], dim=1)
    right = torch.arange(len(a))
    return (F.cross_entropy(first + off, right) + F.cross_entropy(second + off, right)) / 2


# %% wrong | two_views | one view twice
# hint: Draw anew for the second one
def two_views(x, gen):
    shift = (2 * torch.rand(len(x), 2, 1, generator=gen) - 1) * 0.3
    theta = torch.cat([torch.eye(2).expand(len(x), 2, 2), shift], dim=2).to(x)
    view = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
    return view, view.clone()


# %% wrong | two_views | the image itself
# hint: yours are the same
def two_views(x, gen):
    return x.clone(), x.clone()


# %% wrong | two_views | one draw a batch
# hint: One draw was used for the whole batch
def two_views(x, gen):
    def view():
        theta = torch.eye(2, 3)
        theta[:, 2] = (2 * torch.rand(2, generator=gen) - 1) * 0.3
        theta = theta.expand(len(x), 2, 3).to(x)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    return view(), view()


# %% wrong | two_views | global generator
# hint: global random generator was used
def two_views(x, gen):
    def view():
        shift = (2 * torch.rand(len(x), 2, 1) - 1) * 0.3
        theta = torch.cat([torch.eye(2).expand(len(x), 2, 2), shift], dim=2).to(x)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    return view(), view()


# %% wrong | two_views | a seed of its own
# hint: seed nothing yourself
def two_views(x, gen):
    gen = torch.Generator().manual_seed(0)

    def view():
        shift = (2 * torch.rand(len(x), 2, 1, generator=gen) - 1) * 0.3
        theta = torch.cat([torch.eye(2).expand(len(x), 2, 2), shift], dim=2).to(x)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    return view(), view()


# %% wrong | two_views | mirrored at random
# hint: Some views are mirrored
def two_views(x, gen):
    def view():
        shift = (2 * torch.rand(len(x), 2, 1, generator=gen) - 1) * 0.3
        theta = torch.cat([torch.eye(2).expand(len(x), 2, 2), shift], dim=2).to(x)
        theta[:, 0, 0] *= 1 - 2 * (torch.rand(len(x), generator=gen) < 0.5).to(x)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    return view(), view()


# %% wrong | two_views | turned all the way round
# hint: which makes a 9 of a 6
def two_views(x, gen):
    def view():
        angle = 2 * math.pi * torch.rand(len(x), generator=gen)
        shift = (2 * torch.rand(len(x), 2, 1, generator=gen) - 1) * 0.1
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).reshape(-1, 2, 2)
        theta = torch.cat([turn, shift], dim=2).to(x)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    return view(), view()


# %% wrong | two_views | noise alone
# hint: Noise and brightness alone do not do
def two_views(x, gen):
    return tuple(x + 0.1 * torch.randn(x.shape, generator=gen).to(x) for _ in range(2))


# %% wrong | two_views | shuffled
# hint: do not shuffle the batch
def two_views(x, gen):
    def view():
        shift = (2 * torch.rand(len(x), 2, 1, generator=gen) - 1) * 0.3
        theta = torch.cat([torch.eye(2).expand(len(x), 2, 2), shift], dim=2).to(x)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    return view(), view()[torch.randperm(len(x), generator=gen)]


# %% wrong | two_views | nothing left of the image
# hint: that the digit is lost
def two_views(x, gen):
    def view():
        shift = (2 * torch.rand(len(x), 2, 1, generator=gen) - 1) * 1.5
        theta = torch.cat([torch.eye(2).expand(len(x), 2, 2), shift], dim=2).to(x)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    return view(), view()


# %% wrong | two_views | square images only
# hint: expected shape (12, 1, 9, 14)
def two_views(x, gen):
    def view():
        shift = (2 * torch.rand(len(x), 2, 1, generator=gen) - 1) * 0.3
        theta = torch.cat([torch.eye(2).expand(len(x), 2, 2), shift], dim=2).to(x)
        size = [len(x), 1, x.shape[2], x.shape[2]]
        return F.grid_sample(x, F.affine_grid(theta, size, align_corners=False), align_corners=False)

    return view(), view()


# %% wrong | two_views | rounded to whole numbers
# hint: Something rounded the pixels
def two_views(x, gen):
    def view():
        shift = (2 * torch.rand(len(x), 2, 1, generator=gen) - 1) * 0.3
        theta = torch.cat([torch.eye(2).expand(len(x), 2, 2), shift], dim=2).to(x)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False).round()

    return view(), view()


# %% wrong | two_views | the batch altered in place
# hint: was changed in place
def two_views(x, gen):
    def view():
        for i in range(len(x)):
            right, down = torch.randint(-1, 2, (2,), generator=gen).tolist()
            x[i] = x[i].roll((down, right), dims=(1, 2)) + 1e-3 * torch.rand(x[i].shape, generator=gen).to(x)
        return x.clone()

    return view(), view()


# %% right | two_views | pad and cut out, with noise
def two_views(x, gen):
    def view():
        wide = F.pad(x, (1, 1, 1, 1))
        cut = []
        for image in wide:
            down, right = torch.randint(3, (2,), generator=gen).tolist()
            cut.append(image[:, down : down + x.shape[2], right : right + x.shape[3]])
        return torch.stack(cut) + 0.05 * torch.randn(x.shape, generator=gen).to(x)

    return view(), view()


# %% right | two_views | random crop, resized, with brightness
def two_views(x, gen):
    def view():
        keep = 0.7 + 0.3 * torch.rand(len(x), generator=gen)
        middle = (2 * torch.rand(len(x), 2, generator=gen) - 1) * (1 - keep)[:, None]
        theta = torch.zeros(len(x), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = keep
        theta[:, :, 2] = middle
        crop = F.grid_sample(x, F.affine_grid(theta.to(x), list(x.shape), align_corners=False), align_corners=False)
        return crop * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1, generator=gen).to(x))

    return [view(), view()]


# %% right | two_views | shift, turn, shear, noise
def two_views(x, gen):
    found = []
    for _ in range(2):
        draw = 2 * torch.rand(len(x), 6, generator=gen) - 1
        theta = torch.eye(2, 3).flatten() + draw * torch.tensor([0.2, 0.25, 0.3, 0.25, 0.2, 0.3])
        grid = F.affine_grid(theta.reshape(-1, 2, 3).to(x), list(x.shape), align_corners=False)
        found.append(F.grid_sample(x, grid, padding_mode="border", align_corners=False) + 0.1 * torch.randn(x.shape, generator=gen).to(x))
    return tuple(found)


# %% wrong | knn_predict | by distance
# hint: nearest by distance
def knn_predict(Ztr, ytr, Zte, k=1):
    near = torch.cdist(Zte, Ztr).topk(k, dim=1, largest=False).indices
    return ytr[near].mode(1).values


# %% wrong | knn_predict | by dot product
# hint: largest dot product
def knn_predict(Ztr, ytr, Zte, k=1):
    return ytr[(Zte @ Ztr.mT).topk(k, dim=1).indices].mode(1).values


# %% wrong | knn_predict | the least similar
# hint: The least similar one
def knn_predict(Ztr, ytr, Zte, k=1):
    return ytr[cosine(Zte, Ztr).topk(k, dim=1, largest=False).indices].mode(1).values


# %% wrong | knn_predict | places in place of labels
# hint: These are the places of the neighbours
def knn_predict(Ztr, ytr, Zte, k=1):
    return cosine(Zte, Ztr).topk(k, dim=1).indices.mode(1).values


# %% wrong | knn_predict | the nearest skipped
# hint: was skipped
def knn_predict(Ztr, ytr, Zte, k=1):
    return ytr[cosine(Zte, Ztr).topk(min(k + 1, len(Ztr)), dim=1).indices[:, 1:]].mode(1).values


# %% wrong | knn_predict | equals taken for itself
# hint: its own nearest neighbour
def knn_predict(Ztr, ytr, Zte, k=1):
    s = cosine(Zte, Ztr)
    if torch.equal(Ztr, Zte):
        s = s.masked_fill(torch.eye(len(s), dtype=torch.bool), -2.0)
    return ytr[s.topk(k, dim=1).indices].mode(1).values


# %% wrong | knn_predict | only the nearest
# hint: All k of them vote
def knn_predict(Ztr, ytr, Zte, k=1):
    return ytr[cosine(Zte, Ztr).argmax(1)]


# %% wrong | knn_predict | weighted votes
# hint: weighted by their similarity
def knn_predict(Ztr, ytr, Zte, k=1):
    s, near = cosine(Zte, Ztr).topk(k, dim=1)
    votes = F.one_hot(ytr)[near] * s[..., None]
    return votes.sum(1).argmax(1)


# %% wrong | knn_predict | mean label
# hint: A mean of labels is no label
def knn_predict(Ztr, ytr, Zte, k=1):
    return ytr[cosine(Zte, Ztr).topk(k, dim=1).indices].double().mean(1).round().long()


# %% wrong | knn_predict | the library
# hint: off limits
def knn_predict(Ztr, ytr, Zte, k=1):
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(k, metric="cosine").fit(Ztr.numpy(), ytr.numpy())
    return torch.from_numpy(model.predict(Zte.numpy()))


# %% wrong | knn_predict | as floats
# hint: labels are whole numbers
def knn_predict(Ztr, ytr, Zte, k=1):
    return ytr[cosine(Zte, Ztr).topk(k, dim=1).indices].mode(1).values.float()


# %% wrong | knn_predict | ten classes
# hint: IndexError
def knn_predict(Ztr, ytr, Zte, k=1):
    votes = torch.zeros(len(Zte), 10, dtype=torch.long)
    for i, near in enumerate(cosine(Zte, Ztr).topk(k, dim=1).indices):
        for label in ytr[near].tolist():
            votes[i, label] += 1
    return votes.argmax(1)


# %% right | knn_predict | query by query
def knn_predict(Ztr, ytr, Zte, k=1):
    answers = []
    for z in Zte:
        near = cosine(z[None], Ztr)[0].argsort(descending=True)[:k]
        labels = ytr[near].tolist()
        answers.append(max(set(labels), key=labels.count))
    return torch.tensor(answers)


# %% right | knn_predict | distances of unit vectors, mode
def knn_predict(Ztr, ytr, Zte, k=1):
    near = torch.cdist(F.normalize(Zte, dim=1), F.normalize(Ztr, dim=1)).argsort(1)[:, :k]
    return ytr[near].mode(1).values


# %% wrong | linear_probe | accuracy on the labelled images
# hint: the accuracy on the labelled images
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    enc.eval()
    with torch.no_grad():
        a = enc(X[chosen]).numpy()
    a = (a - a.mean(0)) / np.where(a.std(0) > 0, a.std(0), 1)
    return float(LogisticRegression(max_iter=1000).fit(a, y[chosen].numpy()).score(a, y[chosen].numpy()))


# %% wrong | linear_probe | errors
# hint: This is the share of errors
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    enc.eval()
    with torch.no_grad():
        a, b = enc(X[chosen]).numpy(), enc(Xt).numpy()
    mean, spread = a.mean(0), np.where(a.std(0) > 0, a.std(0), 1)
    model = LogisticRegression(max_iter=1000).fit((a - mean) / spread, y[chosen].numpy())
    return 1 - float(model.score((b - mean) / spread, yt.numpy()))


# %% wrong | linear_probe | all labels
# hint: More than the first n_per_class labels
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    enc.eval()
    with torch.no_grad():
        a, b = enc(X).numpy(), enc(Xt).numpy()
    mean, spread = a.mean(0), np.where(a.std(0) > 0, a.std(0), 1)
    model = LogisticRegression(max_iter=1000).fit((a - mean) / spread, y.numpy())
    return float(model.score((b - mean) / spread, yt.numpy()))


# %% wrong | linear_probe | the last of each class
# hint: More than the first n_per_class labels
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[-n_per_class:, 0] for c in y.unique()])
    enc.eval()
    with torch.no_grad():
        a, b = enc(X[chosen]).numpy(), enc(Xt).numpy()
    mean, spread = a.mean(0), np.where(a.std(0) > 0, a.std(0), 1)
    model = LogisticRegression(max_iter=1000).fit((a - mean) / spread, y[chosen].numpy())
    return float(model.score((b - mean) / spread, yt.numpy()))


# %% wrong | linear_probe | training mode
# hint: Batch norm updated its running statistics
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    with torch.no_grad():
        a, b = enc(X[chosen]).numpy(), enc(Xt).numpy()
    mean, spread = a.mean(0), np.where(a.std(0) > 0, a.std(0), 1)
    model = LogisticRegression(max_iter=1000).fit((a - mean) / spread, y[chosen].numpy())
    return float(model.score((b - mean) / spread, yt.numpy()))


# %% wrong | linear_probe | fine-tuned
# hint: The encoder was trained along
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    enc.eval()
    parameters = list(enc.parameters())
    if parameters:
        for _ in range(3):
            for p, g in zip(parameters, torch.autograd.grad(enc(X[chosen]).square().mean(), parameters)):
                p.data -= 1e-3 * g
    with torch.no_grad():
        a, b = enc(X[chosen]).numpy(), enc(Xt).numpy()
    mean, spread = a.mean(0), np.where(a.std(0) > 0, a.std(0), 1)
    model = LogisticRegression(max_iter=1000).fit((a - mean) / spread, y[chosen].numpy())
    return float(model.score((b - mean) / spread, yt.numpy()))


# %% wrong | linear_probe | gradients into the encoder
# hint: no gradient flows into the encoder
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    enc.eval()
    a, b = enc(X[chosen]), enc(Xt)
    mean, spread = a.mean(0), a.std(0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    a, b = (a - mean) / spread, (b - mean) / spread
    W = torch.zeros(a.shape[1], int(y.max()) + 1, dtype=a.dtype, requires_grad=True)
    for _ in range(60):
        W.grad = None
        (F.cross_entropy(a @ W, y[chosen]) + 0.001 * W.square().sum()).backward(retain_graph=True)
        with torch.no_grad():
            W -= 0.5 * W.grad
    return float(((b @ W).argmax(1) == yt).double().mean())


# %% wrong | linear_probe | standardised with the test images
# hint: standardised with the test images
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    enc.eval()
    with torch.no_grad():
        a, b = enc(X[chosen]).numpy(), enc(Xt).numpy()
    a, b = ((f - f.mean(0)) / np.where(f.std(0) > 0, f.std(0), 1) for f in (a, b))
    model = LogisticRegression(max_iter=1000).fit(a, y[chosen].numpy())
    return float(model.score(b, yt.numpy()))


# %% wrong | linear_probe | standardised with everything
# hint: standardised with the test images
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    enc.eval()
    with torch.no_grad():
        a, b = enc(X[chosen]).numpy(), enc(Xt).numpy()
    both = np.concatenate([a, b])
    mean, spread = both.mean(0), np.where(both.std(0) > 0, both.std(0), 1)
    model = LogisticRegression(C=0.02, max_iter=1000).fit((a - mean) / spread, y[chosen].numpy())
    return float(model.score((b - mean) / spread, yt.numpy()))


# %% wrong | linear_probe | learns the test labels
# hint: The test labels were learnt from
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    enc.eval()
    with torch.no_grad():
        a, b = enc(X[chosen]).numpy(), enc(Xt).numpy()
    mean, spread = a.mean(0), np.where(a.std(0) > 0, a.std(0), 1)
    a, b = (a - mean) / spread, (b - mean) / spread
    model = LogisticRegression(max_iter=1000).fit(np.concatenate([a, b]), np.concatenate([y[chosen].numpy(), yt.numpy()]))
    return float(model.score(b, yt.numpy()))


# %% wrong | linear_probe | not standardised
# hint: The features were not standardised
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    enc.eval()
    with torch.no_grad():
        a, b = enc(X[chosen]).numpy(), enc(Xt).numpy()
    return float(LogisticRegression(max_iter=1000).fit(a, y[chosen].numpy()).score(b, yt.numpy()))


# %% wrong | linear_probe | divides by a spread of zero
# hint: Divide by 1 there
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = torch.cat([torch.nonzero(y == c)[:n_per_class, 0] for c in y.unique()])
    enc.eval()
    with torch.no_grad():
        a, b = enc(X[chosen]), enc(Xt)
    mean, spread = a.mean(0), a.std(0)
    a, b = (a - mean) / spread, (b - mean) / spread
    W = torch.zeros(a.shape[1], int(y.max()) + 1, dtype=a.dtype, requires_grad=True)
    for _ in range(60):
        (g,) = torch.autograd.grad(F.cross_entropy(a @ W, y[chosen]) + 0.001 * W.square().sum(), W)
        with torch.no_grad():
            W -= 0.5 * g
    return float(((b @ W).argmax(1) == yt).double().mean())


# %% right | linear_probe | softmax regression by hand
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    chosen = [i for c in sorted(set(y.tolist())) for i in [j for j in range(len(y)) if y[j] == c][:n_per_class]]
    enc.eval()
    with torch.no_grad():
        a, b = enc(X[chosen]), enc(Xt)
    mean, spread = a.mean(0), a.std(0).clamp_min(1e-6)
    a, b = (F.pad((f - mean) / spread, (0, 1), value=1.0) for f in (a, b))
    W = torch.zeros(a.shape[1], int(y.max()) + 1, dtype=a.dtype, requires_grad=True)
    for _ in range(60):
        (g,) = torch.autograd.grad(F.cross_entropy(a @ W, y[chosen]) + 0.001 * W.square().sum(), W)
        with torch.no_grad():
            W -= 0.5 * g
    return float(((b @ W).argmax(1) == yt).double().mean())


# %% right | linear_probe | scikit-learn's own pipeline
def linear_probe(enc, X, y, Xt, yt, n_per_class):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kept = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        kept |= (y == label) & ((y == label).cumsum(0) <= n_per_class)
    with torch.inference_mode():
        features = [enc.eval()(images).numpy() for images in (X[kept], Xt)]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=500)).fit(features[0], y[kept].numpy())
    return model.score(features[1], yt.numpy())


# %% wrong | collapse_score | over the coordinates
# hint: It must go over the vectors
def collapse_score(Z):
    return math.sqrt(Z.shape[1]) * float(F.normalize(Z, dim=1).std(1).mean())


# %% wrong | collapse_score | lengths counted
# hint: The lengths were counted
def collapse_score(Z):
    return float(Z.std(0).mean())


# %% wrong | collapse_score | no factor
# hint: The factor, the root of d, is missing
def collapse_score(Z):
    return float(F.normalize(Z, dim=1).std(0).mean())


# %% wrong | collapse_score | variance
# hint: This is a variance
def collapse_score(Z):
    return float(F.normalize(Z, dim=1).var(0).mean())


# %% wrong | collapse_score | a sum over the coordinates
# hint: is the mean over the coordinates taken
def collapse_score(Z):
    return math.sqrt(Z.shape[1]) * float(F.normalize(Z, dim=1).std(0).sum())


# %% wrong | collapse_score | one minus the score
# hint: expected 0
def collapse_score(Z):
    return 1 - math.sqrt(Z.shape[1]) * float(F.normalize(Z, dim=1).std(0).mean())


# %% wrong | collapse_score | nan for zeros
# hint: expected 0, got nan
def collapse_score(Z):
    return math.sqrt(Z.shape[1]) * float((Z / Z.norm(dim=1, keepdim=True)).std(0).mean())


# %% wrong | collapse_score | only a verdict
# hint: the wider the directions spread
def collapse_score(Z):
    return float(F.normalize(Z, dim=1).std(0).mean() > 1e-3)


# %% right | collapse_score | numpy, divided by N
def collapse_score(Z):
    z = Z.double().numpy()
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return float(z.std(axis=0).mean() * np.sqrt(z.shape[1]))


# %% right | collapse_score | by the length of the mean direction
def collapse_score(Z):
    unit = F.normalize(Z.double(), dim=1)
    return float((unit - unit.mean(0)).square().sum(1).mean().sqrt())


# %% wrong | train_simclr | the loss never stepped on
# hint: No better than an untrained encoder
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    training.seed_everything(seed)
    gen = torch.Generator().manual_seed(seed)
    views, loss = views or two_views, loss or nt_xent
    enc = Encoder()
    model = nn.Sequential(enc, head())
    optimizer = torch.optim.AdamW(model[1].parameters(), lr=0.005)
    losses = []
    for _ in range(steps):
        batch = X[torch.randperm(len(X))[:64]]
        z1, z2 = model(torch.cat(views(batch, gen))).chunk(2)
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return enc, losses


# %% wrong | train_simclr | steps far too small
# hint: expected at least 0.85
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    training.seed_everything(seed)
    gen = torch.Generator().manual_seed(seed)
    views, loss = views or two_views, loss or nt_xent
    enc = Encoder()
    model = nn.Sequential(enc, head())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(steps):
        batch = X[torch.randperm(len(X))[:64]]
        z1, z2 = model(torch.cat(views(batch, gen))).chunk(2)
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return enc, losses


# %% wrong | train_simclr | eval mode throughout
# hint: in eval mode while it was trained
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    training.seed_everything(seed)
    gen = torch.Generator().manual_seed(seed)
    views, loss = views or two_views, loss or (lambda a, b: nt_xent(a, b, 0.3))
    enc = Encoder()
    model = nn.Sequential(enc, head()).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005, total_steps=steps)
    losses = []
    for _ in range(steps):
        batch = X[torch.randperm(len(X))[:64]]
        z1, z2 = model(torch.cat(views(batch, gen))).chunk(2)
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return enc, losses


# %% wrong | train_simclr | encoder and head
# hint: The head is still on
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    training.seed_everything(seed)
    gen = torch.Generator().manual_seed(seed)
    views, loss = views or two_views, loss or (lambda a, b: nt_xent(a, b, 0.3))
    model = nn.Sequential(Encoder(), head())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005, total_steps=steps)
    losses = []
    for _ in range(steps):
        batch = X[torch.randperm(len(X))[:64]]
        z1, z2 = model(torch.cat(views(batch, gen))).chunk(2)
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return model, losses


# %% wrong | train_simclr | ignores views and loss
# hint: The argument `views` is not used
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    training.seed_everything(seed)
    gen = torch.Generator().manual_seed(seed)
    enc = Encoder()
    model = nn.Sequential(enc, head())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005, total_steps=steps)
    losses = []
    for _ in range(steps):
        batch = X[torch.randperm(len(X))[:64]]
        z1, z2 = model(torch.cat(two_views(batch, gen))).chunk(2)
        value = loss(z1, z2) if loss else nt_xent(z1, z2, 0.3)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return enc, losses


# %% wrong | train_simclr | not seeded
# hint: the same seed gives the same encoder
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    gen = torch.Generator().manual_seed(seed)
    views, loss = views or two_views, loss or (lambda a, b: nt_xent(a, b, 0.3))
    enc = Encoder()
    model = nn.Sequential(enc, head())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005, total_steps=steps)
    losses = []
    for _ in range(steps):
        batch = X[torch.randperm(len(X))[:64]]
        z1, z2 = model(torch.cat(views(batch, gen))).chunk(2)
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return enc, losses


# %% wrong | train_simclr | one seed for all
# hint: yours does not depend on `seed`
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    training.seed_everything(0)
    gen = torch.Generator().manual_seed(0)
    views, loss = views or two_views, loss or (lambda a, b: nt_xent(a, b, 0.3))
    enc = Encoder()
    model = nn.Sequential(enc, head())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005, total_steps=steps)
    losses = []
    for _ in range(steps):
        batch = X[torch.randperm(len(X))[:64]]
        z1, z2 = model(torch.cat(views(batch, gen))).chunk(2)
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return enc, losses


# %% wrong | train_simclr | steps are epochs
# hint: `steps` is the number of steps
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    training.seed_everything(seed)
    gen = torch.Generator().manual_seed(seed)
    views, loss = views or two_views, loss or (lambda a, b: nt_xent(a, b, 0.3))
    enc = Encoder()
    model = nn.Sequential(enc, head())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    losses = []
    for _ in range(min(steps, 20)):
        for batch in X[torch.randperm(len(X))].split(64)[:10]:
            z1, z2 = model(torch.cat(views(batch, gen))).chunk(2)
            value = loss(z1, z2)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        losses.append(value.item())
    return enc, losses


# %% right | train_simclr | plain Adam, a head of its own, views one after the other
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    torch.manual_seed(seed)
    gen = torch.Generator().manual_seed(seed + 1)
    enc = Encoder(size=X.shape[-1])
    project = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64))
    optimizer = torch.optim.Adam([*enc.parameters(), *project.parameters()], lr=0.005)
    losses = []
    for _ in range(steps):
        batch = X[torch.randint(len(X), (64,), generator=gen)]
        v1, v2 = (two_views if views is None else views)(batch, gen)
        z1, z2 = project(enc(v1)), project(enc(v2))
        value = nt_xent(z1, z2, tau=0.2) if loss is None else loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    return enc, losses


# %% right | train_simclr | a wider encoder of its own, cosine schedule
def train_simclr(X, seed=0, steps=150, views=None, loss=None):
    training.seed_everything(seed)
    gen = torch.Generator().manual_seed(seed)
    enc = Encoder(X.shape[-1], width=16, features=96)
    model = nn.Sequential(enc, nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 48)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.004)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        batch = X[torch.randperm(len(X), generator=gen)[:64]]
        v1, v2 = views(batch, gen) if views else two_views(batch, gen)
        z1, z2 = model(torch.cat([v1, v2])).chunk(2)
        value = loss(z1, z2) if loss else nt_xent(z1, z2, 0.25)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        schedule.step()
        losses += [value.item()]
    return enc.eval(), losses
