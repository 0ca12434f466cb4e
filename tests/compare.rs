//! `pipeline compare`.
use crate::program::{call, read_json, stderr, stdout, stdout_json};
use crate::sample::{run, sample};
use serde_json::Value;
use std::fs;

#[test]
fn runs_are_compared_side_by_side() {
    let folder = sample("compare");
    assert!(run(&folder, "short", &["--steps", "2"]).status.success());
    assert!(run(&folder, "long", &["--steps", "4"]).status.success());
    let compare = ["compare", "short", "long", "--format", "json"];
    let compared = stdout_json(folder.path(), &compare);
    for (run, updates) in compared.as_array().unwrap().iter().zip([2, 4]) {
        let name = run["run"].as_str().unwrap();
        let student = format!("{name}/distill/student");
        let inspect = ["inspect", &student, "--format", "json"];
        let model = stdout_json(folder.path(), &inspect);
        let size = &run["models"]["student"];
        assert_eq!(size["parameters"], model["parameters"]);
        assert_eq!(size["macs"], model["macs"]);
        assert!(
            run["finished"] == true && run["peak_bytes"].as_u64() > Some(1_000_000),
            "{run}"
        );
        let metrics = fs::read_to_string(folder.path().join(name).join("metrics.jsonl")).unwrap();
        let last_l1 = metrics
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .rfind(|line| line["phase"] == "prune" && line["name"] == "dev/loss_l1")
            .unwrap();
        let prune = &run["phases"][0];
        assert_eq!(prune["dev_losses"]["loss_l1"], last_l1["value"]);
        assert_eq!(prune["updates"].as_u64(), Some(updates));
        // An update has two batches of at most 2 seconds each.
        let hours = prune["audio_hours"].as_f64().unwrap();
        assert!(
            (0.5..=1.0).contains(&(hours * 3600.0 / (4 * updates) as f64)),
            "{hours}"
        );
        assert!(prune["step_seconds"].as_f64().unwrap() > 0.0);
        let seconds = |phase: usize| run["phases"][phase]["seconds"].as_f64().unwrap();
        assert!(seconds(0) > 0.0 && seconds(1) > 0.0, "{run}");
        let both = run["seconds"].as_f64().unwrap();
        assert!((both - seconds(0) - seconds(1)).abs() < 1e-6, "{run}");
        let teacher = stdout_json(folder.path(), &["inspect", "teacher", "--format", "json"]);
        assert_eq!(run["teacher_parameters"], teacher["parameters"]);
        let record = read_json(
            &folder
                .path()
                .join(run["run"].as_str().unwrap())
                .join("run.json"),
        );
        for (phase, recorded) in [0, 1].map(|i| (&run["phases"][i], &record["summary"][i])) {
            for key in ["teacher_parameters", "written_sparsity"] {
                assert_eq!(phase[key], recorded[key], "{key}");
            }
        }
        assert!(run["phases"][0]["written_sparsity"].as_f64().is_some());
    }
    let text = stdout(folder.path(), &["compare", "short", "long"]);
    let row = |name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    assert!(
        row("prune updates")
            .split_whitespace()
            .eq(["prune", "updates", "2", "4"]),
        "{text}"
    );
    assert!(
        stdout(folder.path(), &["compare", "short", "--format", "markdown"])
            .starts_with("|  | short |\n|---|---|\n| ")
    );

    let foreign = call(folder.path(), &["compare", "short", "teacher", "gone"]);
    let message =
        "teacher: holds no run: there is no run.json\ngone: holds no run: there is no run.json\n";
    assert_eq!(
        (stderr(&foreign).as_str(), foreign.status.code()),
        (message, Some(1))
    );
    let mut unfinished = read_json(&folder.path().join("short/run.json"));
    unfinished["finished"] = Value::Null;
    fs::write(folder.path().join("short/run.json"), unfinished.to_string()).unwrap();
    let output = call(folder.path(), &["compare", "short"]);
    assert_eq!(
        (stderr(&output).trim_end(), output.status.code()),
        (
            "warning: short is not finished: this is what it has so far",
            Some(0)
        )
    );
}
