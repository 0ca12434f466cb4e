"""Single ops and products, ours beside PyTorch's, in turn on one machine:

    python tests/speed/ops.py [FILTER]         # needs torch; about 8 s a line, 5 minutes in all, and a build before

Each benchmark of nodes/compute/benches/speed/ whose name holds FILTER runs alone, then PyTorch does the same: an op forward and
backward from a gradient of ones, a product as `matmul`; bf16 is autocast, for products tensors that are bf16 already.
Ours is Criterion's median, PyTorch's the median of at least 5 runs over 2 s. Threads: RAYON_NUM_THREADS, else all.
"""
import json, os, pathlib, statistics, subprocess, sys, tempfile, time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count())))


def leaf(*shape):
    return torch.randn(*shape).mul_(0.1).requires_grad_()


def op(forward, *leaves):
    """Forward, and backward to all leaves."""
    def once():
        y = forward(*leaves)
        y.backward(torch.ones_like(y))
        for x in leaves:
            x.grad = None
    return once


def product(a, b):
    """Of a and b as they lie in memory; PyTorch rounds nothing on the way."""
    def of(dtype):
        x, y = a.to(dtype), b.to(dtype)
        return lambda: torch.matmul(x, y)
    return of


def conv2(turned):
    x, w = torch.randn(1, 512, 16000), torch.randn(512, 512, 3)
    def of(dtype):
        a, b = x.to(dtype), w.to(dtype)
        if not turned:
            return lambda: F.conv1d(a, b, stride=2)
        dy = torch.randn(1, 512, 7999).to(dtype)
        return lambda: torch.nn.grad.conv1d_weight(a, b.shape, dy, stride=2)
    return of


def heads(x):
    return x.view(4, 249, 12, 64).transpose(1, 2)


def attention(q, k, v, gates):
    context = F.scaled_dot_product_attention(heads(q), heads(k), heads(v)) * gates[:, None, None]
    return context.transpose(1, 2).reshape(4, 249, 768)


def positional(x, g, v, b):
    w = torch._weight_norm(v, g, 2)
    return x + F.gelu(F.conv1d(x.transpose(1, 2), w, b, padding=64, groups=16)[..., :-1]).transpose(1, 2)


def lstm(directions):
    net = torch.nn.LSTM(768, 384, batch_first=True, bidirectional=directions == 2)
    return op(lambda x, *_: net(x)[0], leaf(4, 249, 768), *net.parameters())


def gram(a, b, target_a, target_b):
    return (target_a @ target_b.transpose(1, 2) - a @ b.transpose(1, 2)).square().mean()


def adamw(n):
    w = leaf(n)
    w.grad = torch.randn(n)
    return torch.optim.AdamW([w], lr=2e-4, weight_decay=0.0).step


def matrices(m, n, k, a_turned=False, b_turned=False):
    a = torch.randn(k, m).T if a_turned else torch.randn(m, k)
    return product(a, torch.randn(n, k).T if b_turned else torch.randn(k, n))


