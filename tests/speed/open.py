"""Time and peak memory of opening checkpoints of HuBERT Base and Large, ours beside PyTorch's, in turn:

    python tests/speed/open.py [ROUNDS [PIPELINE]]        # 3; needs torch, torchaudio, transformers, safetensors, numpy

The files have random weights: fairseq's Base with the state of its optimizer (1.1 GB), transformers' Base as pytorch_model.bin
and as model.safetensors, and Large as model.safetensors. `inspect` says what a file is; `extract` computes layer 0 of 0.1 s of
audio, so nearly all of its time is the opening; PyTorch loads the file's tensors, and the time of its own start is left out. All
files are in /dev/shm, so that no disk is timed, and each command is run twice, the second time being taken, since the first pays for
memory that another process has just freed. Medians of the rounds.
"""
import json, os, statistics, subprocess, sys, tempfile, time, wave
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
PIPELINE = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "target/release/pipeline")
LOAD = """
import sys, time, torch
from safetensors.torch import load_file
load = load_file if sys.argv[1].endswith(".safetensors") else torch.load
begun = time.perf_counter()
load(sys.argv[1])
print(time.perf_counter() - begun)
"""


def random_model(**options):
    import torch
    from transformers import HubertConfig, HubertModel
    torch.manual_seed(0)
    return HubertModel(HubertConfig(**options))


def write_checkpoints(folder):
    """Writes the checkpoints; returns what each is called, its path, and the file that PyTorch loads."""
    sys.path.insert(0, str(ROOT / "tests/golden"))
    import formats, torch
    base = random_model()
    config = base.config.to_dict()
    state = {formats.to_fairseq(formats.plain(key), False): value for key, value in base.state_dict().items()}
    count = sum(value.numel() for value in state.values())
    moments = {0: {"step": 1, "exp_avg": torch.rand(count), "exp_avg_sq": torch.rand(count)}}
    task = {"_name": "hubert_pretraining", "normalize": False, "label_rate": 50.0, "labels": ["km"]}
    fairseq = folder / "base.pt"
    torch.save({"args": None, "cfg": {"model": formats.fairseq_model(config, "hubert"), "task": task}, "model": state,
                "extra_state": {"epoch": 1}, "last_optimizer_state": {"state": moments}}, fairseq)
    bin_folder = folder / "base"
    safetensors_folder = folder / "base-safetensors"
    base.save_pretrained(safetensors_folder)
    base.config.save_pretrained(bin_folder)
    torch.save(base.state_dict(), bin_folder / "pytorch_model.bin")
    large = folder / "large"
    random_model(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                 feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True).save_pretrained(large)
    return [("fairseq's Base with its optimizer", fairseq, fairseq),
            ("Base, pytorch_model.bin", bin_folder, bin_folder / "pytorch_model.bin"),
            ("Base, model.safetensors", safetensors_folder, safetensors_folder / "model.safetensors"),
            ("Large, model.safetensors", large, large / "model.safetensors")]


def measured(command):
    """Runs a command in a process of its own; returns its seconds and its peak memory in GB."""
    begun = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    if status != 0:
        sys.exit(f"it failed: {' '.join(command)}")
    if command[0] == sys.executable:
        seconds = float(printed)
    return seconds, usage.ru_maxrss / 1e6


def main():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        # A fork's peak memory begins with its parent's: the parent that measures stays small.
        if os.fork() == 0:
            (folder / "list.json").write_text(json.dumps([[str(part) for part in row] for row in write_checkpoints(folder)]))
            os._exit(0)
        if os.wait()[1] != 0:
            sys.exit("the checkpoints could not be written")
        with wave.open(str(folder / "a.wav"), "wb") as audio:
            audio.setparams((1, 2, 16_000, 0, "NONE", ""))
            audio.writeframes(bytes(3200))
        print(f"{'':36} {'GB':>5} {'inspect':>14} {'extract':>14} {'PyTorch':>14}")
        for name, path, file in json.loads((folder / "list.json").read_text()):
            commands = [
                [PIPELINE, "inspect", path],
                [PIPELINE, "extract", path, str(folder / "a.wav"), "--layers", "0", "--out", str(folder / "out.parquet")],
                [sys.executable, "-c", LOAD, file],
            ]
            rounds = [[(measured(command), measured(command))[1] for command in commands] for _ in range(ROUNDS)]
            cells = []
            for i in range(len(commands)):
                seconds, peak = (statistics.median(row[i][j] for row in rounds) for j in (0, 1))
                cells.append(f"{seconds:6.2f} s {peak:.2f} GB")
            print(f"{name:36} {os.path.getsize(file) / 1e9:5.2f} {cells[0]:>14} {cells[1]:>14} {cells[2]:>14}", flush=True)


main()
