"""A speech encoder, from waveforms to hidden states, in PyTorch alone.

`config` has the keys of config.json. Parameters have the names of model.safetensors.
"""

import functools
import math

import torch
from torch import nn
from torch.nn import functional as F


def is_fbank(config):
    return config.get("front_end", "waveform") == "fbank"


def is_lstm(config):
    return config.get("encoder", "transformer") == "lstm"


def has_position_bias(config):
    return config["model_type"].endswith("wavlm")


def head_width(config):
    return config.get("encoder_head_dim") or config["hidden_size"] // config["num_attention_heads"]


def remaining_heads(config, layer):
    """Returns the heads of a layer, by their numbers before pruning where that matters (WavLM)."""
    if config.get("encoder_remaining_heads") is not None:
        return config["encoder_remaining_heads"][layer]
    heads = config.get("encoder_num_heads")
    return list(range(config["num_attention_heads"] if heads is None else heads[layer]))


def inner_units(config, layer):
    units = config.get("encoder_ff_interm_features")
    return config["intermediate_size"] if units is None else units[layer]


def reuses_attention(config, layer):
    reuse = config.get("encoder_reuse_attention")
    return reuse is not None and reuse[layer]


def input_width(config):
    """Returns the width of the first layer's input."""
    if is_lstm(config) and not config.get("feature_projection", True) and not is_fbank(config):
        return config["conv_dim"][-1]
    return config["hidden_size"]


def normalized(waveforms, epsilon=1e-7):
    """Brings each waveform to zero mean and unit variance: with an epsilon of 1e-7 as transformers'
    feature extractor, with 1e-5 as fairseq and torchaudio."""
    mean = waveforms.mean(-1, keepdim=True)
    variance = waveforms.var(-1, unbiased=False, keepdim=True)
    return (waveforms - mean) / torch.sqrt(variance + epsilon)


@functools.lru_cache(maxsize=None)
@torch.inference_mode(False)  # gradients pass later, whoever calls first
def mel_filters(bins):
    """Returns Kaldi's triangles over the bins of the power spectrum, (256, bins)."""
    mel = lambda hertz: 1127.0 * math.log(1.0 + hertz / 700.0)
    step = torch.tensor((mel(8000.0) - mel(20.0)) / (bins + 1), dtype=torch.float32)
    points = torch.tensor(mel(20.0), dtype=torch.float32) + torch.arange(bins + 2) * step
    left, center, right = points[:-2], points[1:-1], points[2:]
    spectrum = 1127.0 * torch.log(1.0 + torch.arange(256)[:, None] * 31.25 / 700.0)
    up = (spectrum - left) / (center - left)
    down = (right - spectrum) / (right - center)
    return torch.minimum(up, down).clamp(min=0.0)


def log_mel(waveforms, bins):
    """Returns Kaldi's log-mel frames without dither: 25 ms every 10 ms, (rows, frames, bins)."""
    frames = (waveforms.double() * 32768.0).unfold(-1, 400, 160)
    frames = frames - frames.mean(-1, keepdim=True)
    frames = frames - 0.97 * torch.cat([frames[..., :1], frames[..., :-1]], -1)
    place = torch.arange(400, dtype=torch.float64, device=waveforms.device)
    window = (0.5 - 0.5 * torch.cos(2 * math.pi * place / 399)) ** 0.85
    power = torch.fft.rfft(frames * window, 512)[..., :256].abs().square().float()
    energies = power @ mel_filters(bins).to(power.device)
    return energies.clamp(min=2.0**-23).log().to(waveforms.dtype)


class Convolution(nn.Module):
    """A convolution of the feature extractor with its norm and GELU."""

    def __init__(self, config, i):
        super().__init__()
        channels = config["conv_dim"][i]
        inputs = 1 if i == 0 else config["conv_dim"][i - 1]
        kernel, stride = config["conv_kernel"][i], config["conv_stride"][i]
        bias = config.get("conv_bias", False)
        self.conv = nn.Conv1d(inputs, channels, kernel, stride, bias=bias)
        self.over_channels = config["feat_extract_norm"].endswith("layer")
        if self.over_channels:
            self.layer_norm = nn.LayerNorm(channels)
        elif i == 0:
            self.layer_norm = nn.GroupNorm(channels, channels)
        else:
            self.layer_norm = None

    def forward(self, x):
        x = self.conv(x)
        if self.over_channels:
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)
        elif self.layer_norm is not None:
            x = self.layer_norm(x)
        return F.gelu(x)


