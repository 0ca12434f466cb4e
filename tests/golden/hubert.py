"""Write hubert.safetensors: logits, loss and accuracies of HuBERT's pre-training, as fairseq computes them.

    python tests/golden/hubert.py        # needs torch

The formulas are those of fairseq's HubertModel.compute_nce (every class is a candidate beside the right one, which comes
first and is then ruled out among the others) and HubertCriterion, in f64. README.md lists the keys.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import cosine_similarity, cross_entropy, linear

HERE = Path(__file__).parent
TEMPERATURE, MASKED, UNMASKED, PENALTY = 0.1, 1.0, 0.5, 10.0


def compute_nce(z, labels, embeddings):
    right, others = embeddings[labels], embeddings[:, None].expand(-1, len(z), -1)
    same = (right == others).all(-1)
    logits = cosine_similarity(z[None], torch.cat([right[None], others]), dim=-1) / TEMPERATURE
    logits[1:][same] = float("-inf")
    return logits.T


def main():
    torch.manual_seed(20)
    x, weight, bias = torch.randn(40, 12), 0.5 * torch.randn(8, 12), torch.randn(8)
    embeddings, features = torch.rand(6, 8), torch.randn(40, 5)
    labels, mask = torch.randint(0, 6, (40,)), torch.rand(40) < 0.5
    tensors = {"x": x, "weight": weight, "bias": bias, "embeddings": embeddings, "features": features}
    leaves = {key: value.double().requires_grad_() for key, value in tensors.items()}
    z = linear(leaves["x"], leaves["weight"], leaves["bias"])
    nce = compute_nce(z, labels, leaves["embeddings"])
    first = torch.zeros(40, dtype=torch.long)
    loss = MASKED * cross_entropy(nce[mask], first[mask], reduction="sum")
    loss = loss + UNMASKED * cross_entropy(nce[~mask], first[~mask], reduction="sum")
    penalty = leaves["features"].pow(2).mean()
    total = loss + PENALTY * penalty * 40  # times the number of frames that count
    grads = torch.autograd.grad(total / 40, leaves.values())
    right = nce.argmax(-1) == 0
    out = dict(zip((f"grad/{key}" for key in leaves), grads)) | tensors | {
        "logits": cosine_similarity(z[:, None], leaves["embeddings"][None], dim=-1) / TEMPERATURE,
        "labels": labels, "mask": mask, "loss": loss / 40, "penalty": penalty, "total": total / 40,
        "accuracies": torch.stack([right[mask].double().mean(), right[~mask].double().mean()])}
    save_file({key: value.detach().float().contiguous() for key, value in out.items()}, HERE / "hubert.safetensors")


main()
