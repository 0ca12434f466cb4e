"""Students of ARMHuBERT and STaRHuBERT in PyTorch, for step.py.

    python tests/speed/students.py        # needs torch and safetensors

compares their hidden states, losses and gradients with tests/golden/arm and star, which the methods' own code wrote. Modules are
named as tensors in a model folder, and a student takes the keys of its config.json.
"""
import json
import pathlib

import torch
import torch.nn.functional as F
from torch import nn

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"


class ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(context, x, factor):
        context.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return gradient * context.factor, None


class Attention(nn.Module):
    """Attention by a map of its own, which it may hand on, or by the map that it is given."""

    def __init__(self, width, heads, dropout, reuses, hands_on):
        super().__init__()
        self.heads, self.dropout, self.reuses, self.hands_on = heads, dropout, reuses, hands_on
        for name in ["v_proj", "out_proj"] + ([] if reuses else ["q_proj", "k_proj"]):
            setattr(self, name, nn.Linear(width, width))

    def by_heads(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x, attention_map):
        v = self.by_heads(self.v_proj(x))
        dropout = self.dropout if self.training else 0.0
        if self.reuses:
            attended = attention_map @ v
        else:
            q, k = self.by_heads(self.q_proj(x)), self.by_heads(self.k_proj(x))
            if self.hands_on:
                attention_map = (q * q.shape[-1] ** -0.5 @ k.mT).softmax(-1)
                attended = F.dropout(attention_map, dropout) @ v
            else:
                attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), attention_map


class Layer(nn.Module):
    def __init__(self, width, heads, inner, dropout, reuses, hands_on):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.attention = Attention(width, heads, dropout, reuses, hands_on)
        self.layer_norm, self.final_layer_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed_forward = nn.ModuleDict(
            {"intermediate_dense": nn.Linear(width, inner), "output_dense": nn.Linear(inner, width)})

    def forward(self, x, attention_map):
        attended, attention_map = self.attention(x, attention_map)
        x = self.layer_norm(x + self.dropout(attended))
        inner = self.dropout(F.gelu(self.feed_forward["intermediate_dense"](x)))
        x = self.final_layer_norm(x + self.dropout(self.feed_forward["output_dense"](inner)))
        return x, attention_map


