//! How a pruning phase ends: what cannot be cut is an error by name, and what was not meant is
//! warned of.
use crate::program::{last_line, stderr};
use crate::sample::{run, sample};

/// The decay of one update makes the weights of `node` infinite; the others stand still.
fn endless_decay(node: &str) -> [String; 2] {
    let rate = |name: &str| if name == node { 1e-3 } else { 0.0 };
    let [student, heads, gates] = ["student", "heads", "gates"].map(rate);
    [
        "prune.step.weight_decay=1e300".to_owned(),
        format!(
            "prune.step.rates={{\"student\": {student}, \"heads\": {heads}, \"gates\": {gates}}}"
        ),
    ]
}

/// No loss follows the last update, so only the end of the phase can notice what it did.
#[test]
fn weights_that_are_not_finite_are_an_error_by_name() {
    let folder = sample("not-finite");
    for (node, tensor) in [
        ("student", "encoder.layer_norm.bias"),
        ("heads", "0.weight"),
        ("gates", "log_alpha.conv.0"),
    ] {
        let [first, second] = &endless_decay(node);
        let settings = ["--steps", "1", "--set", first, "--set", second];
        let output = run(&folder, node, &settings);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let last = last_line(&output);
        let start = format!("node `{node}`: `{tensor}` is not finite at the end of the phase");
        assert!(
            last.starts_with(&start) && last.contains("lower `rates` or `weight_decay`"),
            "{last}"
        );
    }
}

/// Without a loss the penalty moves all gates, the second update by so much that none is above 0.
#[test]
fn a_convolution_without_channels_is_an_error_by_name() {
    let folder = sample("no-channels");
    let mut settings = vec!["--steps", "2"];
    for setting in [
        "prune.match.terms.0.weight=0",
        "prune.match.terms.1.weight=0",
        "prune.gates.sparsity=0.99",
        "prune.gates.warmup_steps=0",
        "prune.step.rates.gates=1e3",
    ] {
        settings.extend(["--set", setting]);
    }
    let output = run(&folder, "out", &settings);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let last = last_line(&output);
    let start = "node `student`: cannot be cut: every gate of `conv.0` is 0, and convolution 1 of ";
    assert!(
        last.starts_with(start) && last.contains("lower the rate of the gates in `rates`"),
        "{last}"
    );
}

#[test]
fn pruning_that_misses_its_target_is_warned_of() {
    let folder = sample("missed");
    let output = run(&folder, "short", &["--steps", "2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let warning = "warning: node `gates`: pruning missed its target: sparsity 0.";
    let text = stderr(&output);
    assert!(
        text.contains(warning)
            && text
                .contains("the phase ended after update 2, and the target climbs until update 10"),
        "{text}"
    );
    let loses_heads = ["--set", "prune.gates.initial_drop.head=0.9999"];
    let output = run(&folder, "headless", &loses_heads);
    assert!(
        stderr(&output).contains("warning: node `gates`: no attention head is left in any layer; "),
        "{}",
        stderr(&output)
    );
}
