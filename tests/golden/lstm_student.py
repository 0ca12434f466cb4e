"""Write the golden files of students with PyTorch's LSTM behind HuBERT's convolutions.

    python tests/golden/lstm_student.py

needs torch and safetensors. Two tiny models with random weights: `lstm_both` reads rows in both directions, behind a group norm
and without a linear map; `lstm_forward` in one, behind layer norms and a linear map. README.md lists the keys.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
ROWS = {"a": 4000, "b": 5999}
KERNELS = [10, 3, 3, 3, 3, 2, 2]
STRIDES = [5, 2, 2, 2, 2, 2, 2]
torch.set_default_dtype(torch.float64)


class Model(nn.Module):
    def __init__(self, channels, width, units, layers, bidirectional, layer_norms):
        super().__init__()
        inputs = [1] + [channels] * 6
        self.convolutions = nn.ModuleList(
            nn.Conv1d(i, channels, k, s, bias=False) for i, k, s in zip(inputs, KERNELS, STRIDES))
        self.layer_norms = layer_norms
        self.norms = nn.ModuleList(
            nn.LayerNorm(channels) if layer_norms else nn.GroupNorm(channels, channels) for _ in range(7 if layer_norms else 1))
        self.norm = nn.LayerNorm(channels)
        self.projection = nn.Linear(channels, width) if width else nn.Identity()
        self.lstm = nn.LSTM(width or channels, units, layers, batch_first=True, bidirectional=bidirectional)

    def features(self, audio):
        x = audio[None, None]
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if self.layer_norms:
                x = self.norms[i](x.transpose(1, 2)).transpose(1, 2)
            elif i == 0:
                x = self.norms[0](x)
            x = F.gelu(x)
        return self.projection(self.norm(x.transpose(1, 2)))

    def first_layers(self, count):
        """An LSTM of the first layers."""
        lstm = nn.LSTM(self.lstm.input_size, self.lstm.hidden_size, count, batch_first=True, bidirectional=self.lstm.bidirectional)
        lstm.load_state_dict({name: self.lstm.state_dict()[name] for name in lstm.state_dict()})
        return lstm


def hugging_face(name):
    part, _, rest = name.partition(".")
    layer, _, tensor = rest.partition(".")
    return {
        "convolutions": f"feature_extractor.conv_layers.{layer}.conv.{tensor}",
        "norms": f"feature_extractor.conv_layers.{layer}.layer_norm.{tensor}",
        "norm": f"feature_projection.layer_norm.{rest}",
        "projection": f"feature_projection.projection.{rest}",
        "lstm": f"encoder.lstm.{rest}",
    }[part]


def save(path, tensors):
    save_file({k: v.detach().float().contiguous().clone() for k, v in tensors.items()}, HERE / path)


def write(name, seed, channels, width, units, layers, bidirectional, layer_norms):
    torch.manual_seed(seed)
    model = Model(channels, width, units, layers, bidirectional, layer_norms)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            is_gain = key.startswith("norm") and key.endswith("weight")
            parameter.copy_((0.4 * torch.randn(parameter.shape) + is_gain).float().double())
    golden = {}
    last = []
    for row, samples in ROWS.items():
        audio = torch.randn(samples).float().double()
        features = model.features(audio)
        golden[f"audio/{row}"] = audio
        golden[f"hidden/{row}/0"] = features[0]
        for layer in range(1, layers):
            golden[f"hidden/{row}/{layer}"] = model.first_layers(layer)(features)[0][0]
        hidden = model.lstm(features)[0][0]
        golden[f"hidden/{row}/{layers}"] = hidden
        last.append(hidden)
    torch.cat(last).square().mean().backward()
    for key, parameter in model.named_parameters():
        golden["grad/" + hugging_face(key)] = parameter.grad
    save(f"{name}.safetensors", golden)

    (HERE / name).mkdir(exist_ok=True)
    save(f"{name}/model.safetensors", {hugging_face(key): p for key, p in model.named_parameters()})
    config = dict(
        model_type="compact_hubert", conv_dim=[channels] * 7, conv_kernel=KERNELS, conv_stride=STRIDES, conv_bias=False,
        feat_extract_norm="compact_layer" if layer_norms else "compact_group", feature_projection=bool(width),
        hidden_size=width or channels, encoder="lstm", lstm_hidden_size=units, num_hidden_layers=layers,
        lstm_bidirectional=bidirectional, mask_time_prob=0.0)
    (HERE / name / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (HERE / name / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}) + "\n")


write("lstm_both", 11, channels=8, width=0, units=5, layers=3, bidirectional=True, layer_norms=False)
write("lstm_forward", 12, channels=8, width=6, units=9, layers=2, bidirectional=False, layer_norms=True)