class Student(nn.Module):
    """Convolutions, the last as wide as the encoder, and layers whose norms follow the sub-layers."""

    def __init__(self, config, average_gradients=False):
        super().__init__()
        dropout = config.get("hidden_dropout", 0.1)
        width, layers, self.average_gradients = config["hidden_size"], config["num_hidden_layers"], average_gradients
        reuses = config.get("encoder_reuse_attention") or [False] * layers
        shapes = list(zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"]))
        self.feature_extractor = nn.Module()
        self.feature_extractor.conv_layers = nn.ModuleList()
        channels = 1
        for i, (out, kernel, stride) in enumerate(shapes):
            layer = nn.ModuleDict({"conv": nn.Conv1d(channels, out, kernel, stride, bias=False)})
            if i == 0:
                layer["layer_norm"] = nn.GroupNorm(out, out)
            self.feature_extractor.conv_layers.append(layer)
            channels = out
        self.feature_projection = nn.ModuleDict({"layer_norm": nn.LayerNorm(channels)})
        self.projection_dropout = nn.Dropout(config.get("feat_proj_dropout", 0.0))
        if config.get("mask_time_prob", 0.05) > 0:
            self.masked_spec_embed = nn.Parameter(torch.rand(width))
        taps, groups = config.get("num_conv_pos_embeddings", 128), config.get("num_conv_pos_embedding_groups", 16)
        positions = nn.Conv1d(width, width, taps, padding=taps // 2, groups=groups)
        self.encoder = nn.Module()
        self.encoder.pos_conv_embed = nn.ModuleDict(
            {"conv": nn.utils.parametrizations.weight_norm(positions, dim=2)})
        self.encoder.layer_norm, self.encoder_dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.encoder.layers = nn.ModuleList(
            Layer(width, config["num_attention_heads"], config["intermediate_size"], dropout, reuses[l],
                  hands_on=not reuses[l] and l + 1 < layers and reuses[l + 1])
            for l in range(layers))

    def forward(self, audio, mask=None):
        """Returns layer 0, the input of the first layer, and the others, for (rows, samples)."""
        x = audio.unsqueeze(1)
        for layer in self.feature_extractor.conv_layers:
            x = layer["conv"](x)
            x = F.gelu(layer["layer_norm"](x) if "layer_norm" in layer else x)
        x = self.projection_dropout(self.feature_projection["layer_norm"](x.mT))
        if mask is not None:
            x = torch.where(mask.unsqueeze(-1), self.masked_spec_embed, x)
        x = x + F.gelu(self.encoder.pos_conv_embed["conv"](x.mT)[..., : x.shape[1]]).mT
        x = self.encoder.layer_norm(x)
        states, attention_map, layers = [x], None, len(self.encoder.layers)
        x = self.encoder_dropout(x)
        for l, layer in enumerate(self.encoder.layers):
            x, attention_map = layer(x, attention_map)
            state = x
            if self.average_gradients:
                on_the_way = (layers - l) / (layers - l + 1)
                x = ScaledGradient.apply(x, on_the_way)
                state = ScaledGradient.apply(x, 1 - on_the_way)
            states.append(state)
        return states


def masked_loss(predicted, target, masked_target, mask):
    """ARMHuBERT's: masked frames against the teacher that sees everything, others against the one under the same mask."""
    weights = [0.1] * (len(predicted) - 1) + [1.0]
    targets = [torch.where(mask.unsqueeze(-1), t, m) for t, m in zip(target, masked_target)]
    return sum(w * F.mse_loss(p, t) for w, p, t in zip(weights, predicted, targets))


def gram_loss(states, targets, between):
    """STaRHuBERT's: relations of frames within layers, or between each layer and the one before it."""
    pairs = list(zip(states, states[1:], targets, targets[1:]) if between else zip(states, states, targets, targets))
    return sum(F.mse_loss(s @ other.mT, t @ their.mT) for s, other, t, their in pairs) / len(pairs)


def golden(name, **options):
    from safetensors.torch import load_file

    student = Student(json.loads((GOLDEN / name / "config.json").read_text()), **options).eval()
    student.load_state_dict(load_file(GOLDEN / name / "model.safetensors"))
    return student, load_file(GOLDEN / f"{name}.safetensors")


def check():
    """Compares with the methods' own code.

    Raises AssertionError if a hidden state, a loss or a gradient differs.
    """
    close = lambda ours, theirs: torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)
    student, theirs = golden("arm", average_gradients=True)
    heads = [(theirs[f"heads/{l}.weight"], theirs[f"heads/{l}.bias"]) for l in range(len(student.encoder.layers))]
    for row in "ab":
        for l, state in enumerate(student(theirs[f"audio/{row}"][None])[1:], 1):
            close(state[0], theirs[f"paper/hidden/{row}/{l}"])
    mask = theirs["mask/a"][None].bool()
    states = student(theirs["audio/a"][None], mask)[1:]
    predicted = [F.linear(state, *head) for state, head in zip(states, heads)]
    loss = masked_loss(predicted, theirs["target/a"].unsqueeze(1), theirs["masked_target/a"].unsqueeze(1), mask)
    close(loss, theirs["paper/mean/a/loss"])
    loss.backward()
    for name, parameter in student.named_parameters():
        if (gradient := theirs.get(f"paper/mean/a/grad/{name}")) is not None:
            close(parameter.grad, gradient)

    student, theirs = golden("star")
    for between, term in enumerate(["gram", "gram-between"]):
        total, pairs = 0, 0
        for row in "ab":
            states = student(theirs[f"audio/{row}"][None])
            for l, state in enumerate(states):
                close(state[0], theirs[f"hidden/{row}/{l}"])
            count = states[0].shape[1] ** 2
            total, pairs = total + count * gram_loss(states, theirs[f"target/{row}"].unsqueeze(1), between), pairs + count
        close(total / pairs, theirs[f"{term}/loss"])
        student.zero_grad()
        (total / pairs).backward()
        for name, parameter in student.named_parameters():
            if (gradient := theirs.get(f"{term}/grad/{name}")) is not None:
                close(parameter.grad, gradient)


if __name__ == "__main__":
    check()
