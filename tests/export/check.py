"""Compares exported models with the program's own hidden states.

    python tests/export/check.py target/release/pipeline tests/golden/base [MODEL...] \
        [--formats hf,hf-dense,hf-code,torchaudio,s3prl,onnx,onnx-int8,onnx-fp16] \
        [--dphubert FOLDER] [--heads FILE]

For each model and format it exports, loads the result where it is meant to be loaded, and prints
the greatest difference of any hidden state at five lengths, one row at a time and three rows
together. It needs pyarrow and NumPy; transformers and PyTorch for hf*, PyTorch for s3prl, onnx
and ONNX Runtime for onnx; for torchaudio a checkout of pyf98/DPHuBERT, whose builder loads the file.
With --heads the s3prl upstream returns what the heads in FILE make of the layers; it needs safetensors.
"""

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
import pyarrow.parquet

LENGTHS = [400, 1999, 4000, 5999, 16001]
FORMATS = "hf,hf-dense,hf-code,torchaudio,s3prl,onnx,onnx-int8,onnx-fp16"


def waveforms(length):
    """Returns three rows of noise as 16-bit samples, a loud, a quiet one and one with an offset."""
    random = np.random.default_rng(length)
    noise = random.normal(size=(3, length)) * np.array([[0.1], [0.01], [0.05]])
    noise[2] += 0.02
    return (noise * 32768).round().clip(-32768, 32767).astype(np.int16)


