"""Writes sequence_heads.safetensors: heads of SUPERB's tasks by PyTorch, and their gradients. Keys are in README.md.

    python tests/golden/sequence_heads.py

needs torch and safetensors. x-vectors and the additive margin are by the formulas of s3prl's downstream/sv_voxceleb1/model.py
at ec8064b5889f81ca460fbe2c094ce576a6f120b7, written down again."""
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

torch.set_default_dtype(torch.float64)
torch.manual_seed(7)
golden = {}


def keep(name, tensor):
    golden[name] = tensor.detach().to(torch.float32).contiguous()


def keep_gradients(prefix, **tensors):
    for name, tensor in tensors.items():
        keep(f"{prefix}/{name}", tensor)
        keep(f"{prefix}/grad/{name}", tensor.grad)


def rows_of(x, lengths):
    return torch.split(x, lengths)


# Rows with repeated labels, as many labels as frames, none, too few frames, and many frames.
def ctc():
    frames = [9, 3, 5, 4, 30, 2]
    labels = [[1, 1, 2], [3, 4, 5], [], [2, 2, 2], [5, 1, 1, 4, 3, 3, 2], [1]]
    logits = (3 * torch.randn(sum(frames), 6)).requires_grad_()
    padded = nn.utils.rnn.pad_sequence(rows_of(F.log_softmax(logits, dim=-1), frames))
    targets = torch.tensor([label for row in labels for label in row])
    lengths = [len(row) for row in labels]
    loss = nn.CTCLoss(blank=0, zero_infinity=True)(padded, targets, torch.tensor(frames), torch.tensor(lengths))
    loss.backward()
    keep_gradients("ctc", logits=logits)
    for name, values in [("frames", frames), ("labels", targets), ("label_lengths", lengths)]:
        keep(f"ctc/{name}", torch.as_tensor(values))
    keep("ctc/loss", loss)


# A layer at a time, as s3prl's RNNs, without dropout; rows by themselves.
def recurrent():
    lengths = [7, 1, 4]
    x = torch.randn(sum(lengths), 5, requires_grad=True)
    lstm = nn.LSTM(5, 6, 2, bidirectional=True)
    y = torch.cat([lstm(row)[0] for row in rows_of(x, lengths)])
    loss = (y**2).mean()
    loss.backward()
    keep_gradients("recurrent", x=x, **dict(lstm.named_parameters()))
    keep("recurrent/y", y)
    keep("recurrent/loss", loss)


CONTEXTS = [(5, 1), (3, 2), (3, 3), (1, 1), (1, 1)]


def x_vector():
    lengths = [20, 16, 31]
    x = torch.randn(sum(lengths), 4, requires_grad=True)
    widths = [4, 6, 6, 6, 6, 5]
    maps = {f"frames.{i}": nn.Linear(k * widths[i], widths[i + 1]) for i, (k, _) in enumerate(CONTEXTS)}
    maps |= {"embedding": nn.Linear(10, 6), "hidden": nn.Linear(6, 6)}
    pooled = []
    for frames in rows_of(x, lengths):
        for i, (k, dilation) in enumerate(CONTEXTS):
            frames = frames[None, None]
            windows = F.unfold(frames, (k, frames.shape[-1]), dilation=(dilation, 1)).transpose(1, 2)
            frames = F.relu(maps[f"frames.{i}"](windows))[0]
        pooled.append(torch.cat([frames.mean(0), frames.std(0)]))
    embeddings = F.relu(maps["embedding"](torch.stack(pooled)))
    hiddens = F.relu(maps["hidden"](embeddings))
    loss = (embeddings**2).mean() + (hiddens**2).mean()
    loss.backward()
    parameters = {f"{name}.{part}": p for name, m in maps.items() for part, p in m.named_parameters()}
    keep_gradients("x_vector", x=x, **parameters)
    for name, tensor in [("embeddings", embeddings), ("hiddens", hiddens), ("loss", loss)]:
        keep(f"x_vector/{name}", tensor)


def margin(scale=30.0, margin=0.4):
    labels = torch.tensor([0, 3, 3, 1, 2])
    x = torch.randn(5, 6, requires_grad=True)
    weight = torch.randn(4, 6, requires_grad=True)
    cosines = F.normalize(x, dim=1) @ F.normalize(weight, dim=1).T
    right = scale * (cosines[range(5), labels] - margin)
    others = torch.exp(scale * cosines).masked_fill(F.one_hot(labels, 4).bool(), 0).sum(1)
    loss = -torch.mean(right - torch.log(torch.exp(right) + others))
    loss.backward()
    keep_gradients("margin", **{"x": x, "classes.weight": weight})
    keep("margin/labels", labels)
    keep("margin/loss", loss)


# Along time alone, as s3prl's TimeWarp.
def warp():
    x = torch.randn(13, 3)
    keep("warp/x", x)
    for frames in (9, 13, 14, 17):
        y = F.interpolate(x[None, None], (frames, 3), mode="bicubic", align_corners=False)
        keep(f"warp/{frames}", y[0, 0])


for task in (ctc, recurrent, x_vector, margin, warp):
    task()
save_file(golden, Path(__file__).with_name("sequence_heads.safetensors"))
