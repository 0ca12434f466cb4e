

# The upstream of s3prl.
import json  # noqa: E402
import os  # noqa: E402
import struct  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def read_tensors(path):
    """Returns the tensors of a safetensors file of floats."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        values = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: `{name}` is {entry['dtype']}, not F32")
        begin, end = entry["data_offsets"]
        count = (end - begin) // 4
        flat = torch.frombuffer(values, dtype=torch.float32, count=count, offset=begin)
        tensors[name] = flat.clone().reshape(entry["shape"])
    return tensors


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


class Head(nn.Module):
    """What brings a layer to its targets: a linear map, alone, behind one that expands a layer to
    several targets, or behind a transposed convolution that makes two frames of one."""

    def __init__(self, tensors):
        super().__init__()
        named = {name.replace(".", "_"): nn.Parameter(x) for name, x in tensors.items()}
        self.tensors = nn.ParameterDict(named)
        self.targets = sum(name.startswith("targets.") for name in tensors) // 2

    def forward(self, x):
        t = self.tensors
        if self.targets > 0:
            wide = F.gelu(F.linear(x, t["expand_weight"], t["expand_bias"]))
            parts = wide.chunk(self.targets, -1)
            names = [f"targets_{i}" for i in range(self.targets)]
            return [F.linear(y, t[n + "_weight"], t[n + "_bias"]) for n, y in zip(names, parts)]
        if "upsample_weight" in t:
            both = torch.einsum("btc,poc->btpo", x, t["upsample_weight"]) + t["upsample_bias"]
            x = both.flatten(1, 2)
        return [F.linear(x, t["weight"], t["bias"])]


class UpstreamExpert(EncoderMixin, nn.Module):
    """Gives the hidden states of a list of raw waveforms at 16 kHz.

    `ckpt` is the folder of the weights; without it, the folder of this file. It is in evaluation mode
    at first.
    """

    def __init__(self, ckpt=None, *args, **kwargs):
        super().__init__()
        folder = ckpt or HERE
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"{folder} is no folder with this upstream's weights")
        self.build(read_json(folder, "config.json"))
        self.load_state_dict(read_tensors(os.path.join(folder, "model.safetensors")))
        self.normalize = read_json(folder, "preprocessor_config.json")["do_normalize"]
        outputs = read_json(folder, "outputs.json")
        self.normalize_epsilon = outputs.get("normalize_epsilon", 1e-7)
        self.downsample_rate = outputs.get("downsample_rate", 320)
        self.chosen_layers = outputs["layers"]
        self.groups = outputs["groups"]
        if self.groups is not None:
            tensors = read_tensors(os.path.join(folder, "heads.safetensors"))
            self.heads = nn.ModuleList()
            for group in range(len(self.groups)):
                prefix = f"{group}."
                own = {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}
                self.heads.append(Head(own))
        self.eval()  # dropout is for who trains: `train()` turns it on

    def get_downsample_rates(self, key=None):
        return self.downsample_rate

    def forward(self, wavs):
        """Returns the chosen layers, or what the heads make of theirs, zeros behind a row's end."""
        wavs = [wav.reshape(-1) for wav in wavs]
        if self.normalize:
            wavs = [normalized(wav, self.normalize_epsilon) for wav in wavs]
        layers = self.states_by_row(wavs)
        if self.groups is None:
            layers = [layers[layer] for layer in self.chosen_layers]
        else:
            layers = self.headed(layers)
        states = [padded(layer) for layer in layers]
        return {"hidden_states": states, "last_hidden_state": states[-1]}

    def headed(self, layers):
        """Returns the outputs of the heads in the order of the layers that they read."""
        readers = []
        for head, group in zip(self.heads, self.groups):
            readers.extend((layer, head) for layer in group)
        outputs = []
        for layer, head in sorted(readers, key=lambda reader: reader[0]):
            by_row = [head(frames[None]) for frames in layers[layer]]
            outputs.extend([row[0] for row in rows] for rows in zip(*by_row))
        return outputs