class FeatureExtractor(nn.Module):
    """Convolutions over samples, or one over log-mel frames with a gated linear unit."""

    def __init__(self, config):
        super().__init__()
        if is_fbank(config):
            kernel = config["fbank_conv_kernel"][0]
            wide = 2 * input_width(config)
            conv = nn.Conv1d(config["fbank_bins"], wide, kernel, 2, padding=kernel // 2)
            self.fbank_conv_layers = nn.ModuleList([nn.ModuleDict({"conv": conv})])
            return
        convolutions = range(len(config["conv_dim"]))
        self.conv_layers = nn.ModuleList(Convolution(config, i) for i in convolutions)
        if config.get("feature_dummy_weight", False):
            self.register_buffer("dummy_weight", torch.ones(config["conv_dim"][-1]))

    def forward(self, x):
        if hasattr(self, "fbank_conv_layers"):
            return F.glu(self.fbank_conv_layers[0]["conv"](x.transpose(1, 2)).transpose(1, 2))
        x = x.unsqueeze(1)
        for layer in self.conv_layers:
            x = layer(x)
        x = x.transpose(1, 2)
        return x * self.dummy_weight if hasattr(self, "dummy_weight") else x


class FeatureProjection(nn.Module):
    """The norm and the linear map between convolutions and layers."""

    def __init__(self, config):
        super().__init__()
        self.dropout = config.get("feat_proj_dropout", 0.0)
        self.norm_width = config.get("feature_norm_width")
        width = input_width(config)
        self.is_fbank = is_fbank(config)
        if self.is_fbank:
            self.fbank_projection = nn.Linear(width, width)
            return
        channels = config["conv_dim"][-1]
        self.layer_norm = self.projection = None
        if config.get("feat_proj_layer_norm", True):
            self.layer_norm = nn.LayerNorm(channels, config["layer_norm_eps"])
        if config.get("feature_projection", True):
            self.projection = nn.Linear(channels, width)
        if self.norm_width is not None:
            self.folded = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return F.dropout(self.projected(x), self.dropout, self.training)

    def projected(self, x):
        if self.is_fbank:
            return self.fbank_projection(x)
        if self.norm_width is not None:
            return self.projected_over_closed_channels(x)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        return x if self.projection is None else self.projection(x)

    def projected_over_closed_channels(self, x):
        """Normalises over channels of which those that were pruned are zero.

        What they were mapped to, in proportion to -mean / deviation, is `folded`.
        """
        n = self.norm_width
        closed = n - x.shape[-1]
        mean = x.sum(-1, keepdim=True) / n
        squares = (x - mean).square().sum(-1, keepdim=True) + closed * mean.square()
        scale = torch.rsqrt(squares / n + self.layer_norm.eps)
        x = (x - mean) * scale * self.layer_norm.weight + self.layer_norm.bias
        return self.projection(x) - mean * scale * self.folded


class NormedWeight(nn.Module):
    """A weight as the norm and the direction of each tap, named as PyTorch's weight norm."""

    def __init__(self, outputs, inputs, taps):
        super().__init__()
        self.original0 = nn.Parameter(torch.ones(1, 1, taps))
        self.original1 = nn.Parameter(torch.randn(outputs, inputs, taps))

    def forward(self):
        norm = self.original1.square().sum((0, 1), keepdim=True).sqrt()
        return self.original0 * self.original1 / norm


class PositionalConvolution(nn.Module):
    """The grouped convolution whose output is added to its input as positions."""

    def __init__(self, config):
        super().__init__()
        width, taps = config["hidden_size"], config["num_conv_pos_embeddings"]
        self.groups = config["num_conv_pos_embedding_groups"]
        self.conv = nn.Module()
        self.conv.bias = nn.Parameter(torch.zeros(width))
        self.conv.parametrizations = nn.Module()
        self.conv.parametrizations.weight = NormedWeight(width, width // self.groups, taps)

    def forward(self, x):
        weight = self.conv.parametrizations.weight()
        padding = weight.shape[-1] // 2
        y = F.conv1d(x.transpose(1, 2), weight, self.conv.bias, padding=padding, groups=self.groups)
        return x + F.gelu(y[..., : x.shape[1]]).transpose(1, 2)


class Attention(nn.Module):
    """The attention of a layer. It may be gone, or use the map of a layer before it."""

    def __init__(self, config, layer):
        super().__init__()
        self.heads = remaining_heads(config, layer)
        self.head_width = head_width(config)
        self.dropout = config.get("attention_dropout", 0.0)
        self.reuses = reuses_attention(config, layer)
        self.softmax_again = config.get("reuse_as_released", False)
        width, inner = config["hidden_size"], len(self.heads) * self.head_width
        all_heads = config["num_attention_heads"]
        if has_position_bias(config) and layer == 0:
            if any(remaining_heads(config, l) for l in range(config["num_hidden_layers"])):
                self.rel_attn_embed = nn.Embedding(config["num_buckets"], all_heads)
        if not self.heads:
            if config.get("encoder_keeps_bias", False):
                self.out_proj = nn.Module()
                self.out_proj.bias = nn.Parameter(torch.zeros(width))
            return
        if not self.reuses:
            self.q_proj = nn.Linear(width, inner)
            self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)
        self.gates_bias = has_position_bias(config) and not self.reuses
        if self.gates_bias:
            self.gru_rel_pos_linear = nn.Linear(self.head_width, 8)
            self.gru_rel_pos_const = nn.Parameter(torch.ones(1, all_heads, 1, 1))

    def forward(self, x, bias, latest_map):
        """Returns the output, None if the attention is gone, and the map for later layers."""
        if not self.heads:
            return getattr(getattr(self, "out_proj", None), "bias", None), latest_map
        split = lambda y: y.unflatten(-1, (len(self.heads), self.head_width)).transpose(1, 2)
        if self.reuses:
            weights = latest_map.softmax(-1) if self.softmax_again else latest_map
        else:
            queries = split(self.q_proj(x)) * self.head_width**-0.5
            scores = queries @ split(self.k_proj(x)).transpose(2, 3)
            if self.gates_bias:
                scores = scores + self.gated(bias, x)
            latest_map = scores.softmax(-1)
            weights = F.dropout(latest_map, self.dropout, self.training)
        mixed = weights @ split(self.v_proj(x))
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), latest_map

    def gated(self, bias, x):
        """Scales the bias by relative position by a gate of each frame and head."""
        per_head = x.unflatten(-1, (-1, self.head_width)).transpose(1, 2)
        sums = self.gru_rel_pos_linear(per_head).unflatten(-1, (2, 4)).sum(-1)
        a, b = torch.sigmoid(sums).split(1, -1)
        gate = a * (b * self.gru_rel_pos_const - 1.0) + 2.0
        return gate[:, self.heads] * bias[self.heads]


