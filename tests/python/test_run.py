"""Checks, runs and what they leave."""

import json
import signal
import threading
import unittest
from pathlib import Path

import numpy as np
from support import FIRST, GRAPH, SHORT, InFolder

import ssl_compression as sc


class Checks(InFolder):
    def test_a_graph_has_sizes(self) -> None:
        checked = sc.check(GRAPH)
        self.assertEqual(checked["phases"][0]["parameters"]["teacher"], 4_495_296)
        smaller = sc.check(GRAPH, set={"gates.sparsity": 0.5})["phases"][1]["parameters"]
        self.assertGreater(smaller["student"], checked["phases"][1]["parameters"]["student"])

    def test_settings_may_be_paths_and_numbers_of_numpy(self) -> None:
        plain = {"teacher.model": "data/sample/teacher", "gates.sparsity": 0.5}
        settings = {
            "teacher.model": Path("data/sample/teacher"),
            "gates.sparsity": np.float64(0.5),
        }
        self.assertEqual(sc.check(GRAPH, set=settings), sc.check(GRAPH, set=plain))
        with self.assertRaisesRegex(TypeError, "of the type set"):
            sc.check(GRAPH, set={"step.steps": {7}})

    def test_problems_have_their_lines(self) -> None:
        graph = self.folder / "bad.json"
        graph.write_text(Path(GRAPH).read_text().replace('"sparsity": 0.75', '"sparsity": 75'))
        for call in (lambda: sc.check(graph), lambda: sc.run(graph, quiet=True).wait()):
            with self.assertRaises(sc.GraphProblems) as caught:
                call()
            self.assertEqual(len(caught.exception.lines), 1)
            self.assertRegex(caught.exception.lines[0], r"bad\.json:\d+:\d+: .*sparsity")

    def test_a_missing_graph_is_a_failure(self) -> None:
        with self.assertRaises(sc.RunFailed) as caught:
            sc.check(self.folder / "none.json")
        self.assertEqual(caught.exception.exit_code, 2)
        self.assertIn("none.json", caught.exception.message)


class Runs(InFolder):
    def start(self, out: Path, **more: object) -> sc.Running:
        return sc.run(GRAPH, out=out, set=SHORT, quiet=True, **more)  # type: ignore[arg-type]

    def test_metrics_come_as_the_file_has_them(self) -> None:
        out = self.folder / "run"
        metrics = self.start(out)
        seen = list(metrics)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(seen, lines)
        self.assertEqual({m["phase"] for m in seen}, {"prune", "distill"})
        run = metrics.run
        self.assertEqual(run.metrics.num_rows, len(lines))
        self.assertEqual(run.metrics["value"].to_pylist(), [line["value"] for line in lines])
        names = ["phase", "step", "epoch", "name", "value"]
        self.assertEqual(run.metrics.column_names, names)
        self.assertEqual(list(run.models), ["prune/student", "distill/student"])
        self.assertEqual(run.graph["phases"][0]["nodes"]["step"]["steps"], 3)
        with self.assertRaisesRegex(sc.RunFailed, "holds a run already") as caught:
            self.start(out).wait()
        self.assertEqual(caught.exception.exit_code, 2)

    def test_a_stopped_run_goes_on(self) -> None:
        out = self.folder / "run"
        options = {**SHORT, "step.steps": 200}
        with sc.run(GRAPH, out=out, set=options, quiet=True) as metrics:
            first = [next(metrics) for _ in range(30)]
        last = first[-1]["step"]
        file = out / "metrics.jsonl"
        before = len(file.read_text().splitlines())
        with sc.run(GRAPH, out=out, set=options, resume=True, quiet=True) as metrics:
            resumed = [next(metrics) for _ in range(30)]
        self.assertEqual((resumed[0]["phase"], resumed[0]["name"]), ("prune", "loss"))
        self.assertGreaterEqual(resumed[0]["step"], last)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        begin = lines.index(resumed[0])
        self.assertLessEqual(begin, before)
        self.assertEqual(lines[begin : begin + 30], resumed)

    def test_an_interrupt_is_handed_on(self) -> None:
        # A shell starts what is in the background with SIGINT ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        out = self.folder / "run"
        metrics = sc.run(GRAPH, out=out, set={**SHORT, "step.steps": 200}, quiet=True)
        next(metrics)
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
        with self.assertRaises(KeyboardInterrupt):
            list(metrics)
        self.assertEqual(len(list((out / "checkpoint").glob("prune-*.safetensors"))), 1)
        with self.assertRaises(sc.RunStopped) as caught:
            metrics.wait()
        self.assertEqual(caught.exception.exit_code, 130)

    def test_a_failed_run_says_why(self) -> None:
        options = {**SHORT, "speech.manifest": "none.tsv"}
        with self.assertRaisesRegex(sc.PipelineError, "none.tsv"):
            sc.run(GRAPH, out=self.folder / "run", set=options, quiet=True).wait()


class Results(unittest.TestCase):
    def test_a_run_can_be_read(self) -> None:
        run = sc.Run(FIRST)
        losses = [row for row in run.metrics.to_pylist() if row["name"] == "loss"]
        self.assertEqual([row["step"] for row in losses], [*range(1, 11)] * 2)
        self.assertEqual([phase["phase"] for phase in run.summary], ["prune", "distill"])
        self.assertEqual(run.phases, ["prune", "distill"])
        self.assertTrue((run.models["distill/student"] / "config.json").is_file())

    def test_runs_are_compared(self) -> None:
        compared = sc.compare([FIRST, sc.Run(FIRST)])
        self.assertEqual([run["name"] for run in compared], ["dphubert", "dphubert"])
        self.assertEqual(compared[0]["updates"], 20)
        self.assertEqual(sc.compare([]), [])
        with self.assertRaisesRegex(sc.RunFailed, "holds no run"):
            sc.compare(["data"])

    def test_a_folder_without_a_run_is_named(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "data holds no run"):
            sc.Run("data").graph
        with self.assertRaisesRegex(FileNotFoundError, "nowhere holds no run"):
            sc.Run("nowhere")


if __name__ == "__main__":
    unittest.main()
