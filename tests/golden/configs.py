"""Compares hidden states with those of transformers on config.json files of real models.

    python tests/golden/configs.py target/release/pipeline FOLDER... [--diarizen CHECKOUT]

FOLDER is a model's folder, of which config.json and preprocessor_config.json are read, or a folder of such folders. Each
model is built with two of its layers, which leaves everything else that its config.json says, and with random weights;
the other program computes in f64. The script prints a Markdown table: what `pipeline inspect` says of the model, what was
compared, and the greatest difference of any hidden state; or the sentence with which the program refuses the model.
Dictionaries of DiariZen are compared with its own code, in a checkout of BUTSpeechFIT/DiariZen. It writes no golden file.
torch, transformers, NumPy and pyarrow are needed.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy
import pyarrow.parquet
import torch
from transformers import AutoConfig, AutoModel, WhisperFeatureExtractor
from transformers.utils import logging

# A second, and a quiet row with an offset, on which a normalisation counts.
ROWS = {16_000: (0.1, 0.0), 5_999: (0.01, 0.02)}
BUILDER = "extractor_conv_layer_config"


def waveform(length):
    """Returns a row of noise as 16-bit samples."""
    deviation, offset = ROWS[length]
    noise = numpy.random.default_rng(length).normal(offset, deviation, length)
    return (noise * 32768).round().clip(-32768, 32767).astype(numpy.int16)


def floats(length):
    return torch.from_numpy(waveform(length) / 32768)


def shallow(config):
    """Returns a configuration with two layers, and how many it had. Of a pruned one the second is without attention, if
    one is."""
    config = dict(config)
    if BUILDER in config:
        layers = config["encoder_num_layers"]
        kept = [0, next((i for i, used in enumerate(config["encoder_use_attention"]) if not used), 1)]
        for key, value in config.items():
            if key.startswith("encoder_") and isinstance(value, list) and len(value) == layers:
                config[key] = [value[i] for i in kept]
        config["encoder_num_layers"] = 2
        return config, layers
    layers = config.get("encoder_layers", config.get("num_hidden_layers", 12))
    for key in ("num_hidden_layers", "encoder_layers", "decoder_layers"):
        if key in config:
            config[key] = 2
    return config, layers


def shaken(model):
    """Moves vectors away from zeros and ones."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() < 2:
                weight += 0.1 * torch.randn_like(weight)
    return model.eval()


def of_diarizen(folder, config, checkout):
    """Writes the weights as DiariZen's hub does, below a prefix and beside a head; returns a function of a waveform."""
    sys.path.insert(0, str(Path(checkout) / "diarizen/models/module"))
    from wav2vec2.model import wav2vec2_model

    model = shaken(wav2vec2_model(**config))
    tensors = {f"wavlm_model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save(tensors | {"proj.weight": torch.zeros(4, 4)}, folder / "pytorch_model.bin")
    model.double()
    return lambda x, normalized: model.extract_features(x[None])[0]


def of_transformers(folder, config):
    """Writes the weights; returns a function of a waveform and of whether it is to be normalised."""
    known = config | {"model_type": {"data2vec": "data2vec-audio"}.get(config["model_type"], config["model_type"])}
    (folder / "config.json").write_text(json.dumps(known))
    model = shaken(AutoModel.from_config(AutoConfig.from_pretrained(folder)).float())
    model.save_pretrained(folder)
    model.double()

    def states(x, normalized):
        if config["model_type"] == "whisper":
            extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
            features = extractor(x.numpy(), sampling_rate=16000, return_tensors="pt").input_features
            output = model.encoder(features.double(), output_hidden_states=True)
        else:
            x = (x - x.mean()) / (x.var(correction=0) + 1e-7).sqrt() if normalized else x
            output = model(x[None], output_hidden_states=True)
        # The last of the hidden states is without the final norm.
        return [*output.hidden_states[:-1], output.last_hidden_state]

    return states


def found(pipeline, folder, convention):
    """Returns [row][layer] by `pipeline extract`."""
    names = {length: str(folder / f"{length}.wav") for length in ROWS}
    for length, name in names.items():
        with wave.open(name, "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(waveform(length).tobytes())
    out = str(folder / "out.parquet")
    command = [pipeline, "extract", folder, *names.values(), "--layers", "all", "--convention", convention, "--out", out]
    subprocess.run(command, check=True, capture_output=True)
    states = {name: [] for name in names.values()}
    for row in pyarrow.parquet.read_table(out).to_pylist():
        hidden = numpy.array(row["hidden"], numpy.float32)
        states[row["id"]].append(torch.from_numpy(hidden.reshape(row["frames"], row["width"])))
    return [states[name] for name in names.values()]


def compare(pipeline, source, folder, checkout):
    """Returns the cells of a model's row."""
    text = (source / "config.json").read_text()
    shutil.copy(source / "config.json", folder)
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (source / name).exists():
            shutil.copy(source / name, folder)
    states = None
    try:
        config, layers = shallow(json.loads(text))
        states = of_diarizen(folder, config, checkout) if BUILDER in config else of_transformers(folder, config)
        text = json.dumps(config)
    except (KeyError, ValueError):  # The program is to refuse what the other one does not build.
        pass
    (folder / "config.json").write_text(text)
    try:
        # DiariZen counts the first state as transformers does, and the last has no final norm.
        ours = found(pipeline, folder, "hf")
        if BUILDER in config:
            others = found(pipeline, folder, "torchaudio")
            ours = [[first[0], *row[1:]] for first, row in zip(ours, others)]
    except subprocess.CalledProcessError as error:
        sentence = error.stderr.decode().strip().splitlines()[-1]
        return sentence.replace(f"{folder}/", ""), "", "refused"
    command = [pipeline, "inspect", folder, "--format", "json"]
    said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    waveforms = "waveforms normalised" if said["normalize"] else "waveforms as they are"
    waveforms = "30 s of log-mel frames" if said["front_end"] == "whisper" else waveforms
    heads, inner = (", ".join(dict.fromkeys(map(str, said[key]))) for key in ("heads", "ffn"))
    kind = f"{said['architecture']}, {said['width']} wide, heads {heads}, FFN {inner}, {waveforms}"
    greatest, frames = 0.0, 0
    with torch.no_grad():
        for length, own in zip(ROWS, ours):
            theirs = [state[0] for state in states(floats(length), said["normalize"])]
            assert len(own) == len(theirs), (len(own), len(theirs))
            frames += len(own[0])
            for a, b in zip(own, theirs):
                b = b[: len(a)] if said["front_end"] == "whisper" else b
                assert a.shape == b.shape, (a.shape, b.shape)
                greatest = max(greatest, (a - b).abs().max().item())
    return kind, f"{len(ours[0]) - 1} of {layers} layers, {frames} frames", f"{greatest:.1e}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pipeline")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--diarizen")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    sources = []
    for folder in arguments.folders:
        is_model = (folder / "config.json").exists()
        sources += [folder] if is_model else sorted(path.parent for path in folder.glob("*/config.json"))
    print("| model | read as | compared | greatest difference |\n|---|---|---|---|")
    for source in sources:
        name = source.resolve().name.replace("--", "/")
        if BUILDER in (source / "config.json").read_text() and not arguments.diarizen:
            print(f"| {name} | not compared: give `--diarizen` | | |", flush=True)
            continue
        torch.manual_seed(1)
        with tempfile.TemporaryDirectory() as folder:
            cells = compare(arguments.pipeline, source, Path(folder), arguments.diarizen)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