class FeedForward(nn.Module):
    """The feed-forward of a layer. It may be gone."""

    def __init__(self, config, layer):
        super().__init__()
        width, inner = config["hidden_size"], inner_units(config, layer)
        self.dropout = config.get("activation_dropout", 0.0)
        self.is_gone = inner == 0
        if not self.is_gone:
            self.intermediate_dense = nn.Linear(width, inner)
            self.output_dense = nn.Linear(inner, width)
        elif config.get("encoder_keeps_bias", False):
            self.output_dense = nn.Module()
            self.output_dense.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        if self.is_gone:
            return getattr(getattr(self, "output_dense", None), "bias", None)
        inner = F.gelu(self.intermediate_dense(x))
        return self.output_dense(F.dropout(inner, self.dropout, self.training))


class Layer(nn.Module):
    """A transformer layer, with norms before its halves (Large) or behind them (Base)."""

    def __init__(self, config, layer):
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.norms_first = config.get("do_stable_layer_norm", False)
        self.dropout = config.get("hidden_dropout", 0.0)
        self.attention = Attention(config, layer)
        self.layer_norm = nn.LayerNorm(width, eps)
        self.feed_forward = FeedForward(config, layer)
        self.final_layer_norm = nn.LayerNorm(width, eps)

    def forward(self, x, bias, latest_map):
        y = self.layer_norm(x) if self.norms_first else x
        y, latest_map = self.attention(y, bias, latest_map)
        x = self.sum(x, y)
        x = x if self.norms_first else self.layer_norm(x)
        y = self.feed_forward(self.final_layer_norm(x) if self.norms_first else x)
        x = self.sum(x, y)
        return x if self.norms_first else self.final_layer_norm(x), latest_map

    def sum(self, x, y):
        return x if y is None else x + F.dropout(y.expand_as(x), self.dropout, self.training)


class Layers(nn.Module):
    """Positions and transformer layers."""

    def __init__(self, config):
        super().__init__()
        width, joined = config["hidden_size"], config.get("time_reduction", 1)
        self.dropout = config.get("hidden_dropout", 0.0)
        self.norms_first = config.get("do_stable_layer_norm", False)
        self.buckets = config.get("num_buckets", 320)
        self.farthest = config.get("max_bucket_distance", 800)
        self.pos_conv_embed = PositionalConvolution(config)
        self.layer_norm = nn.LayerNorm(width, config["layer_norm_eps"])
        self.joined = joined
        if joined > 1:
            self.time_reduction = nn.Linear(joined * width, width)
        self.layers = nn.ModuleList(Layer(config, l) for l in range(config["num_hidden_layers"]))

    def forward(self, x):
        x = self.pos_conv_embed(x)
        x = x if self.norms_first else self.layer_norm(x)
        x = F.dropout(x, self.dropout, self.training)
        states = [x]
        if self.joined > 1:
            whole = x.shape[1] // self.joined * self.joined
            x = self.time_reduction(x[:, :whole].unflatten(1, (-1, self.joined)).flatten(2))
        bias = self.position_bias(x) if len(self.layers) > 0 else None
        latest_map = None
        for layer in self.layers:
            x, latest_map = layer(x, bias, latest_map)
            states.append(x)
        if self.norms_first and len(self.layers) > 0:
            states[-1] = self.layer_norm(x)
        return states

    def position_bias(self, x):
        """Returns WavLM's biases by relative position, (heads, frames, frames), or None."""
        table = getattr(self.layers[0].attention, "rel_attn_embed", None)
        if table is None:
            return None
        place = torch.arange(x.shape[1], device=x.device)
        distance = place[None, :] - place[:, None]
        half, exact = self.buckets // 2, self.buckets // 4
        far = distance.abs()
        share = torch.log(far.float() / exact) / math.log(self.farthest / exact)
        steps = (exact + share * (half - exact)).clamp(max=half - 1)
        bucket = torch.where(far < exact, far, steps.clamp(min=0).long())
        return table(bucket + half * (distance > 0)).permute(2, 0, 1)


