"""TensorBoard's own reader finds in a run's event file what metrics.jsonl holds.

    pip install tensorboard
    python tests/read_events.py runs/dphubert

For a graph with `log` in its last phase and `every` 1.
"""

import json
import math
import sys
from collections import defaultdict
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = Path(sys.argv[1])
expected = defaultdict(list)
for line in (run / "metrics.jsonl").read_text().splitlines():
    line = json.loads(line)
    expected[f"{line['phase']}/{line['name']}"].append((line["step"], line["value"]))

events = EventAccumulator(str(run), size_guidance={"scalars": 0})
events.Reload()
assert set(events.Tags()["scalars"]) == set(expected)
for tag, points in expected.items():
    found = events.Scalars(tag)
    assert [e.step for e in found] == [step for step, _ in points], tag
    for event, (_, value) in zip(found, points):
        assert math.isnan(event.value) if value is None else math.isclose(event.value, value, rel_tol=1e-6), tag
assert events.SummaryMetadata("graph").plugin_data.plugin_name == "text"
shown = events.Tensors("graph")[0].tensor_proto.string_val[0].decode()
assert json.loads(shown) == json.loads((run / "run.json").read_text())["graph"]
print(f"{len(expected)} curves, {sum(map(len, expected.values()))} values")
