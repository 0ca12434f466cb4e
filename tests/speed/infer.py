"""Hidden states of 15 s of speech, ours beside ONNX Runtime's and PyTorch's, in turn on one machine.

    cargo build --release
    python tests/speed/infer.py [base] [pruned] [deep-thin] [deep-thin-fbank] [--threads 2,1] [--rounds 3]
    # needs torch, transformers, onnx and onnxruntime

`base` is HuBERT Base, `pruned` a DPHuBERT student of 29.3 million parameters with odd widths, `deep-thin` Wang et al.'s of 22.9
million, and `deep-thin-fbank` the same that reads log-mel frames, all with random weights. The first two are the default.
Each is exported by the program: to `onnx` and `onnx --int8` for ONNX Runtime, to `hf-code` for PyTorch. A round times
every engine once, in a process of its own: the model is loaded, one row of 15 s is computed to warm up, then FILES rows
one after the other. What counts is seconds of computing per second of audio of those FILES rows, the median over the
rounds. Ours is by what `pipeline extract` takes for all files beyond what it takes for the first alone; it also decodes
the files and writes one layer of each to Parquet, the others get arrays.
The last columns say how far int8 is from f32 in the last layer, as a share of its norm.
"""
import argparse, json, os, pathlib, re, statistics, subprocess, sys, tempfile, time, wave

SECONDS, FILES = 15, 4
ENGINES = {"ours": "ours", "bf16": "ours, bf16", "onnx": "ONNX Runtime", "int8": "ONNX Runtime, int8", "torch": "PyTorch"}
PIPELINE = "target/release/pipeline"
HEADS = [3, 6, 5, 4, 4, 3, 4, 4, 5, 5, 4, 3]
UNITS = [617, 701, 655, 689, 723, 641, 597, 703, 777, 711, 829, 707]
CHANNELS = [317, 323, 309, 311, 299, 305, 371]


def hubert(folder):
    import torch, transformers

    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig()).save_pretrained(folder)


def pruned(folder):
    student(folder, 768, HEADS, UNITS, CHANNELS)


def deep_thin(folder):
    student(folder, 480, [12] * 12, [480] * 12, [512] * 7, head_width=40, projection_norm=False)


def deep_thin_fbank(folder):
    student(folder, 480, [12] * 12, [480] * 12, [], head_width=40)