class RecurrentLayers(nn.Module):
    """LSTM layers, whose tensors are named as those of one `nn.LSTM`."""

    def __init__(self, config):
        super().__init__()
        self.dropout = config.get("hidden_dropout", 0.0)
        self.lstm = nn.LSTM(
            input_width(config),
            config["lstm_hidden_size"],
            config["num_hidden_layers"],
            batch_first=True,
            bidirectional=config.get("lstm_bidirectional", True),
        )

    def forward(self, x):
        states = [x]
        directions = 2 if self.lstm.bidirectional else 1
        start = x.new_zeros(directions, x.shape[0], self.lstm.hidden_size)
        for layer in range(self.lstm.num_layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            suffixes = [f"_l{layer}", f"_l{layer}_reverse"][:directions]
            names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
            weights = [getattr(self.lstm, name + suffix) for suffix in suffixes for name in names]
            both = directions == 2
            # "Training" without dropout changes no number; on a GPU gradients ask for it.
            x = torch.lstm(x, (start, start), weights, True, 1, 0.0, True, both, True)[0]
            states.append(x)
        return states


class Statistics(nn.Module):
    """Mean and deviation of log-mel frames."""

    def __init__(self, bins):
        super().__init__()
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("std", torch.ones(bins))


class EncoderMixin:
    """The parts of an encoder, for a subclass of `nn.Module`."""

    def build(self, config):
        self.fbank_bins = config["fbank_bins"] if is_fbank(config) else None
        if self.fbank_bins is not None:
            self.cmvn = Statistics(self.fbank_bins)
        if config.get("mask_time_prob", 0.05) > 0 or config.get("mask_feature_prob", 0.0) > 0:
            self.masked_spec_embed = nn.Parameter(torch.rand(config["hidden_size"]))
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = RecurrentLayers(config) if is_lstm(config) else Layers(config)
        self.fewest_samples = 400
        if self.fbank_bins is None:
            self.fewest_samples = 1
            for kernel, stride in reversed(list(zip(config["conv_kernel"], config["conv_stride"]))):
                self.fewest_samples = (self.fewest_samples - 1) * stride + kernel

    def states(self, waveforms, masked=None):
        """Returns all hidden states, layer 0 first, of waveforms of one length, (rows, samples).

        `masked` says which frames the mask embedding replaces, (rows, frames).
        """
        samples = waveforms.shape[-1]
        if samples < self.fewest_samples:
            message = f"{samples} samples are too short for a frame of {self.fewest_samples}"
            raise ValueError(message)
        x = waveforms
        if self.fbank_bins is not None:
            x = (log_mel(x, self.fbank_bins) - self.cmvn.mean) / self.cmvn.std
        x = self.feature_projection(self.feature_extractor(x))
        if masked is not None:
            masked = masked[:, : x.shape[1], None]
            x = torch.where(masked, self.masked_spec_embed.to(x.dtype), x)
        return self.encoder(x)

    def states_by_row(self, waveforms, masked=None):
        """Returns for each hidden state a list with the frames of each waveform, (frames, width).

        Only waveforms of one length run together: what a row is padded to changes nothing.
        """
        by_length = {}
        for row, waveform in enumerate(waveforms):
            by_length.setdefault(len(waveform), []).append(row)
        layers = None
        for rows in by_length.values():
            same_length = torch.stack([waveforms[row] for row in rows])
            states = self.states(same_length, None if masked is None else masked[rows])
            if layers is None:
                layers = [[None] * len(waveforms) for _ in states]
            for layer, state in zip(layers, states):
                for row, frames in zip(rows, state):
                    layer[row] = frames
        return layers


def padded(rows):
    """Returns rows of frames as one tensor, (rows, frames, width), with zeros behind their ends."""
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)
