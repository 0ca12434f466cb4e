//! Where the bytes of the process are.
//!
//! Weights, gradients and moments are counted: 4 bytes a parameter, 8 for the moments. Activations
//! and packed operands are measured. `rest` is the peak minus all of these; since gradients and
//! activations are not all allocated at the same time, it can be negative.
use super::recording::Measured;
use compute::gemm;
use nodes::node::report::Measurement;
use pipeline::graph::plan::{Phase, PlannedNode};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Returns the bytes by what they are for.
///
/// `activations` is what the trained stage has allocated in its forward pass and retains until the
/// backward pass; `peak` is the peak memory of the process, if the system reports it.
pub(super) fn bytes(
    phase: &Phase,
    measured: &[Measured],
    activations: isize,
    peak: Option<u64>,
) -> Value {
    let rates = phase.optimizer().map(|optimizer| optimizer.rates);
    let is_moved = |node: &PlannedNode| {
        let rate = rates.as_ref().and_then(|rates| rates.get(node.name()));
        rate.is_some_and(|rate| *rate > 0.0)
    };
    // A teacher whose targets all come from a cache never loads its weights.
    let is_loaded = |node: &PlannedNode| {
        measured.iter().any(|(name, measurement)| {
            *name == node.name() && matches!(measurement, Measurement::Products { .. })
        })
    };
    let mut weights = 0;
    let mut gradients = 0;
    let mut teacher = 0;
    let mut models = BTreeSet::new();
    for node in &phase.nodes {
        let bytes = 4 * node.info.parameters.unwrap_or(0) as i64;
        if node.kind().trains {
            weights += bytes;
            if is_moved(node) {
                gradients += bytes;
            }
        } else if is_loaded(node) && models.insert(&node.info.reads) {
            teacher += bytes; // nodes of one model share it
        }
    }
    let moments = 2 * gradients;
    let packed = gemm::packed_bytes() as i64;
    let counted = weights + gradients + moments + activations as i64 + teacher + packed;
    json!({
        "weights": weights,
        "gradients": gradients,
        "moments": moments,
        "activations": activations,
        "teacher": teacher,
        "packed": packed,
        "rest": peak.map(|peak| peak as i64 - counted),
    })
}

/// Starts the measurement of the peak again, so that it includes neither the array of the roofline
/// nor the filling of a cache. Has no effect if the system does not support it.
pub(super) fn reset_peak() {
    #[cfg(target_os = "linux")]
    compute::allocator::reset_high_water_mark();
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Formats the peak and its parts: `memory  2890.1 MB at its peak: weights 378.4, ..`
pub(super) fn text(summary: &Value) -> String {
    let Some(peak) = summary["peak_bytes"].as_f64() else {
        return String::new();
    };
    let mut parts = vec![];
    for (name, bytes) in summary["bytes"].as_object().into_iter().flatten() {
        if let Some(bytes) = bytes.as_f64() {
            parts.push(format!("{name} {:.1}", bytes / 1e6));
        }
    }
    let peak = peak / 1e6;
    if parts.is_empty() {
        format!("memory  {peak:.1} MB at its peak\n")
    } else {
        format!("memory  {peak:.1} MB at its peak: {}\n", parts.join(", "))
    }
}
