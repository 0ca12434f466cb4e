"""A sweep of learning rates on a small task of SUPERB, with the features' cache and with features computed anew, in turn:

    cargo build --release
    python tests/speed/sweep.py [MODEL [TASK [ROUNDS]]]        # data/sample/teacher ks 1

Trains and scores the task's head at 1e-4, 1e-3 and 1e-2. Either side begins without a cache, so the cached one's time includes that
of filling it. Both must score the same.
"""
import json, statistics, subprocess, sys, tempfile, time

RATES = ["1e-4", "1e-3", "1e-2"]


def sweep(model, task, folder, is_cached):
    """Returns the seconds of a sweep, and the head's accuracy on the test set at each rate."""
    cache = json.dumps(f"{folder}/cache") if is_cached else "null"
    begun = time.perf_counter()
    for rate in RATES:
        command = ["target/release/pipeline", "run", f"graphs/superb/small/{task}.json", "--out", f"{folder}/{rate}"]
        for setting in [f"upstream.model={json.dumps(model)}", f"upstream.cache={cache}",
                        f"step.rates.mix={rate}", f"step.rates.classifier={rate}"]:
            command += ["--set", setting]
        subprocess.run(command, stderr=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - begun
    metrics = [map(json.loads, open(f"{folder}/{rate}/metrics.jsonl")) for rate in RATES]
    return seconds, [line["value"] for lines in metrics for line in lines if line["name"] == "test/accuracy"]


def main():
    model, task, rounds = (*sys.argv[1:], *["data/sample/teacher", "ks", "1"][len(sys.argv) - 1:])
    times, found = {True: [], False: []}, []
    for _ in range(int(rounds)):
        for is_cached in times:
            with tempfile.TemporaryDirectory() as folder:
                seconds, scores = sweep(model, task, folder, is_cached)
            times[is_cached].append(seconds)
            found.append(scores)
    assert len(found[0]) == len(RATES) and all(scores == found[0] for scores in found), f"the scores differ: {found}"
    cached, anew = (statistics.median(times[is_cached]) for is_cached in times)
    print(f"{len(RATES)} trainings of {task}: {cached:.1f} s cached, {anew:.1f} s computed anew, {anew / cached:.1f} times as long")


main()
