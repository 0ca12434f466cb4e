"""Students of ARMHuBERT, STaRHuBERT and of LSTMs in PyTorch, for step.py.

    python tests/speed/students.py        # needs torch and safetensors

compares their hidden states, losses and gradients with tests/golden/arm and star, which the methods' own code wrote, and with
lstm_both. Modules are named as tensors in a model folder, and a student takes the keys of its config.json.
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


class Extractor(nn.Module):
    """Convolutions without bias, the first with a group norm."""

    def __init__(self, config):
        super().__init__()
        self.conv_layers = nn.ModuleList()
        channels = 1
        for i, (out, kernel, stride) in enumerate(zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"])):
            layer = nn.ModuleDict({"conv": nn.Conv1d(channels, out, kernel, stride, bias=False)})
            if i == 0:
                layer["layer_norm"] = nn.GroupNorm(out, out)
            self.conv_layers.append(layer)
            channels = out

    def forward(self, audio):
        """Returns (rows, frames, channels) for (rows, samples)."""
        x = audio.unsqueeze(1)
        for layer in self.conv_layers:
            x = layer["conv"](x)
            x = F.gelu(layer["layer_norm"](x) if "layer_norm" in layer else x)
        return x.mT


class LstmStudent(nn.Module):
    """HuBERT's convolutions and a bidirectional LSTM."""

    def __init__(self, config):
        super().__init__()
        channels = config["conv_dim"][-1]
        self.feature_extractor = Extractor(config)
        self.feature_projection = nn.ModuleDict({"layer_norm": nn.LayerNorm(channels)})
        self.encoder = nn.ModuleDict({"lstm": nn.LSTM(
            channels, config["lstm_hidden_size"], config["num_hidden_layers"], batch_first=True, bidirectional=True)})

    def forward(self, audio):
        """Returns the last layer for (rows, samples)."""
        return self.encoder["lstm"](self.feature_projection["layer_norm"](self.feature_extractor(audio)))[0]


class Student(nn.Module):
    """Convolutions, the last as wide as the encoder, and layers whose norms follow the sub-layers."""

    def __init__(self, config, average_gradients=False):
        super().__init__()
        dropout = config.get("hidden_dropout", 0.1)
        width, layers, self.average_gradients = config["hidden_size"], config["num_hidden_layers"], average_gradients
        reuses = config.get("encoder_reuse_attention") or [False] * layers
        self.feature_extractor = Extractor(config)
        self.feature_projection = nn.ModuleDict({"layer_norm": nn.LayerNorm(config["conv_dim"][-1])})
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
        x = self.projection_dropout(self.feature_projection["layer_norm"](self.feature_extractor(audio)))
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


def cosine_logits(x, embeddings, temperature):
    return F.normalize(x, dim=-1) @ F.normalize(embeddings, dim=-1).T / temperature


def decoupled_loss(logits, teacher_logits):
    """Decoupled distillation, alpha = beta = 1, and cross entropy with the teacher's largest logit."""
    labels = teacher_logits.argmax(-1, keepdim=True)
    ours, theirs = logits.log_softmax(-1), teacher_logits.log_softmax(-1)

    def of_target(log_p):
        log_target = log_p.gather(-1, labels)
        others = log_p.scatter(-1, labels, -torch.inf)
        return torch.cat([log_target, others.logsumexp(-1, keepdim=True)], -1), others

    (ours_target, ours_others), (theirs_target, theirs_others) = of_target(ours), of_target(theirs)
    divergence = lambda p, q: F.kl_div(q, p, log_target=True, reduction="none").nan_to_num().sum(-1).mean()
    target_class = divergence(theirs_target, ours_target)
    finite = lambda others: others.masked_fill(others == -torch.inf, -1e4).log_softmax(-1)
    other_classes = divergence(finite(theirs_others), finite(ours_others))
    return target_class + other_classes + F.nll_loss(ours.flatten(0, -2), labels.flatten())


class ExpandHead(nn.Module):
    """A map that expands a layer, GELU, and a map for each target."""

    def __init__(self, width, out, targets):
        super().__init__()
        self.expand = nn.Linear(width, width * targets)
        self.targets = nn.ModuleList(nn.Linear(width, out) for _ in range(targets))

    def forward(self, x):
        parts = F.gelu(self.expand(x)).chunk(len(self.targets), -1)
        return [target(part) for target, part in zip(self.targets, parts)]


def regression_loss(predicted, targets):
    """L1 and -log sigmoid of the cosine, means over targets."""
    pairs = list(zip(predicted, targets))
    cosine = lambda p, t: F.logsigmoid(F.cosine_similarity(p, t, dim=-1)).mean()
    return sum(F.l1_loss(p, t) - cosine(p, t) for p, t in pairs) / len(pairs)


def golden(name, kind=Student, **options):
    from safetensors.torch import load_file

    student = kind(json.loads((GOLDEN / name / "config.json").read_text()), **options).eval()
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

    student, theirs = golden("lstm_both", LstmStudent)
    for row in "ab":
        close(student(theirs[f"audio/{row}"][None])[0], theirs[f"hidden/{row}/3"])

    logits, teacher_logits = torch.randn(2, 1, 5, 7, dtype=torch.float64)
    q, p = logits[0].softmax(-1), teacher_logits[0].softmax(-1)
    expected = 0
    for frame_q, frame_p in zip(q, p):
        label = frame_p.argmax()
        q_t, p_t = frame_q[label], frame_p[label]
        others = [i for i in range(7) if i != label]
        expected += p_t * (p_t / q_t).log() + (1 - p_t) * ((1 - p_t) / (1 - q_t)).log() - q_t.log()
        other_q, other_p = frame_q[others] / (1 - q_t), frame_p[others] / (1 - p_t)
        expected += (other_p * (other_p / other_q).log()).sum()
    torch.testing.assert_close(decoupled_loss(logits, teacher_logits), expected / 5)

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
