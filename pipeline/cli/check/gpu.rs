//! What an update takes of a GPU's memory, estimated: 4 bytes a parameter for the weight, of a trained one 4 for the
//! gradient (8 with `accumulate`) and 8 for the moments, and what the student's ops keep of a batch
//! ([`nodes::model::activation_bytes`]). What ops need for a moment, and the teacher for a batch, is not in it.
use pipeline::graph::plan::{Phase, PlannedNode};
use serde_json::{Value, json};

/// Bytes of each; None where nothing is trained.
pub fn bytes(phase: &Phase) -> Option<Value> {
    let optimizer = phase.optimizer()?;
    let moves = |n: &&PlannedNode| {
        optimizer
            .rates
            .get(n.name())
            .is_some_and(|rate| *rate > 0.0)
    };
    let count = |n: &PlannedNode| n.info.parameters.unwrap_or(0);
    let all = phase.nodes.iter().map(count).sum::<u64>();
    let moved = phase.nodes.iter().filter(moves).map(count).sum::<u64>();
    let seconds = phase.source().settings().seconds_per_batch;
    let kept = |[fixed, second]: [u64; 2]| fixed + (second as f64 * seconds) as u64;
    Some(json!({
        "weights": 4 * all,
        "gradients": if optimizer.accumulate > 1 { 8 } else { 4 } * moved,
        "moments": 8 * moved,
        "kept": phase.nodes.iter().filter_map(|n| n.info.activation_bytes).map(kept).sum::<u64>(),
    }))
}

/// `  of a GPU: about 2.31 GB: weights 0.76, ..`
pub fn text(bytes: &Value) -> String {
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let parts: Vec<(&String, u64)> = bytes
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, n)| Some((name, n.as_u64()?)))
        .collect();
    let all = gigabytes(parts.iter().map(|(_, n)| n).sum());
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(name, n)| format!("{name} {:.3}", gigabytes(n)))
        .collect();
    format!("  of a GPU: about {all:.3} GB: {}\n", parts.join(", "))
}