PRODUCTS = {
    "linear-996x768x768": lambda: matrices(996, 768, 768, b_turned=True),
    "linear-996x3072x768": lambda: matrices(996, 3072, 768, b_turned=True),
    "linear-996x768x3072": lambda: matrices(996, 768, 3072, b_turned=True),
    "grad_x-996x768x3072": lambda: matrices(996, 768, 3072),
    "grad_w-3072x768x996": lambda: matrices(3072, 768, 996, a_turned=True),
    "conv2-7999x512x1536": lambda: conv2(False),
    "conv2_grad_w-512x1536x7999": lambda: conv2(True),
    "scores-48x249x249x64": lambda: product(
        heads(torch.randn(4, 249, 768)), heads(torch.randn(4, 249, 768)).transpose(2, 3)),
    "context-48x249x64x249": lambda: product(torch.randn(4, 12, 249, 249), heads(torch.randn(4, 249, 768))),
}
BTC = (4, 249, 768)
OPS = {
    "linear-996x768x768": lambda: op(F.linear, leaf(996, 768), leaf(768, 768), leaf(768)),
    "feed_forward-996x768x3072": lambda: op(
        lambda x, w1, b1, w2, b2: F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2),
        leaf(996, 768), leaf(3072, 768), leaf(3072), leaf(768, 3072), leaf(768)),
    "layer_norm-996x768": lambda: op(
        lambda x, w, b: F.layer_norm(x, (768,), w, b), leaf(996, 768), leaf(768), leaf(768)),
    "attention-4x249x768-12heads-gates": lambda: op(attention, leaf(*BTC), leaf(*BTC), leaf(*BTC), leaf(12)),
    "attention_map-4x249x768-12heads": lambda: op(
        lambda q, k: (heads(q) @ heads(k).transpose(2, 3) / 8).softmax(-1), leaf(*BTC), leaf(*BTC)),
    "conv1d-1x15999x512-k3s2-gelu-gates": lambda: op(
        lambda x, g, w: F.conv1d(F.gelu(x) * g[:, None], w, stride=2),
        leaf(1, 512, 15999), leaf(512), leaf(512, 512, 3)),
    "conv_first-1x80000x512-k10s5": lambda: op(
        lambda w, g, b: F.group_norm(F.conv1d(wave, w, stride=5), 512, g, b), leaf(512, 1, 10), leaf(512), leaf(512)),
    "positional-4x249x768-k128-16groups": lambda: op(
        positional, leaf(*BTC), leaf(1, 1, 128), leaf(768, 48, 128), leaf(768)),
    "lstm-4x249x768-384": lambda: lstm(1),
    "lstm-4x249x768-2x384": lambda: lstm(2),
    "gram-4x249x768": lambda: op(
        lambda a, b: gram(a, b, target, target), leaf(*BTC), leaf(*BTC)),
    "l1_cosine-996x768": lambda: op(
        lambda x: (x - target).abs().mean() - F.cosine_similarity(x, target, dim=-1).mean(), leaf(*BTC)),
    "cross_entropy-996x500": lambda: op(lambda x: F.cross_entropy(x, torch.full((996,), 3)), leaf(996, 500)),
    "adamw-16777216": lambda: adamw(1 << 24),
}
wave, target = torch.randn(1, 1, 80000), torch.randn(*BTC)


def theirs(group, name, precision):
    bf16 = precision == "bf16"
    if group == "products":
        once = PRODUCTS[name]()(torch.bfloat16 if bf16 else torch.float32)
    else:
        once = OPS[name]()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16 and group == "ops"):
        once()
        seconds, begun = [], time.perf_counter()
        while len(seconds) < 5 or time.perf_counter() - begun < 2:
            start = time.perf_counter()
            once()
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def build():
    command = ["cargo", "bench", "-p", "compute", "--bench", "speed", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    built = [json.loads(line) for line in lines]
    return next(b["executable"] for b in built if b.get("executable") and b["target"]["name"] == "speed")


def main():
    ours = build()
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    names = subprocess.run([ours, "--bench", "--list"], capture_output=True, text=True, check=True).stdout
    names = [line.removesuffix(": benchmark") for line in names.splitlines() if wanted in line and line.endswith(": benchmark")]
    print("| | ours, ms | PyTorch, ms | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home:
        for name in names:
            subprocess.run([ours, "--bench", "--exact", name], env={**os.environ, "CRITERION_HOME": home},
                           capture_output=True, check=True)
            estimates = json.loads((pathlib.Path(home) / name / "new/estimates.json").read_text())
            pair = estimates["median"]["point_estimate"] / 1e6, 1e3 * theirs(*name.split("/"))
            print(f"| {name} | {pair[0]:.2f} | {pair[1]:.2f} | {pair[0] / pair[1]:.2f} |", flush=True)


main()