def expected_states(pipeline, model, folder, convention):
    """Returns [row][layer] of each length by `pipeline extract`."""
    states = {}
    for length in LENGTHS:
        names = []
        for row, samples in enumerate(waveforms(length)):
            name = folder / f"{length}-{row}.wav"
            with wave.open(str(name), "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes(samples.tobytes())
            names.append(str(name))
        out = folder / f"{length}.parquet"
        layers = ["--layers", "all", "--convention", convention, "--out", str(out)]
        extract = [pipeline, "extract", model, *names, *layers]
        subprocess.run(extract, check=True, stderr=subprocess.DEVNULL)
        rows = {name: [] for name in names}
        for row in pyarrow.parquet.read_table(out).to_pylist():
            hidden = np.array(row["hidden"], np.float32).reshape(row["frames"], row["width"])
            rows[row["id"]].append(hidden)
        states[length] = [rows[name] for name in names]
    return states


def gelu(x):
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return x * (1 + erf(x / np.sqrt(2))) / 2


def projected(states, path):
    """Returns [row][output] of each length: what the heads in a file make of all hidden states, in f64."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        groups = json.loads(file.metadata()["groups"])
        tensors = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}

    def affine(x, name):
        return x @ np.swapaxes(tensors[f"{name}.weight"], -1, -2) + tensors[f"{name}.bias"]

    def outputs(x, group):
        if f"{group}.expand.weight" in tensors:
            wide = gelu(affine(x, f"{group}.expand"))
            count = sum(name.startswith(f"{group}.targets.") for name in tensors) // 2
            parts = np.split(wide, count, -1)
            return [affine(part, f"{group}.targets.{i}") for i, part in enumerate(parts)]
        if f"{group}.upsample.weight" in tensors:  # (2 frames, out, in): frame t becomes 2 t and 2 t + 1
            x = affine(x[:, None, None], f"{group}.upsample").reshape(2 * len(x), -1)
        return [affine(x, str(group))]

    readers = sorted((layer, group) for group, layers in enumerate(groups) for layer in layers)
    of_row = lambda row: [y for layer, group in readers for y in outputs(row[layer], group)]
    return {length: [of_row(row) for row in rows] for length, rows in states.items()}


def normalized(x):
    variance = x.var(-1, keepdims=True)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-7)


def compare(run, expected, normalizes):
    """Returns the greatest difference of `run`, which maps (rows, samples) to a list of layers."""
    greatest = 0.0
    for length in LENGTHS:
        x = waveforms(length).astype(np.float32) / 32768
        if normalizes:
            x = normalized(x.astype(np.float64)).astype(np.float32)
        batches = [x, x[:1], x[1:2], x[2:]]
        firsts = [0, 0, 1, 2]
        for first, batch in zip(firsts, batches):
            states = run(batch)
            for row in range(len(batch)):
                want = expected[length][first + row]
                assert len(want) == len(states), (len(want), len(states))
                for layer, state in zip(want, states):
                    assert layer.shape == state[row].shape, (layer.shape, state[row].shape)
                    if layer.size > 0:
                        greatest = max(greatest, np.abs(layer - state[row]).max())
    return greatest


def do_normalize(folder):
    return json.loads((folder / "preprocessor_config.json").read_text())["do_normalize"]


def check_transformers(folder, expected, trust):
    import torch
    from transformers import AutoModel

    model, info = AutoModel.from_pretrained(
        folder, trust_remote_code=trust, output_loading_info=True
    )
    wrong = {key: value for key, value in info.items() if value}
    assert not wrong, wrong
    model.eval()
    final_norm = model.config.do_stable_layer_norm and not trust

    def run(batch):
        with torch.no_grad():
            output = model(torch.from_numpy(batch), output_hidden_states=True)
        states = list(output.hidden_states)
        if final_norm:  # transformers 5 leaves the norm out of the last of the hidden states
            states[-1] = output.last_hidden_state
        return [state.numpy() for state in states]

    difference = compare(run, expected, do_normalize(folder))
    if trust:
        check_padding(model)
    return difference


def check_padding(model):
    """Asserts that a row of a padded batch is as if it were alone."""
    import torch

    rows = [torch.from_numpy(waveforms(n)[0].astype(np.float32) / 32768) for n in (4000, 1999)]
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in rows], True)
    with torch.no_grad():
        together = model(batch, attention_mask=mask.long()).last_hidden_state
        for row, state in zip(rows, together):
            alone = model(row[None]).last_hidden_state[0]
            assert (state[: len(alone)] - alone).abs().max() < 1e-4
            assert state[len(alone) :].abs().sum() == 0


def load_expert(folder):
    (path,) = folder.glob("upstream/*/expert.py")
    spec = importlib.util.spec_from_file_location(f"expert_{path.parent.name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.UpstreamExpert()  # in evaluation mode from the start


def check_s3prl(folder, expected):
    import torch

    expert = load_expert(folder)

    def run(batch):
        with torch.no_grad():
            states = expert([torch.from_numpy(row) for row in batch])["hidden_states"]
        return [state.numpy() for state in states]

    difference = compare(run, expected, False)
    rows = [torch.from_numpy(waveforms(n)[0].astype(np.float32) / 32768) for n in (4000, 1999)]
    with torch.no_grad():
        together = expert(rows)["hidden_states"]
        for row, length in enumerate((4000, 1999)):
            for layer, state in zip(expected[length][0], together):
                state = state[row].numpy()
                difference = max(difference, np.abs(layer - state[: len(layer)]).max())
                assert np.abs(state[len(layer) :]).sum() == 0
    return difference


def check_onnx(folder, expected):
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    run = lambda batch: session.run(None, {"waveform": batch})
    metadata = session.get_modelmeta().custom_metadata_map
    return compare(run, expected, metadata["normalize"] == "true")


def check_torchaudio(path, expected, dphubert):
    import torch

    sys.path.insert(0, dphubert)
    from wav2vec2.model import wav2vec2_model

    checkpoint = torch.load(path, weights_only=True)
    model = wav2vec2_model(**checkpoint["config"]).eval()
    model.load_state_dict(checkpoint["state_dict"])

    def run(batch):
        with torch.no_grad():
            states, _ = model.extract_features(torch.from_numpy(batch))
        return [state.numpy() for state in states]

    # It normalises with an epsilon of 1e-5, which a row that is normalised already hardly feels.
    return compare(run, expected, checkpoint["config"]["normalize_waveform"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pipeline")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--formats", default=FORMATS)
    parser.add_argument("--dphubert")
    parser.add_argument("--heads")
    arguments = parser.parse_args()
    for model in arguments.models:
        for form in arguments.formats.split(","):
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                out = folder / ("student.pth" if form == "torchaudio" else "student")
                name, _, precision = form.partition("-") if "onnx" in form else (form, "", "")
                options = [f"--{precision}"] if precision else []
                heads = arguments.heads if form == "s3prl" else None
                options += ["--heads", heads] if heads else []
                command = [arguments.pipeline, "export", model, "--format", name, "--out", str(out)]
                done = subprocess.run([*command, *options], capture_output=True, text=True)
                if done.returncode != 0:
                    print(f"{model} {form}: {done.stderr.strip()}")
                    continue
                convention = "torchaudio" if form == "torchaudio" else "hf"
                expected = expected_states(arguments.pipeline, model, folder, convention)
                if heads:
                    expected = projected(expected, heads)
                if form == "torchaudio":
                    difference = check_torchaudio(out, expected, arguments.dphubert)
                elif name == "onnx":
                    difference = check_onnx(out, expected)
                elif name == "s3prl":
                    difference = check_s3prl(out, expected)
                else:
                    difference = check_transformers(out, expected, form == "hf-code")
                print(f"{model} {form}: {difference:.1e}")


if __name__ == "__main__":
    main()
