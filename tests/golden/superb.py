"""Makes superb.safetensors: the weighted sum of layers, the utterance-level head and the log-mel
baseline of s3prl, by PyTorch's and torchaudio's functions.

    python tests/golden/superb.py    (from the repository's folder; torch and torchaudio 2.9.1)
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torchaudio.compliance import kaldi
from torchaudio.functional import compute_deltas

HERE = Path(__file__).parent
LAYERS, WIDTH, PROJECTED, CLASSES = 3, 6, 5, 4
ROWS = [7, 1, 4]


def heads():
    """Loss and gradients of the sum of layers, mean and linear maps, in f64; with and without norm."""
    torch.manual_seed(30)
    layers = torch.randn(LAYERS, sum(ROWS), WIDTH, dtype=torch.float32)
    start = {
        "weights": torch.randn(LAYERS),
        "projector.weight": torch.randn(PROJECTED, WIDTH),
        "projector.bias": torch.randn(PROJECTED),
        "linear.weight": torch.randn(CLASSES, PROJECTED),
        "linear.bias": torch.randn(CLASSES),
    }
    labels = torch.tensor([2, 0, 3])
    out = {"layers": layers, "rows": torch.tensor(ROWS, dtype=torch.float32),
           "labels": labels.float(), **{f"start/{k}": v for k, v in start.items()}}
    for name, normalize in (("plain", False), ("normalized", True)):
        p = {k: v.double().requires_grad_() for k, v in start.items()}
        x = layers.double()
        if normalize:
            x = F.layer_norm(x, (WIDTH,))
        x = (F.softmax(p["weights"], 0)[:, None, None] * x).sum(0)
        x = F.linear(x, p["projector.weight"], p["projector.bias"])
        x = torch.stack([row.mean(0) for row in x.split(ROWS)])
        logits = F.linear(x, p["linear.weight"], p["linear.bias"])
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        out[f"{name}/logits"] = logits.detach()
        out[f"{name}/loss"] = loss.detach()
        out.update({f"{name}/grad/{k}": v.grad for k, v in p.items()})
    return out


def fbank():
    """s3prl's upstream `fbank` of a quarter of a second: deltas by windows of 5, then norms."""
    import soundfile
    audio, rate = soundfile.read(HERE / "../../data/sample/audio/254-12312-0000.flac", dtype="float32")
    assert rate == 16000
    x = kaldi.fbank(torch.from_numpy(audio[:4000])[None].double(), num_mel_bins=80,
                    sample_frequency=16000)
    features = [x]
    for _ in range(2):
        features.append(compute_deltas(features[-1].T[None], win_length=5)[0].T)
    x = torch.cat(features, -1)
    return (x - x.mean(0, keepdim=True)) / (1e-10 + x.std(0, keepdim=True))


tensors = {**heads(), "fbank": fbank()}
save_file({k: v.float().contiguous() for k, v in tensors.items()}, HERE / "superb.safetensors")
