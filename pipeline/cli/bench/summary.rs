//! Sums up a recording: times, memory and the share of the roofline, as JSON and as text.
use super::recording::{Measured, NodeMeasurement, NodeStep, StepRecording};
use super::{WARM_UP, exchange, memory, roofline};
use crate::device;
use crate::ending::CommandError;
use compute::roofline::Roofline;
use nodes::data::audio::resample::audio_seconds;
use nodes::node::report::Measurement;
use nodes::node::step::StepInfo;
use pipeline::graph::plan::Phase;
use pipeline::report::summary::median;
use pipeline::run::machine;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// Returns the JSON of the benchmark, of `timed_updates` updates after the warm-up.
///
/// # Errors
/// The data ended before the updates to time.
pub(super) fn summarize(
    phase: &Phase,
    timed_updates: u64,
    roofline: Option<&Roofline>,
    recording: &StepRecording,
    ranks: usize,
) -> Result<Value, CommandError> {
    let is_timed = |info: &StepInfo| {
        !info.dev && (WARM_UP + 1..=WARM_UP + timed_updates).contains(&info.update)
    };
    let steps = recording.steps();
    let timed_steps: Vec<&NodeStep> = steps.iter().filter(|step| is_timed(&step.info)).collect();
    let recorded_measurements = recording.measurements();
    let timed_measurements: Vec<&NodeMeasurement> = recorded_measurements
        .iter()
        .filter(|recorded| is_timed(&recorded.info))
        .collect();
    let measured: Vec<Measured> = timed_measurements
        .iter()
        .map(|recorded| (recorded.node.as_str(), recorded.measurement))
        .collect();

    let mut seconds = update_seconds(&steps, phase.last().name(), timed_updates as usize);
    let updates = seconds.len();
    let total_seconds: f64 = seconds.iter().sum();
    seconds.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (seconds.first(), seconds.last()) else {
        return Err("the data ended before the updates to time".into());
    };
    let node_seconds = node_seconds(phase, &timed_steps, updates);
    let last_node = phase.last().name();
    let last_steps = timed_steps.iter().filter(|step| step.node == last_node);
    let samples: u64 = match ranks {
        1 => last_steps.map(|step| step.info.samples).sum(),
        _ => exchange::samples(&timed_measurements),
    };
    let retained = timed_steps.iter().map(|step| step.retained_bytes).max();
    let peak = machine::peak(); // read once: building the JSON may raise it
    let floor = roofline.map(|roofline| {
        let seconds = total_seconds / updates as f64;
        roofline::share(roofline, &measured, updates, seconds)
    });
    let bytes = roofline.map(|_| memory::bytes(phase, &measured, retained.unwrap_or(0), peak));
    Ok(json!({
        "step_seconds": { "median": median(&seconds), "min": min, "max": max },
        "node_seconds": node_seconds,
        "optimize_seconds": optimize_seconds(phase, &node_seconds, &measured, updates),
        "audio_per_second": audio_seconds(samples) / total_seconds,
        "peak_bytes": peak,
        "device_peak_bytes": device::peak_bytes(),
        "exchange": exchange::summary(&timed_measurements, ranks, updates, total_seconds),
        "floor": floor,
        "bytes": bytes,
    }))
}

/// Returns the seconds of each timed update: from the end of the update before it, at the node
/// `last_node`, to its own end.
fn update_seconds(steps: &[NodeStep], last_node: &str, timed_updates: usize) -> Vec<f64> {
    let ends_update =
        |step: &&NodeStep| step.node == last_node && step.info.closes && !step.info.dev;
    let ends: Vec<Instant> = steps
        .iter()
        .filter(ends_update)
        .skip(WARM_UP as usize - 1)
        .take(timed_updates + 1)
        .map(|step| step.finished)
        .collect();
    let pairs = ends.windows(2);
    pairs
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect()
}

/// Returns the mean seconds of each node in an update.
fn node_seconds<'a>(
    phase: &'a Phase,
    timed_steps: &[&'a NodeStep],
    updates: usize,
) -> BTreeMap<&'a str, f64> {
    let mut seconds: BTreeMap<&str, f64> = BTreeMap::new();
    for node in &phase.nodes {
        seconds.insert(node.name(), 0.0);
    }
    for step in timed_steps {
        *seconds.entry(&step.node).or_default() += step.duration.as_secs_f64() / updates as f64;
    }
    seconds
}

/// Splits the time of `optimize` into the backward pass and the update; null if nothing is
/// trained.
fn optimize_seconds(
    phase: &Phase,
    node_seconds: &BTreeMap<&str, f64>,
    measured: &[Measured],
    updates: usize,
) -> Value {
    let backward_seconds = |(_, measurement): &Measured| match measurement {
        Measurement::Backward(duration) => duration.as_secs_f64(),
        _ => 0.0,
    };
    let backward = measured.iter().map(backward_seconds).sum::<f64>() / updates as f64;
    let optimizer = phase.optimizer.map(|node| phase.nodes[node].name());
    match optimizer.and_then(|name| node_seconds.get(name)) {
        Some(total) => json!({ "backward": backward, "update": total - backward }),
        None => Value::Null,
    }
}

/// Formats the JSON of [`summarize`].
pub(super) fn text(summary: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let update = &summary["step_seconds"];
    let mut text = format!(
        "update  {:.4} s (median), {:.4} to {:.4}\naudio   {:.1} s a second\n",
        number(&update["median"]),
        number(&update["min"]),
        number(&update["max"]),
        number(&summary["audio_per_second"])
    );
    text += &exchange::text(&summary["exchange"]);
    text += &memory::text(summary);
    if let Some(peak) = summary["device_peak_bytes"].as_f64() {
        text += &format!("GPU     {:.1} MB at its peak\n", peak / 1e6);
    } else {
        text += &roofline::text(&summary["floor"]);
    }
    for (key, prefix) in [("node_seconds", ""), ("optimize_seconds", "optimize's ")] {
        for (name, seconds) in summary[key].as_object().into_iter().flatten() {
            text += &format!("  {prefix}{name:12} {:.4} s\n", number(seconds));
        }
    }
    text
}
