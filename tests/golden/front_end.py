"""Write the golden files of the front end over log-mel frames.

    python tests/golden/front_end.py

needs torch and safetensors. fairseq's Conv1dSubsampler with one convolution (Conv1d of stride 2, GLU), a linear map, and
behind it an LSTM layer of one direction, all in float64 with random weights. README.md lists the keys.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
BINS, WIDTH, KERNEL, UNITS = 10, 6, 5, 7
ROWS = {"a": 24, "b": 41}
torch.set_default_dtype(torch.float64)
torch.manual_seed(21)

convolution = nn.Conv1d(BINS, 2 * WIDTH, KERNEL, stride=2, padding=KERNEL // 2)
linear = nn.Linear(WIDTH, WIDTH)
lstm = nn.LSTM(WIDTH, UNITS, batch_first=True)
modules = {
    "feature_extractor.fbank_conv_layers.0.conv.": convolution,
    "feature_projection.fbank_projection.": linear,
    "encoder.lstm.": lstm,
}
parameters = {prefix + name: p for prefix, module in modules.items() for name, p in module.named_parameters()}
with torch.no_grad():
    for parameter in parameters.values():
        parameter.copy_((0.4 * torch.randn(parameter.shape)).float().double())
mean = (3 * torch.randn(BINS) - 5).float().double()
std = (1 + torch.rand(BINS)).float().double()


def save(path, tensors):
    save_file({k: v.detach().float().contiguous().clone() for k, v in tensors.items()}, HERE / path)


golden = {}
last = []
for row, frames in ROWS.items():
    features = (mean + std * torch.randn(frames, BINS)).float().double()
    normalized = (features - mean) / std
    gated = F.glu(convolution(normalized.T[None]), dim=1)[0].T
    hidden = linear(gated)
    golden[f"features/{row}"] = features
    golden[f"hidden/{row}/0"] = hidden
    golden[f"hidden/{row}/1"] = lstm(hidden[None])[0][0]
    last.append(golden[f"hidden/{row}/1"])
torch.cat(last).square().mean().backward()
golden |= {f"grad/{name}": p.grad for name, p in parameters.items()}
save("fbank_front.safetensors", golden)

folder = HERE / "fbank_front"
folder.mkdir(exist_ok=True)
save("fbank_front/model.safetensors", parameters)
save("fbank_front/cmvn.safetensors", {"mean": mean, "std": std})
config = dict(
    model_type="compact_hubert", feat_extract_norm="compact_group", front_end="fbank", fbank_bins=BINS, fbank_conv_kernel=[KERNEL],
    hidden_size=WIDTH, encoder="lstm", lstm_hidden_size=UNITS, num_hidden_layers=1, lstm_bidirectional=False, mask_time_prob=0.0)
(folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
