"""The DPHuBERT update on HuBERT Base, ours beside PyTorch's, in turn on one machine:

    cargo build --release
    python tests/speed/step.py [ROW]... [--rounds N]        # needs torch and transformers

A batch of noise, random weights, dropout as the recipe, L1 - cosine on layers 0, 4, 8, 12 through linear maps, clipping
at 10, AdamW. Ours has gates on every unit besides. Rows, and about how long a round of one takes on 2 cores:

    f32           4 x 5 s, teacher live                 1.5 minutes
    given         4 x 5 s, targets given (`--cached`)   1.5 minutes
    bf16          as f32; PyTorch's is autocast         1 minute
    bf16-given    as given                              1 minute
    thread        as f32, on one core                   3 minutes
    single        1 x 5 s, teacher live                 0.5 minutes
    long          1 x 15 s, teacher live                1.5 minutes
    recompute     as f32, layers computed again for their gradients 2 minutes

and on a GPU, with a build for it (docs/cuda.md) and PyTorch's `torch.compile`:

    gpu           32 x 5 s, bf16, teacher live
    gpu-given     as gpu, targets given
    gpu-f32       32 x 5 s, teacher live
    gpu-long      10 x 15.6 s, bf16, teacher live

No ROW: all of the CPU's. Each side of each round is a process of its own; the table has medians over the rounds.
PyTorch's first two updates are left out, as our warm-up is. Peak memory is the resident set, ours without the filling of
a cache; on a GPU what was in use there at once.
"""
import argparse, json, os, resource, statistics, subprocess, sys, time, typing

STEPS = 6

class Row(typing.NamedTuple):
    rows: int = 4
    seconds: float = 5
    given: bool = False
    bf16: bool = False
    where: int | str | None = None # all threads, 1 or a GPU
    recompute: bool = False


ROWS = {
    "f32": Row(),
    "given": Row(given=True),
    "bf16": Row(bf16=True),
    "bf16-given": Row(given=True, bf16=True),
    "thread": Row(where=1),
    "single": Row(1),
    "long": Row(1, 15),
    "recompute": Row(recompute=True),
    "gpu": Row(32, bf16=True, where="cuda"),
    "gpu-given": Row(32, given=True, bf16=True, where="cuda"),
    "gpu-f32": Row(32, where="cuda"),
    "gpu-long": Row(10, 15.6, bf16=True, where="cuda"),
}


def torch_steps(rows, length, given, bf16, where, recompute):
    import torch, transformers

    torch.manual_seed(0)
    gpu = where == "cuda"
    torch.set_num_threads(int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count())))
    device = torch.device("cuda" if gpu else "cpu")
    config = transformers.HubertConfig(
        apply_spec_augment=False, layerdrop=0.0, activation_dropout=0.0, feat_proj_dropout=0.1,
        attn_implementation="sdpa")
    teacher, student = transformers.HubertModel(config).eval(), transformers.HubertModel(config).train()
    maps = torch.nn.ModuleList(torch.nn.Linear(768, 768) for _ in range(2))
    if recompute:
        student.gradient_checkpointing_enable()
    for model in (teacher, student, maps):
        model.to(device)
    parameters = list(student.parameters()) + list(maps.parameters())
    if gpu:
        teacher, student = torch.compile(teacher), torch.compile(student)
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.0)
    layers, targets = (0, 4, 8, 12), None
    audio = torch.randn(rows, int(16000 * length), device=device)
    seconds = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            if targets is None or not given:
                with torch.no_grad():
                    hidden = teacher(audio, output_hidden_states=True).hidden_states
                    targets = torch.stack([hidden[l] for l in layers], 1).float()
                if given:
                    teacher = None
            states = student(audio, output_hidden_states=True).hidden_states
            mapped = torch.stack([maps[min(i, 1)](states[l]) for i, l in enumerate(layers)], 1).float()
        loss = (mapped - targets).abs().mean() - torch.nn.functional.cosine_similarity(mapped, targets, dim=-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak = torch.cuda.max_memory_allocated() if gpu else resident
    print(json.dumps({"seconds": statistics.median(seconds[2:]), "peak": peak}))


def run(*command, where=None):
    # Ours has a thread a stage beside those of its loops: so both are kept to one core.
    one_core = ("taskset", "-c", "0") if where == 1 else ()
    env = {**os.environ, **({"RAYON_NUM_THREADS": "1"} if where == 1 else {})}
    return json.loads(subprocess.run([*one_core, *command], capture_output=True, text=True, check=True, env=env).stdout)


def ours(rows, length, given, bf16, where, recompute):
    command = ["target/release/pipeline", "bench", "graphs/librispeech/dphubert.json", "--phase", "prune"]
    command += ["--synthetic", f"{rows}x{length}", "--steps", str(STEPS - 2), "--format", "json"]
    if given:
        command += ["--cached"]
    if bf16:
        command += ["--set", "teacher.precision=bf16", "--set", "student.precision=bf16"]
    if recompute:
        command += ["--set", "student.recompute=true"]
    found = run(*command, where=where)
    peak = found["device_peak_bytes" if where == "cuda" else "peak_bytes"]
    share = (found["floor"] or {}).get("share") or float("nan") # the floor is a CPU's
    return {"seconds": found["step_seconds"]["median"], "peak": peak, "share": share}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="one or more of: " + " ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.rows if name not in ROWS]:
        parser.error(f"no row {unknown[0]}")
    print("| | ours, s | PyTorch, s | ratio | ours, GB | PyTorch, GB | ratio | ours, of the floor |")
    print("|---|---|---|---|---|---|---|---|")
    for name in chosen.rows or [name for name, row in ROWS.items() if row.where != "cuda"]:
        row, pairs = ROWS[name], []
        for _ in range(chosen.rounds):
            theirs = run(sys.executable, __file__, "torch", json.dumps(row), where=row.where)
            pairs.append((ours(*row), theirs))
        median = lambda who, what: statistics.median(pair[who][what] for pair in pairs)
        seconds, peaks = [median(i, "seconds") for i in (0, 1)], [median(i, "peak") / 1e9 for i in (0, 1)]
        print(f"| {name} | {seconds[0]:.2f} | {seconds[1]:.2f} | {seconds[0] / seconds[1]:.2f} "
              f"| {peaks[0]:.2f} | {peaks[1]:.2f} | {peaks[0] / peaks[1]:.2f} | {median(0, 'share'):.0%} |", flush=True)


if sys.argv[1:2] == ["torch"]:
    torch_steps(*json.loads(sys.argv[2]))
else:
    main()
