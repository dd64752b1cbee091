"""Times trainer.LearnNetwork against PyTorch: bench.py FOLDER BINARY ROUNDS.

FOLDER is where BINARY, the package's test binary, writes the rows, the bins and
the options. Both learn the same network by the same recipe: encoding, layers,
members, dropout, loss, AdamW, pace, epochs, batches. PyTorch gets the bins ready
made; ours finds them within its time. CPU seconds of the whole process's threads,
first with one thread each, then as each likes.
"""

import json
import math
import os
import subprocess
import sys
import time

import numpy as np
import torch


def encode(x, inputs, clip):
    """The linear term and the bins of each column, one after another."""
    parts = []
    for c, i in enumerate(inputs):
        t = torch.sign(x[:, c]) * torch.log1p(torch.abs(x[:, c]))
        z = ((t - i["Mean"]) * i["Inv"]).clamp(i["Lo"], i["Hi"])
        parts.append(z.clamp(-clip, clip)[:, None])
        if i["Edges"] and len(i["Edges"]) > 1:
            e = torch.tensor(i["Edges"])
            parts.append(((z[:, None] - e[:-1]) / (e[1:] - e[:-1])).clamp(0, 1))
    return torch.cat(parts, 1)


class Network(torch.nn.Module):
    """Members that share their matrices and differ by scales and biases."""

    def __init__(self, terms, widths, members, dropout, prior):
        super().__init__()
        param = lambda *shape, dev=1.0: torch.nn.Parameter(torch.randn(*shape) * dev)
        self.w, self.r, self.s, self.b = (torch.nn.ParameterList() for _ in range(4))
        before = terms
        for l, w in enumerate(widths):
            self.w.append(param(before, w, dev=math.sqrt(2 / before)))
            if l > 0:
                self.r.append(torch.nn.Parameter(torch.ones(members, 1, before)))
            ones = torch.ones(members, 1, w)
            self.s.append(torch.nn.Parameter(ones if l else ones * torch.randn(members, 1, w).sign()))
            self.b.append(param(members, 1, w, dev=0 if l else 0.1))
            before = w
        self.out = param(members, before, 1, dev=math.sqrt(1 / before))
        self.bias = torch.nn.Parameter(torch.full((members, 1), math.log(prior / (1 - prior))))
        self.dropout = dropout

    def forward(self, x):
        for l, w in enumerate(self.w):
            z = x @ w if l == 0 else (h * self.r[l - 1]) @ w
            h = torch.relu(z * self.s[l] + self.b[l])
            h = torch.nn.functional.dropout(h, self.dropout, self.training)
        return (h @ self.out)[:, :, 0] + self.bias  # members by rows


def learn(folder, meta):
    o = meta["Options"]
    x = torch.from_numpy(np.fromfile(os.path.join(folder, "x.f32"), np.float32).reshape(meta["Rows"], meta["Columns"]))
    y = torch.from_numpy(np.fromfile(os.path.join(folder, "y.u8"), np.uint8).astype(np.float32))
    torch.manual_seed(1)
    from_cpu, from_wall = time.process_time(), time.perf_counter()
    x = encode(x, meta["Inputs"], meta["Clip"])
    encoded = time.process_time() - from_cpu
    frauds, genuine = torch.where(y > 0)[0], torch.where(y == 0)[0]
    n = Network(x.shape[1], o["widths"], o["members"], o["dropout"], len(frauds) / len(y))
    plain = [*n.b, n.bias]
    rest = [p for p in n.parameters() if all(p is not q for q in plain)]
    adam = torch.optim.AdamW([{"params": rest, "weight_decay": o["decay"]}, {"params": plain, "weight_decay": 0}], lr=o["rate"])
    drawn = int(meta["Share"] * len(genuine))
    epoch = len(frauds) + drawn
    steps = -(-epoch // o["batch"])
    total, done = steps * o["epochs"], 0
    warm = max(1, total // 20)
    n.train()
    for _ in range(o["epochs"]):
        rows = torch.cat([frauds, genuine[torch.randperm(len(genuine))[:drawn]]])
        rows = rows[torch.randperm(len(rows))]
        for at in torch.tensor_split(rows, steps):
            pace = (done + 1) / warm if done < warm else (total - done) / (total - warm + 1)
            for g in adam.param_groups:
                g["lr"] = o["rate"] * pace
            b = y[at]
            weight = torch.where(b > 0, meta["Share"], 1.0) / len(at)
            logit = n(x[at])
            loss = (torch.nn.functional.binary_cross_entropy_with_logits(logit, b.expand_as(logit), reduction="none") * weight).sum()
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            done += 1
    return time.process_time() - from_cpu, encoded, time.perf_counter() - from_wall, loss.item()


def ours(binary, folder, threads):
    env = dict(os.environ, **({"GOMAXPROCS": str(threads)} if threads else {}))
    out = subprocess.run(
        [binary, "-test.run", "xxx", "-test.bench", "LearnNetwork/rows=67000", "-test.benchtime", "1x", "-export", folder],
        env=env, capture_output=True, text=True, check=True).stdout
    line = next(l for l in out.splitlines() if "cpu-s/op" in l).split()
    return float(line[line.index("cpu-s/op") - 1])


def main():
    folder, binary, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    print(f"torch {torch.__version__}")
    many = len(os.sched_getaffinity(0))
    for threads in (1, many):
        torch.set_num_threads(threads)
        a, b = [], []
        for _ in range(rounds):
            a.append(ours(binary, folder, threads))
            with open(os.path.join(folder, "meta.json")) as f:
                took, encoded, wall, loss = learn(folder, json.load(f))
            b.append(took)
            print(f"threads {threads}: weir {a[-1]:.2f} CPU s, torch {took:.2f} CPU s ({encoded:.2f} of it encoding; {wall:.1f} s by the clock, last loss {loss:.4f})")
        print(f"threads {threads}: weir {min(a):.2f}, torch {min(b):.2f} CPU s at best, torch / weir {min(b) / min(a):.2f}")


main()
