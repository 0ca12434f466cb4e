"""Models as torch modules, held against `pipeline extract`."""

import importlib.util
import json
import shutil
import struct
import subprocess
import unittest
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from support import FIRST, InFolder, needs_torch

import ssl_compression as sc

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
SAMPLES = [16000, 9011, 5333]


def write_wav(path: Path, samples: "np.ndarray[tuple[int], np.dtype[np.int16]]") -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.astype("<i2").tobytes())


@needs_torch
class Models(InFolder):
    def setUp(self) -> None:
        super().setUp()
        import torch

        self.torch = torch
        draw = np.random.default_rng(1)
        self.paths = [self.folder / f"{i}.wav" for i in range(len(SAMPLES))]
        self.batch = torch.full((len(SAMPLES), max(SAMPLES)), 0.5)  # what is behind an end
        for row, (path, count) in enumerate(zip(self.paths, SAMPLES)):
            samples = draw.integers(-9000, 9000, count).astype(np.int16)
            write_wav(path, samples)
            self.batch[row, :count] = torch.from_numpy(samples.astype(np.float32) / 32768)

    def hold_against_extract(self, model: Path) -> None:
        file = self.folder / "hidden.parquet"
        audio = [str(path) for path in self.paths]
        arguments = ["extract", str(model), *audio, "--layers", "all", "--out", str(file)]
        subprocess.run([sc.program(), *arguments], check=True, capture_output=True)
        module = sc.load_model(model)
        output = module(self.batch, SAMPLES)
        rows = pq.read_table(file).to_pylist()
        self.assertEqual(len(rows), len(SAMPLES) * len(output.hidden_states))
        for row in rows:
            index = audio.index(row["id"])
            frames = row["frames"]
            self.assertEqual(output.frames[row["layer"]][index], frames)
            state = output.hidden_states[row["layer"]][index].detach().numpy()
            expected = np.float32(row["hidden"]).reshape(frames, row["width"])
            np.testing.assert_allclose(state[:frames], expected, atol=1e-4)
            self.assertTrue((state[frames:] == 0).all())
        self.hold_gradients_against_differences(module)

    def hold_gradients_against_differences(self, module: "sc._model.SpeechEncoder") -> None:
        """Compares the slope along a random direction of all parameters with finite differences."""
        torch = self.torch
        module.double()
        batch = self.batch[1:].double()[:, : SAMPLES[1]]
        names = [name for name, _ in module.named_parameters() if name != "masked_spec_embed"]
        parameters = [dict(module.named_parameters())[name] for name in names]
        draw = torch.Generator().manual_seed(3)
        weights = torch.Generator().manual_seed(4)

        def loss() -> "torch.Tensor":
            weights.manual_seed(4)
            states = module(batch, SAMPLES[1:]).hidden_states
            return sum((x * torch.randn(x.shape, generator=weights, dtype=x.dtype)).mean() for x in states)

        loss().backward()
        for name, parameter in zip(names, parameters):
            self.assertIsNotNone(parameter.grad, name)
            direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
            with torch.no_grad():
                parameter += 1e-5 * direction
                above = loss()
                parameter -= 2e-5 * direction
                below = loss()
                parameter += 1e-5 * direction
            slope = float((above - below) / 2e-5)
            analytic = float((parameter.grad * direction).sum())
            self.assertAlmostEqual(slope, analytic, delta=1e-6 + 1e-4 * abs(slope), msg=name)

    def test_a_teacher(self) -> None:
        self.hold_against_extract(Path("data/sample/teacher"))

    def test_small_models_of_every_architecture(self) -> None:
        for name in (
            "base", "group_bias", "large", "wavlm", "wavlm_large", "arm", "fit", "star", "mask", "distilhubert",
            "lstm_forward", "lstm_both",
        ):
            with self.subTest(name):
                self.hold_against_extract(GOLDEN / name)

    def test_a_pruned_student(self) -> None:
        self.hold_against_extract(sc.Run(FIRST).models["distill/student"])

    def test_students_of_other_methods(self) -> None:
        for method in ("armhubert", "fithubert", "lstm-dkd", "fbank-hubert"):
            with self.subTest(method):
                subprocess.run(
                    [sc.program(), "new", ".", "--method", method], check=True, capture_output=True
                )
                self.addCleanup(Path(f"graphs/{method}.json").unlink)
                out = self.folder / method
                set_ = {"speech.dev": None}
                graph = f"graphs/{method}.json"
                run = sc.run(graph, out=out, set=set_, steps=1, quiet=True).wait()
                self.hold_against_extract(list(run.models.values())[-1])

    def exported(self, model: str, form: str) -> Path:
        out = self.folder / f"{Path(model).name}-{form}"
        command = [sc.program(), "export", model, "--format", form, "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        return out

    def expected_states(self, model: str) -> "list[list[np.ndarray]]":  # type: ignore[type-arg]
        """Returns the hidden states of each row by `extract`, layer by layer."""
        file = self.folder / "expected.parquet"
        audio = [str(path) for path in self.paths]
        arguments = ["extract", model, *audio, "--layers", "all", "--out", str(file)]
        subprocess.run([sc.program(), *arguments], check=True, capture_output=True)
        states: list[list[np.ndarray]] = [[] for _ in audio]  # type: ignore[type-arg]
        for row in pq.read_table(file).to_pylist():
            shape = row["frames"], row["width"]
            states[audio.index(row["id"])].append(np.float32(row["hidden"]).reshape(shape))
        return states

    def test_an_upstream_of_s3prl(self) -> None:
        # By its path, as s3prl's own hubs do it: it imports nothing of its folder. One model wants
        # normalised waveforms.
        for name in ("large", "base", "wavlm", "arm"):
            model = str(GOLDEN / name)
            (script,) = self.exported(model, "s3prl").glob("upstream/*/expert.py")
            spec = importlib.util.spec_from_file_location("expert", script)
            assert spec is not None and spec.loader is not None
            expert = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(expert)
            upstream = expert.UpstreamExpert()
            rows = [self.batch[row, :count] for row, count in enumerate(SAMPLES)]
            states = upstream(rows)["hidden_states"]
            for row, expected in enumerate(self.expected_states(model)):
                self.assertEqual(len(states), len(expected))
                for state, layer in zip(states, expected):
                    found = state[row, : len(layer)].detach().numpy()
                    np.testing.assert_allclose(found, layer, atol=1e-4)
            self.assertEqual(upstream.get_downsample_rates("hidden_states"), 320)

    def test_hf_code_in_transformers(self) -> None:
        if importlib.util.find_spec("transformers") is None:
            self.skipTest("needs transformers")
        from transformers import AutoFeatureExtractor, AutoModel

        for name in ("large", "arm"):
            model = str(GOLDEN / name)
            folder = self.exported(model, "hf-code")
            extractor = AutoFeatureExtractor.from_pretrained(folder)
            module = AutoModel.from_pretrained(folder, trust_remote_code=True)
            rows = [self.batch[row, :count].numpy() for row, count in enumerate(SAMPLES)]
            inputs = extractor(
                rows, sampling_rate=16000, padding=True, return_attention_mask=True, return_tensors="pt"
            )
            module.eval()
            states = module(**inputs, output_hidden_states=True).hidden_states
            for row, expected in enumerate(self.expected_states(model)):
                self.assertEqual(len(states), len(expected))
                for state, layer in zip(states, expected):
                    found = state[row, : len(layer)].detach().numpy()
                    np.testing.assert_allclose(found, layer, atol=1e-4)

    def test_a_module_can_be_saved(self) -> None:
        module = sc.load_model("data/sample/teacher")
        file = self.folder / "module.pt"
        self.torch.save(module, file)
        again = self.torch.load(file, weights_only=False)
        one = module(self.batch).hidden_states[2]
        self.assertTrue(one.equal(again(self.batch).hidden_states[2]))

    def test_a_damaged_model_is_named(self) -> None:
        model = self.folder / "model"
        shutil.copytree(sc.Run(FIRST).models["distill/student"], model)
        file = model / "model.safetensors"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        with self.assertRaisesRegex(ValueError, "model.safetensors is damaged"):
            sc.load_model(model)
        (length,) = struct.unpack("<Q", data[:8])
        file.write_bytes(data[: 8 + length])
        with self.assertRaisesRegex(ValueError, "model.safetensors is damaged"):
            sc.load_model(model)

    def test_weights_that_do_not_fit_are_named(self) -> None:
        model = self.folder / "model"
        shutil.copytree("data/sample/teacher", model)
        config = json.loads((model / "config.json").read_text())
        for layers, words in ((6, "lack encoder.layers.5"), (4, "asks for the weights")):
            config["num_hidden_layers"] = layers
            (model / "config.json").write_text(json.dumps(config))
            with self.assertRaisesRegex(ValueError, words):
                sc.load_model(model)

    def test_models_that_would_be_computed_wrongly_are_refused(self) -> None:
        model = self.folder / "model"
        shutil.copytree("data/sample/teacher", model)
        config = json.loads((model / "config.json").read_text())
        for key, value, words in (
            ("hidden_act", "relu", "`hidden_act` is 'relu'"),
            ("model_type", "data2vec-audio", "read by the program alone"),
            ("intermediate_size", 3, "do not fit config.json"),
        ):
            (model / "config.json").write_text(json.dumps({**config, key: value}))
            with self.assertRaisesRegex(ValueError, words):
                sc.load_model(model)
        (model / "config.json").write_text(json.dumps(config))
        processor = model / "preprocessor_config.json"
        processor.write_text(json.dumps({"do_normalize": False, "sampling_rate": 8000}))
        with self.assertRaisesRegex(ValueError, "takes 8000 samples a second"):
            sc.load_model(model)

    def test_wrong_input_is_refused(self) -> None:
        module = sc.load_model("data/sample/teacher")
        for wrong, lengths in (
            (self.batch[0], None),
            (self.batch[:0], None),
            (self.batch, [1, 2]),
            (self.batch[:, :9], None),
        ):
            with self.assertRaises(ValueError):
                module(wrong, lengths)


if __name__ == "__main__":
    unittest.main()
