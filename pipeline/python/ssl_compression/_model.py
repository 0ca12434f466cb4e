"""A model folder as a torch module."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch  # type: ignore[import-not-found, unused-ignore]

from ._json_file import read_json
from ._tensors import read_tensors
from .encoder import EncoderMixin, is_fbank, normalized, padded

_DEFAULTS: dict[str, Any] = {
    "model_type": "hubert",
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False,
    "feat_extract_norm": "group",
    "feat_proj_layer_norm": True,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "do_stable_layer_norm": False,
    "layer_norm_eps": 1e-5,
    "num_buckets": 320,
    "max_bucket_distance": 800,
    "feat_proj_dropout": 0.0,
    "hidden_dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.1,
    "mask_time_prob": 0.05,
    "mask_feature_prob": 0.0,
    "fbank_bins": 80,
    "fbank_conv_kernel": [5],
}
"""What config.json leaves out, as transformers' HubertConfig and WavLMConfig have it."""

_NORMALIZATION_FILES = (
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
)


class SpeechOutput(NamedTuple):
    """What a model makes of waveforms."""

    hidden_states: tuple[torch.Tensor, ...]
    """Layer 0 first, each (rows, frames, width)."""
    frames: tuple[torch.Tensor, ...]
    """The frames of each row, an int64 tensor (rows,) for each layer, where the waveforms are."""


class SpeechEncoder(EncoderMixin, torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """An encoder that takes raw waveforms. Its parameters are named as in model.safetensors."""

    config: dict[str, Any]
    """The keys of config.json, with those that it leaves out."""
    normalize: bool
    """Whether a waveform is brought to zero mean and unit variance first."""

    def __init__(self, config: dict[str, Any], normalize: bool) -> None:
        super().__init__()
        self.config = config
        self.normalize = normalize
        self.build(config)

    def forward(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | Sequence[int] | None = None
    ) -> SpeechOutput:
        """Returns the hidden states of waveforms at 16 kHz, (rows, samples).

        ``lengths`` are the samples of each row, all of them if it is None. What is behind them
        changes nothing: rows of one length are computed together, others apart.

        Raises ValueError if there is no row, or if one is too short for a frame.
        """
        if waveforms.dim() != 2 or len(waveforms) == 0:
            raise ValueError(f"waveforms are (rows, samples), not {tuple(waveforms.shape)}")
        samples = waveforms.shape[1]
        ends = [samples] * len(waveforms) if lengths is None else [int(n) for n in lengths]
        if len(ends) != len(waveforms) or any(not 0 < end <= samples for end in ends):
            raise ValueError(f"lengths are a number of 1 to {samples} for each row, not {ends}")
        rows = [row[:end] for row, end in zip(waveforms, ends)]
        if self.normalize:
            rows = [normalized(row) for row in rows]
        layers = self.states_by_row(rows)
        device = waveforms.device
        counts = [torch.tensor([len(row) for row in layer], device=device) for layer in layers]
        return SpeechOutput(tuple(padded(layer) for layer in layers), tuple(counts))


def load(folder: str | os.PathLike[str]) -> SpeechEncoder:
    """Loads a model folder."""
    path = Path(os.fspath(folder))
    config = {**_DEFAULTS, **read_json(path / "config.json")}
    _refuse_other_models(path, config)
    module = SpeechEncoder(config, _normalize(path, config))
    tensors = _named_as_here(_read_weights(path), set(module.state_dict()))
    if is_fbank(config) and (path / "cmvn.safetensors").is_file():
        statistics = read_tensors(path / "cmvn.safetensors")
        tensors.update({f"cmvn.{name}": values for name, values in statistics.items()})
    elif is_fbank(config):
        tensors.update({n: t for n, t in module.state_dict().items() if n.startswith("cmvn.")})
    if "masked_spec_embed" not in tensors and hasattr(module, "masked_spec_embed"):
        del module.masked_spec_embed  # nothing is masked here
    try:
        result = module.load_state_dict(tensors, strict=False)
    except RuntimeError as error:  # shapes
        raise ValueError(f"{path}: the weights do not fit config.json: {error}") from None
    if result.missing_keys:
        names = ", ".join(result.missing_keys)
        raise ValueError(f"{path}: the weights lack {names}, which config.json asks for")
    unread = [name for name in result.unexpected_keys if _is_of_encoder(name)]
    if unread:
        names = ", ".join(unread)
        raise ValueError(f"{path}: nothing in config.json asks for the weights {names}")
    module.eval()
    return module


def _refuse_other_models(folder: Path, config: dict[str, Any]) -> None:
    """Raises ValueError for a model that this module would compute wrongly."""
    for key in ("hidden_act", "feat_extract_activation"):
        if config.get(key, "gelu") != "gelu":
            raise ValueError(f"{folder}: `{key}` is {config[key]!r}; only \"gelu\" is known here")
    if config["model_type"] in ("whisper", "data2vec-audio"):
        raise ValueError(f"{folder}: {config['model_type']} models are read by the program alone")


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Reads the one file of the weights, or the shards that an index lists."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file() or (folder / "model.safetensors").is_file():
        return read_tensors(folder / "model.safetensors")
    shards = sorted(set(read_json(index)["weight_map"].values()))
    tensors: dict[str, torch.Tensor] = {}
    for shard in shards:
        tensors.update(read_tensors(folder / shard))
    return tensors


def _named_as_here(
    tensors: dict[str, torch.Tensor], expected: set[str]
) -> dict[str, torch.Tensor]:
    """Drops the prefix of a model with a head, and names the weight norm as newer PyTorch does."""
    prefixes = {
        name[: -len("encoder.layer_norm.weight")]
        for name in tensors
        if name.endswith("encoder.layer_norm.weight") and name not in expected
    }
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    named = {}
    for name, values in tensors.items():
        newer = name.removeprefix(prefix)
        newer = newer.replace("conv.weight_g", "conv.parametrizations.weight.original0")
        newer = newer.replace("conv.weight_v", "conv.parametrizations.weight.original1")
        named[newer] = values
    return named


def _is_of_encoder(name: str) -> bool:
    return name.split(".")[0] in ("encoder", "feature_extractor", "feature_projection")


def _normalize(folder: Path, config: dict[str, Any]) -> bool:
    """Returns what the folder's files say of normalisation, else what the extractor's norm says."""
    if is_fbank(config):
        return False  # log-mel frames are of samples as they are
    for name in _NORMALIZATION_FILES:
        if not (folder / name).is_file():
            continue
        keys = read_json(folder / name)
        nested = keys.get("feature_extractor")
        settings = nested if isinstance(nested, dict) else keys
        rate = settings.get("sampling_rate")
        if isinstance(rate, int | float) and rate != 16000:
            raise ValueError(f"{folder / name}: the model takes {rate} samples a second, not 16000")
        if "do_normalize" in settings:
            return bool(settings["do_normalize"])
        if name == _NORMALIZATION_FILES[0] or settings is not keys:
            return True  # transformers' default
    return str(config["feat_extract_norm"]).endswith("layer")