def student(folder, size, heads, units, channels, head_width=64, projection_norm=True):
    """Writes a folder of this program with random weights; without `channels` it reads log-mel frames."""
    import safetensors.torch, torch

    torch.manual_seed(0)
    tensors = {}

    def linear(name, out, width, bias=True):
        tensors[name + ".weight"] = torch.randn(out, width) / width ** 0.5
        if bias:
            tensors[name + ".bias"] = torch.randn(out) * 0.01

    def norm(name, width):
        tensors[name + ".weight"], tensors[name + ".bias"] = torch.ones(width), torch.zeros(width)

    kernels = [10, 3, 3, 3, 3, 2, 2]
    for i, (out, width, k) in enumerate(zip(channels, [1, *channels], kernels)):
        name = f"feature_extractor.conv_layers.{i}.conv.weight"
        tensors[name] = torch.randn(out, width, k) * (2 / (width * k)) ** 0.5
    if channels:
        norm("feature_extractor.conv_layers.0.layer_norm", channels[0])
        linear("feature_projection.projection", size, channels[-1])
        if projection_norm:
            norm("feature_projection.layer_norm", channels[-1])
    else:
        name = "feature_extractor.fbank_conv_layers.0.conv"
        tensors[name + ".weight"], tensors[name + ".bias"] = torch.randn(2 * size, 80, 5) / 20, torch.zeros(2 * size)
        linear("feature_projection.fbank_projection", size, size)
    tensors["encoder.pos_conv_embed.conv.weight_g"] = torch.ones(1, 1, 128)
    tensors["encoder.pos_conv_embed.conv.weight_v"] = torch.randn(size, size // 16, 128)
    tensors["encoder.pos_conv_embed.conv.bias"] = torch.zeros(size)
    norm("encoder.layer_norm", size)
    for l, (count, inner) in enumerate(zip(heads, units)):
        layer = f"encoder.layers.{l}."
        for name in ("q_proj", "k_proj", "v_proj"):
            linear(f"{layer}attention.{name}", head_width * count, size)
        linear(layer + "attention.out_proj", size, head_width * count)
        linear(layer + "feed_forward.intermediate_dense", inner, size)
        linear(layer + "feed_forward.output_dense", size, inner)
        norm(layer + "layer_norm", size)
        norm(layer + "final_layer_norm", size)
    config = {
        "model_type": "pruned_hubert", "conv_kernel": kernels, "conv_stride": [5] + [2] * 6,
        "conv_bias": False, "feat_extract_norm": "group", "hidden_size": size, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "encoder_num_heads": heads,
        "encoder_ff_interm_features": units, "encoder_head_dim": head_width, "num_conv_pos_embeddings": 128,
        "num_conv_pos_embedding_groups": 16, "do_stable_layer_norm": False, "hidden_act": "gelu",
        "feat_extract_activation": "gelu", "layer_norm_eps": 1e-5, "feat_proj_layer_norm": projection_norm,
    }
    config |= {"conv_dim": channels} if channels else {"front_end": "fbank"}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


MODELS = {"base": hubert, "pruned": pruned, "deep-thin": deep_thin, "deep-thin-fbank": deep_thin_fbank}


def prepare(name, folder):
    """Writes the model and its exports, and the files of noise."""
    import numpy

    model = folder / name
    MODELS[name](model)
    preprocessor = {"do_normalize": False, "sampling_rate": 16000, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    (model / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    for way, options in {"onnx": ["onnx"], "int8": ["onnx", "--int8"], "torch": ["hf-code"]}.items():
        command = [PIPELINE, "export", model, "--out", folder / f"{name}-{way}", "--format", *options]
        subprocess.run(command, check=True, capture_output=True)
    noise = numpy.random.default_rng(0).normal(size=(FILES + 1, SECONDS * 16000)) * 3000
    for i, samples in enumerate(noise.astype(numpy.int16)):
        with wave.open(str(folder / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())


def waveforms(folder):
    import numpy

    for i in range(FILES + 1):
        with wave.open(str(folder / f"{i}.wav"), "rb") as file:
            yield numpy.frombuffer(file.readframes(SECONDS * 16000), numpy.int16)[None].astype(numpy.float32) / 32768


def compute(engine, name, folder, threads):
    """Prints the time of each file after the first, in seconds, and keeps the last layer of the first."""
    import numpy

    if engine == "torch":
        import torch, transformers

        torch.set_num_threads(threads)
        model = transformers.AutoModel.from_pretrained(folder / f"{name}-torch", trust_remote_code=True).eval()
        run = lambda x: model(torch.from_numpy(x)).last_hidden_state.numpy()
        inference = torch.inference_mode()
        inference.__enter__()
    else:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = next((folder / f"{name}-{engine}").glob("*.onnx"))
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        last = [session.get_outputs()[-1].name]
        run = lambda x: session.run(last, {"waveform": x})[0]
    rows = list(waveforms(folder))
    numpy.save(folder / f"{name}-{engine}.npy", run(rows[0]))
    begun = time.perf_counter()
    for row in rows[1:]:
        run(row)
    print((time.perf_counter() - begun) / (FILES * SECONDS))


def ours(name, folder, threads, precision):
    files = [folder / f"{i}.wav" for i in range(FILES + 1)]
    first = SECONDS * ours_of(files[:1], name, folder, threads, precision)
    return ((FILES + 1) * SECONDS * ours_of(files, name, folder, threads, precision) - first) / (FILES * SECONDS)


def ours_of(files, name, folder, threads, precision):
    """Returns the real-time factor that `extract` prints for these files."""
    command = [PIPELINE, "extract", folder / name, *files, "--layers=-1", "--out", folder / "out.parquet"]
    if precision != "f32":
        command += ["--precision", precision]
    env = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return float(re.search(r"real-time factor ([\d.]+)", said.stdout + said.stderr)[1])


def factor(engine, name, folder, threads):
    if engine in ("ours", "bf16"):
        return ours(name, folder, threads, "bf16" if engine == "bf16" else "f32")
    command = [sys.executable, __file__, "compute", engine, name, str(folder), str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def int8_error(name, folder):
    import numpy

    exact, rounded = (numpy.load(folder / f"{name}-{engine}.npy") for engine in ("onnx", "int8"))
    return numpy.linalg.norm(exact - rounded) / numpy.linalg.norm(exact)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="of " + ", ".join(MODELS))
    parser.add_argument("--threads", default="2,1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default="ours,onnx,int8,torch", help="of " + ",".join(ENGINES))
    chosen = parser.parse_args()
    engines = chosen.engines.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        titles = [ENGINES[engine] for engine in engines]
        print("| model | threads |", " | ".join(titles), "| ours / ONNX Runtime | error of int8 |")
        print("|---" * (len(engines) + 4) + "|")
        for name in chosen.models or ["base", "pruned"]:
            prepare(name, folder)
            for threads in map(int, chosen.threads.split(",")):
                rounds = [{e: factor(e, name, folder, threads) for e in engines} for _ in range(chosen.rounds)]
                found = {e: statistics.median(r[e] for r in rounds) for e in engines}
                ratio = found["ours"] / found["onnx"] if "onnx" in found and "ours" in found else float("nan")
                error = f"{int8_error(name, folder):.1%}" if {"onnx", "int8"} <= set(engines) else ""
                cells = [f"{found[e]:.3f}" for e in engines]
                print(f"| {name} | {threads} |", " | ".join(cells), f"| {ratio:.2f} | {error} |", flush=True)


if sys.argv[1:2] == ["compute"]:
    compute(*sys.argv[2:4], pathlib.Path(sys.argv[4]), int(sys.argv[5]))
else:
    main()
