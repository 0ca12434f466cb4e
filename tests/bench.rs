//! `pipeline bench`.
use crate::program::{call, stderr};
use crate::sample::sample;
use nodes::model::{UnknownKeys, count, read_architecture};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

#[test]
fn a_benchmark_measures_and_leaves_nothing() {
    let folder = sample("bench");
    let before = fs::read_dir(folder.path()).unwrap().count();
    for extra in [
        &["--phase", "prune"][..],
        &["--phase", "distill", "--cached"],
        &["--synthetic", "2x0.5"],
    ] {
        let arguments = [
            &["bench", "g.json", "--steps", "3", "--format", "json"],
            extra,
        ]
        .concat();
        let output = call(folder.path(), &arguments);
        assert!(output.status.success(), "{extra:?}: {}", stderr(&output));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            found["step_seconds"]["median"].as_f64() > Some(0.0)
                && found["peak_bytes"].as_u64() > Some(0)
        );
        assert!(found["node_seconds"]["student"].as_f64() > Some(0.0));
        assert!(found["optimize_seconds"]["backward"].as_f64() > Some(0.0));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
        if cfg!(feature = "cuda") {
            assert!(
                found["device_peak_bytes"].as_u64() > Some(0)
                    && found["floor"].is_null()
                    && found["bytes"].is_null()
            );
            continue; // the rest is measured on the CPU only
        }
        let bytes: BTreeMap<String, i64> = serde_json::from_value(found["bytes"].clone()).unwrap();
        assert_eq!(Some(bytes.values().sum()), found["peak_bytes"].as_i64());
        assert_eq!(bytes["moments"], 2 * bytes["gradients"]);
        assert!(bytes["activations"] > 0 && bytes["packed"] >= 0 && bytes["gradients"] > 0);
        assert_eq!(
            bytes["teacher"] > 0,
            !extra.contains(&"--cached"),
            "the teacher's weights are loaded only if a target is missing"
        );
        assert!(found["floor"]["read_gb_per_second"].as_f64() > Some(0.0));
        if extra.contains(&"--synthetic") {
            // The teacher's forward pass (1) and the student's forward and backward pass (3), and
            // the heads of two layers, from width 24 to 24.
            let model =
                read_architecture(&folder.path().join("teacher"), UnknownKeys::REFUSE).unwrap();
            let heads = 2 * 2 * model.frames(8000) as u64 * 24 * 24;
            let macs = 4 * count::macs_of(&model, [8000; 2]) + 3 * heads;
            assert_eq!(found["floor"]["macs"].as_f64(), Some(macs as f64));
        }
    }
}
