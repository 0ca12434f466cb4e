"""The DPHuBERT update on HuBERT Base, ours beside PyTorch's, in turn on one machine:

    cargo build --release
    python tests/speed/step.py [ROUNDS]        # needs torch and transformers; about 3 minutes a round

Batch of 4 x 5 s of noise, random weights, dropout as the recipe, L1 - cosine on layers 0, 4, 8, 12 through linear maps,
clipping at 10, AdamW; teacher live, then targets given. Ours has gates on every unit besides. Each round is a process of
its own; medians leave out PyTorch's first two updates, as they leave out our warm-up. Peak memory is the resident set.
"""
import json, os, resource, statistics, subprocess, sys, time

STEPS = 6
GRAPH = ["graphs/librispeech/dphubert.json", "--phase", "prune", "--synthetic", "4x5", "--steps", str(STEPS - 2)]


def torch_steps(given, bf16):
    import torch, transformers

    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count())))
    config = transformers.HubertConfig(
        apply_spec_augment=False, layerdrop=0.0, activation_dropout=0.0, feat_proj_dropout=0.1,
        attn_implementation="sdpa")
    teacher, student = transformers.HubertModel(config).eval(), transformers.HubertModel(config).train()
    maps = torch.nn.ModuleList(torch.nn.Linear(768, 768) for _ in range(2))
    parameters = list(student.parameters()) + list(maps.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.0)
    layers, targets = (0, 4, 8, 12), None
    audio = torch.randn(4, 80000)
    seconds = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            if targets is None or not given:
                with torch.no_grad():
                    hidden = teacher(audio, output_hidden_states=True).hidden_states
                    targets = torch.stack([hidden[l] for l in layers], 1).float()
            states = student(audio, output_hidden_states=True).hidden_states
            mapped = torch.stack([maps[min(i, 1)](states[l]) for i, l in enumerate(layers)], 1).float()
        loss = (mapped - targets).abs().mean() - torch.nn.functional.cosine_similarity(mapped, targets, dim=-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": statistics.median(seconds[2:]), "peak": peak}))


def run(*command):
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def ours(given, bf16):
    sets = ["--set", "teacher.precision=bf16", "--set", "student.precision=bf16"] if bf16 else []
    found = run("target/release/pipeline", "bench", *GRAPH, *(["--cached"] if given else []), *sets, "--format", "json")
    return {"seconds": found["step_seconds"]["median"], "peak": found["peak_bytes"]}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print("| | ours, s | PyTorch, s | ratio | ours, GB | PyTorch, GB | ratio |\n|---|---|---|---|---|---|---|")
    for bf16 in (False, True):
        for given in (False, True):
            pairs = []
            for _ in range(rounds):
                theirs = run(sys.executable, __file__, "torch", str(int(given)), str(int(bf16)))
                pairs.append((ours(given, bf16), theirs))
            median = lambda who, what: statistics.median(pair[who][what] for pair in pairs)
            seconds, peaks = [median(i, "seconds") for i in (0, 1)], [median(i, "peak") / 1e9 for i in (0, 1)]
            name = ("bf16" if bf16 else "f32") + (", targets given" if given else ", teacher live")
            print(f"| {name} | {seconds[0]:.2f} | {seconds[1]:.2f} | {seconds[0] / seconds[1]:.2f} "
                  f"| {peaks[0]:.2f} | {peaks[1]:.2f} | {peaks[0] / peaks[1]:.2f} |", flush=True)


if sys.argv[1:2] == ["torch"]:
    torch_steps(*(bool(int(word)) for word in sys.argv[2:4]))
else:
    main()
