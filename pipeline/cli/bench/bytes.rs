//! Where the bytes are. Weights, gradients and moments by count (4 bytes a parameter, of moments 8), activations and
//! packed operands as measured; the rest is the peak less these. Gradients and activations are not all there at once,
//! so the rest may be below 0.
use compute::gemm;
use nodes::node::report::Measurement;
use pipeline::graph::plan::Phase;
use serde_json::{Value, json};

/// `kept`: what the trained stage has asked for when its forward pass is over, and holds until it has gone backward.
/// `peak`: the process's, where the system tells it.
pub fn of(phase: &Phase, told: &[(&str, Measurement)], kept: isize, peak: Option<u64>) -> Value {
    let rates = phase
        .optimizer()
        .map(|optimizer| optimizer.rates)
        .unwrap_or_default();
    let moves = |name: &str| rates.get(name).is_some_and(|rate| *rate > 0.0);
    // A teacher whose targets all came from a cache was never opened.
    let open = |name: &str| {
        told.iter()
            .any(|(node, told)| *node == name && matches!(told, Measurement::Products { .. }))
    };
    let sum = |of: &dyn Fn(&pipeline::graph::plan::PlannedNode) -> bool| {
        let parameters = phase
            .nodes
            .iter()
            .filter(|n| of(n))
            .filter_map(|n| n.info.parameters);
        4 * parameters.sum::<u64>() as i64
    };
    let weights = sum(&|n| n.kind().trains);
    let moved = sum(&|n| n.kind().trains && moves(n.name()));
    let frozen = sum(&|n| !n.kind().trains && open(n.name()));
    let packed = gemm::packed_bytes() as i64;
    let counted = weights + 3 * moved + frozen + kept as i64 + packed;
    json!({
        "weights": weights,
        "gradients": moved,
        "moments": 2 * moved,
        "activations": kept,
        "teacher": frozen,
        "packed": packed,
        "rest": peak.map(|peak| peak as i64 - counted),
    })
}

/// Begins the peak anew, so that neither the floor's array nor the filling of a cache is in it; where the system does
/// not do so, they are.
pub fn forget_peak() {
    #[cfg(target_os = "linux")]
    compute::allocator::forget_most();
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// `memory  2890.1 MB at its peak: weights 378.4, ..`
pub fn text(found: &Value) -> String {
    let Some(peak) = found["peak_bytes"].as_f64() else {
        return String::new();
    };
    let part =
        |(name, bytes): (&String, &Value)| Some(format!("{name} {:.1}", bytes.as_f64()? / 1e6));
    let parts: Vec<String> = found["bytes"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(part)
        .collect();
    let parts = if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    };
    format!("memory  {:.1} MB at its peak{parts}\n", peak / 1e6)
}
