//! Estimates the GPU memory of an update: 4 bytes a parameter for the weights; for the trained
//! ones 4 more for the gradients (8 with `accumulate`) and 8 for the moments; and what the
//! student's ops retain of a batch ([`nodes::model::activation_bytes`]). The temporary buffers of
//! ops, and what the teacher needs for a batch, are not included.
use compute::memory::gigabytes;
use pipeline::graph::plan::{Phase, PlannedNode};
use serde_json::{Value, json};

/// Returns the bytes by what they are for; `None` if nothing is trained.
pub(super) fn bytes(phase: &Phase) -> Option<Value> {
    let optimizer = phase.optimizer()?;
    let mut parameters = 0;
    let mut trained_parameters = 0;
    for node in &phase.nodes {
        let count = node.info.parameters.unwrap_or(0);
        let rate = optimizer.rates.get(node.name());
        parameters += count;
        if rate.is_some_and(|rate| *rate > 0.0) {
            trained_parameters += count;
        }
    }
    let gradient_bytes = if optimizer.accumulate > 1 { 8 } else { 4 };
    let seconds = phase.source().settings().seconds_per_batch;
    let retained = |node: &PlannedNode| {
        let [fixed, per_second] = node.info.activation_bytes?;
        Some(fixed + (per_second as f64 * seconds) as u64)
    };
    Some(json!({
        "weights": 4 * parameters,
        "gradients": gradient_bytes * trained_parameters,
        "moments": 8 * trained_parameters,
        "kept": phase.nodes.iter().filter_map(retained).sum::<u64>(),
    }))
}

/// Formats [`bytes`]: `  GPU memory of an update: about 2.310 GB: weights 0.760, ..`
pub(super) fn text(bytes: &Value) -> String {
    let mut total = 0;
    let mut parts = vec![];
    for (name, bytes) in bytes.as_object().into_iter().flatten() {
        if let Some(bytes) = bytes.as_u64() {
            total += bytes;
            parts.push(format!("{name} {:.3}", gigabytes(bytes)));
        }
    }
    let total = gigabytes(total);
    let parts = parts.join(", ");
    format!("  GPU memory of an update: about {total:.3} GB: {parts}\n")
}
