"""An update of SUPERB's phone recognition on hidden states of HuBERT Base, ours beside PyTorch's, in turn:

    cargo build --release
    python tests/speed/head.py [ROUNDS]        # 3; needs torch and transformers

Batches of 8 utterances of data/superb/phones, about 100 s: a weighted sum of 13 layers of 768 values, a linear map to 256, one to 40
classes, CTC, the gradient cut at norm 1, Adam. Ours reads the layers from a cache, as f32, and decodes the audio's headers
and transcripts besides; PyTorch's are random numbers in memory, padded as s3prl pads them. Random weights; filling the cache takes
minutes. Each side of each round is a process of its own; the table has medians of the updates' times over the rounds.
"""
import json, os, random, resource, statistics, subprocess, sys, tempfile, time

LAYERS, WIDTH, CLASSES, ROWS, STEPS = 13, 768, 40, 8, 10
FOLDER = "data/superb/phones"


def torch_updates():
    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count())))
    rows = [line.rstrip("\n").split("\t") for line in open(f"{FOLDER}/train.tsv")][1:]
    phones = {line.split()[0]: line.split()[1:] for line in open(f"{FOLDER}/phones.txt")}
    classes = {phone: 1 + i for i, phone in enumerate(sorted({phone for row in phones.values() for phone in row}))}
    weights = torch.zeros(LAYERS, requires_grad=True)
    connector, logits = torch.nn.Linear(WIDTH, 256), torch.nn.Linear(256, CLASSES)
    parameters = [weights, *connector.parameters(), *logits.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    shuffle, seconds = random.Random(0), []
    for _ in range(STEPS + 2):
        batch = shuffle.sample(rows, ROWS)
        layers = [torch.randn(LAYERS, (int(samples) - 80) // 320, WIDTH) for _, samples in batch]
        labels = [torch.tensor([classes[phone] for phone in phones[path.removesuffix(".flac")]]) for path, _ in batch]
        begun = time.perf_counter()
        lengths = torch.tensor([row.shape[1] for row in layers])
        padded = [torch.nn.utils.rnn.pad_sequence([row[l] for row in layers], batch_first=True) for l in range(LAYERS)]
        mixed = (torch.softmax(weights, 0)[:, None, None, None] * torch.stack(padded)).sum(0)
        scores = logits(connector(mixed)).log_softmax(-1)
        loss = F.ctc_loss(scores.transpose(0, 1), torch.cat(labels), lengths, torch.tensor([len(row) for row in labels]),
                          zero_infinity=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - begun)
    print(json.dumps([statistics.median(seconds[2:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))


def ours(graph, folder, name):
    """Runs the updates and returns what `compare` says of them."""
    pipeline, out = "target/release/pipeline", f"{folder}/{name}"
    subprocess.run([pipeline, "run", graph, "--steps", str(STEPS), "--out", out], stderr=subprocess.DEVNULL, check=True)
    (found,) = json.loads(subprocess.check_output([pipeline, "compare", out, "--format", "json"]))
    return found["step_seconds"], found["peak_bytes"] / 1e9


def write_base(folder):
    """Writes a HuBERT Base of random weights."""
    import torch, transformers

    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig()).save_pretrained(folder)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        write_base(f"{folder}/base")
        nodes = json.load(open("graphs/superb/small/pr.json"))["phases"][0]["nodes"]
        nodes["upstream"] |= {"model": f"{folder}/base", "cache": f"{folder}/cache"}
        nodes["speech"]["dev"] = nodes["step"]["best"] = None
        graph = f"{folder}/pr.json"
        json.dump({"name": "pr", "nodes": nodes}, open(graph, "w"))
        ours(graph, folder, "filling")
        pairs = []
        for number in range(rounds):
            theirs = json.loads(subprocess.run([sys.executable, __file__, "torch"], stdout=subprocess.PIPE, check=True).stdout)
            pairs.append([ours(graph, folder, number), theirs])
        median = lambda side, number: statistics.median(pair[side][number] for pair in pairs)
        print("| ours, s | PyTorch, s | ratio | ours, GB | PyTorch, GB |\n|---|---|---|---|---|")
        print(f"| {median(0, 0):.3f} | {median(1, 0):.3f} | {median(0, 0) / median(1, 0):.2f} | {median(0, 1):.2f} | {median(1, 1):.2f} |")


torch_updates() if sys.argv[1:] == ["torch"] else main()
