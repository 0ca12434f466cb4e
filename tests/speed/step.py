"""An update of a method on full HuBERT Base, ours beside PyTorch's, in turn on one machine:

    cargo build --release
    python tests/speed/step.py [ROW]... [--rounds N]        # needs torch and transformers, safetensors for arm and star

A batch of noise, random weights, dropout as the recipe, AdamW. Rows, and about how long a round of one takes on 2 cores:

    f32           DPHuBERT, 4 x 5 s, teacher live             1.5 minutes
    given         4 x 5 s, targets given (`--cached`)         1.5 minutes
    bf16          as f32; PyTorch's is autocast               1 minute
    bf16-given    as given                                    1 minute
    thread        as f32, on one core                         3 minutes
    single        1 x 5 s, teacher live                       0.5 minutes
    long          1 x 15 s, teacher live                      1.5 minutes
    recompute     as f32, layers computed again for their gradients 2 minutes
    arm           ARMHuBERT, 4 x 5 s, both teachers live      2.5 minutes
    star          STaRHuBERT, 4 x 5 s, teacher live           1.5 minutes
    wide          Wang et al., shallow and wide, 4 x 5 s, teacher live 1 minute
    lstm          LSTM by decoupled distillation, 4 x 5 s, HuBERT Large live 2 minutes

and on a GPU, with a build for it (docs/cuda.md) and PyTorch's `torch.compile`:

    gpu           DPHuBERT, 32 x 5 s, bf16, teacher live
    gpu-given     as gpu, targets given
    gpu-f32       32 x 5 s, teacher live
    gpu-long      10 x 15.6 s, bf16, teacher live

DPHuBERT: L1 - cosine on layers 0, 4, 8, 12 through linear maps, clipping at 10; ours has gates on every unit besides. The
others are graphs in graphs/librispeech (wide: shallow-wide, lstm: lstm-dkd); their students in PyTorch are in students.py, which
compares those that are not transformers' own with golden files before they are timed.

No ROW: all of the CPU's. Each side of each round is a process of its own; the table has medians over the rounds.
PyTorch's first two updates are left out, as our warm-up is. Peak memory is the resident set, ours without the filling of
a cache; on a GPU what was in use there at once.
"""
import argparse, json, os, resource, statistics, subprocess, sys, time, typing

STEPS = 6

class Row(typing.NamedTuple):
    method: str = "dphubert"
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
    "single": Row(rows=1),
    "long": Row(rows=1, seconds=15),
    "recompute": Row(recompute=True),
    "arm": Row("armhubert"),
    "star": Row("starhubert"),
    "wide": Row("shallow-wide"),
    "lstm": Row("lstm-dkd"),
    "gpu": Row(rows=32, bf16=True, where="cuda"),
    "gpu-given": Row(rows=32, given=True, bf16=True, where="cuda"),
    "gpu-f32": Row(rows=32, where="cuda"),
    "gpu-long": Row(rows=10, seconds=15.6, bf16=True, where="cuda"),
}
# Nodes of each graph that have a precision.
PRECISE = {
    "dphubert": ["teacher", "student", "heads"],
    "armhubert": ["teacher", "masked-teacher", "student", "heads"],
    "starhubert": ["teacher", "student"],
    "shallow-wide": ["teacher", "student", "heads", "logits"],
    "lstm-dkd": ["teacher", "student", "logits"],
}


def dphubert(device, recompute):
    """Returns what is trained, the function from audio to targets, and that from audio and targets to the loss."""
    import torch, transformers

    config = transformers.HubertConfig(
        apply_spec_augment=False, layerdrop=0.0, activation_dropout=0.0, feat_proj_dropout=0.1,
        attn_implementation="sdpa")
    teacher, student = transformers.HubertModel(config).eval(), transformers.HubertModel(config).train()
    maps = torch.nn.ModuleList(torch.nn.Linear(768, 768) for _ in range(2))
    if recompute:
        student.gradient_checkpointing_enable()
    trained = torch.nn.ModuleList([student, maps]).to(device)
    teacher.to(device)
    if device.type == "cuda":
        teacher, student = torch.compile(teacher), torch.compile(student)
    layers = (0, 4, 8, 12)

    def targets(audio):
        hidden = teacher(audio, output_hidden_states=True).hidden_states
        return torch.stack([hidden[l] for l in layers], 1).float()

    def loss(audio, targets):
        states = student(audio, output_hidden_states=True).hidden_states
        mapped = torch.stack([maps[min(i, 1)](states[l]) for i, l in enumerate(layers)], 1).float()
        cosine = torch.nn.functional.cosine_similarity(mapped, targets, dim=-1).mean()
        return (mapped - targets).abs().mean() - cosine

    return trained, targets, loss


def of_graph(method):
    """Returns the same of a method whose student is in students.py."""
    import torch, transformers, students

    students.check()
    nodes = json.load(open(f"graphs/librispeech/{method}.json"))["nodes"]
    student = students.Student(nodes["student"]["architecture"], nodes["student"].get("layer_gradients") == "mean").train()
    teacher = transformers.HubertModel(transformers.HubertConfig(attn_implementation="sdpa")).eval()
    states = lambda audio, mask=None: teacher(audio, mask_time_indices=mask, output_hidden_states=True).hidden_states
    if method == "starhubert":
        grams = lambda ours, theirs: students.gram_loss(ours, theirs, False) + students.gram_loss(ours, theirs, True)
        return student, states, lambda audio, targets: grams(student(audio), targets)
    heads = torch.nn.ModuleList(torch.nn.Linear(student.encoder.layer_norm.bias.numel(), 768) for _ in student.encoder.layers)

    def targets(audio):
        mask = torch.rand(audio.shape[0], (audio.shape[1] - 400) // 320 + 1) < 0.76
        return mask, states(audio)[1:], states(audio, mask)[1:]

    def loss(audio, targets):
        mask, target, masked_target = targets
        predicted = [head(state) for head, state in zip(heads, student(audio, mask)[1:])]
        return students.masked_loss(predicted, target, masked_target, mask)

    return torch.nn.ModuleList([student, heads]), targets, loss


def shallow_wide():
    """Returns the same of Wang et al.'s shallow and wide student."""
    import torch, torch.nn.functional as F, transformers, students

    teacher = transformers.HubertModel(transformers.HubertConfig(attn_implementation="sdpa")).eval()
    config = transformers.HubertConfig(
        num_hidden_layers=2, feat_proj_layer_norm=False, apply_spec_augment=False, layerdrop=0.0, activation_dropout=0.0,
        attn_implementation="sdpa")
    student, heads = transformers.HubertModel(config).train(), students.ExpandHead(768, 768, 2)
    teacher_map, student_map, embeddings = torch.nn.Linear(768, 256), torch.nn.Linear(768, 256), torch.randn(504, 256)

    def targets(audio):
        states = teacher(audio, output_hidden_states=True).hidden_states
        return states[4], states[12], students.cosine_logits(teacher_map(states[12]), embeddings, 1)

    def loss(audio, targets):
        *layers, teacher_logits = targets
        last = student(audio).last_hidden_state
        logits = students.cosine_logits(student_map(last), embeddings, 1)
        divergence = F.kl_div((logits / 0.1).log_softmax(-1), (teacher_logits / 0.1).log_softmax(-1), log_target=True, reduction="none")
        return students.regression_loss(heads(last), layers) + 0.4 * divergence.sum(-1).mean()

    return torch.nn.ModuleList([student, heads, student_map]), targets, loss


def lstm():
    """Returns the same of an LSTM that learns the clusters of HuBERT Large."""
    import torch, transformers, students

    students.check()
    nodes = json.load(open("graphs/librispeech/lstm-dkd.json"))["nodes"]
    large = {key: value for key, value in nodes["teacher"]["architecture"].items() if key not in ("final_proj_size", "label_embeddings")}
    teacher = transformers.HubertModel(transformers.HubertConfig(**large, attn_implementation="sdpa")).eval()
    convolutions = transformers.HubertConfig()
    config = {key: getattr(convolutions, key) for key in ("conv_dim", "conv_kernel", "conv_stride")}
    student = students.LstmStudent({**config, **nodes["student"]["architecture"]}).train()
    teacher_map, embeddings, head = torch.nn.Linear(1024, 768), torch.randn(500, 768), torch.nn.Linear(768, 500)
    targets = lambda audio: students.cosine_logits(teacher_map(teacher(audio).last_hidden_state), embeddings, 0.1)
    loss = lambda audio, logits: students.decoupled_loss(head(student(audio)), logits)
    return torch.nn.ModuleList([student, head]), targets, loss


def torch_steps(method, rows, length, given, bf16, where, recompute):
    import torch

    torch.manual_seed(0)
    gpu = where == "cuda"
    torch.set_num_threads(int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count())))
    device = torch.device("cuda" if gpu else "cpu")
    of_method = {"dphubert": lambda: dphubert(device, recompute), "shallow-wide": shallow_wide, "lstm-dkd": lstm}
    trained, teach, loss_of = of_method.get(method, lambda: of_graph(method))()
    settings = {"lr": 2e-4, "weight_decay": 0.0} if method in ("dphubert", "lstm-dkd") else {
        "lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.01}
    optimizer = torch.optim.AdamW(trained.parameters(), **settings)
    targets = None
    audio = torch.randn(rows, int(16000 * length), device=device)
    seconds = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            if targets is None or not given:
                with torch.no_grad():
                    targets = teach(audio)
                if given:
                    teach = None
            loss = loss_of(audio, targets)
        loss.backward()
        if method in ("dphubert", "shallow-wide"):
            torch.nn.utils.clip_grad_norm_(trained.parameters(), 10.0 if method == "dphubert" else 5.0)
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


def ours(method, rows, length, given, bf16, where, recompute):
    command = ["target/release/pipeline", "bench", f"graphs/librispeech/{method}.json"]
    # Two teachers run ahead of the student by unlike numbers of batches: more updates, so that this does not count.
    steps = STEPS - 2 if method == "dphubert" else 8
    command += ["--synthetic", f"{rows}x{length}", "--steps", str(steps), "--format", "json"]
    for node in PRECISE[method]:
        command += ["--set", f"{node}.precision={'bf16' if bf16 else 'f32'}"]
    if given:
        command += ["--cached"]
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
