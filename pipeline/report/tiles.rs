//! The run in a few numbers, each in a tile.
use super::format::{change, duration, percent, short, thousands};
use super::models::{ModelChange, ModelSize};
use super::summary::Summary;
use nodes::chart::curves;
use nodes::chart::scale::number;

/// Returns the tiles of a run, from the summaries, models and metrics of its phases.
pub(super) fn tiles(
    summaries: &[Summary],
    models: &[Vec<ModelChange>],
    metrics: &[curves::PhaseCurves],
) -> String {
    let mut tiles = String::new();
    if let Some((before, after)) = size_change(models) {
        let changes = [
            ("parameters", before.parameters, after.parameters),
            ("multiply-accumulates", before.macs, after.macs),
        ];
        for (name, before, after) in changes {
            let counts = change(&short(before), &short(after));
            let note = format!("{} are left", percent(after, before));
            tiles += &tile(name, &counts, &note);
        }
    }
    let sparsity = summaries.iter().rev().find_map(|summary| summary.sparsity);
    if let Some([expected, target]) = sparsity {
        let note = format!("aimed at {target:.4}");
        tiles += &tile("expected sparsity", &format!("{expected:.4}"), &note);
    }
    if let Some(distance) = first_and_last(summaries, |summary| summary.l1_and_cosine_distance) {
        let label = summaries.iter().find_map(|summary| summary.distance_label);
        let label = format!("dev {}", label.unwrap_or("distance")).replace(" - ", " − ");
        tiles += &tile(&label, &distance, "0: the student is its teacher");
    } else if let Some(loss) = first_and_last(summaries, |summary| summary.dev_loss) {
        tiles += &tile("dev loss", &loss, "before and after");
    }
    let updates: u64 = summaries.iter().map(|summary| summary.updates).sum();
    let seconds: f64 = summaries.iter().map(|summary| summary.seconds).sum();
    let note = format!("{} updates, pauses included", thousands(updates));
    tiles += &tile("time", &duration(seconds), &note);
    if let Some(speed) = median_speed(metrics) {
        let speed = format!("{speed:.1} s");
        tiles += &tile("audio a second", &speed, "median over the updates");
    }
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

fn tile(name: &str, value: &str, note: &str) -> String {
    format!("<div class=\"tile\"><span>{name}</span><b>{value}</b><span>{note}</span></div>\n")
}

/// Returns the sizes of the model that was written last: before its first phase, and now.
fn size_change(models: &[Vec<ModelChange>]) -> Option<(ModelSize, ModelSize)> {
    let last = models
        .iter()
        .flatten()
        .rfind(|model| model.after.is_some())?;
    let first = models
        .iter()
        .flatten()
        .find(|model| model.name == last.name)?;
    let before = ModelSize::new(first.before.as_ref()?);
    let after = ModelSize::new(last.after.as_ref()?);
    Some((before, after))
}

/// Formats the value before the first phase that has one and the value after the last such phase.
fn first_and_last(summaries: &[Summary], ends: fn(&Summary) -> Option<[f64; 2]>) -> Option<String> {
    let [before, _] = summaries.iter().find_map(ends)?;
    let [_, after] = summaries.iter().rev().find_map(ends)?;
    Some(change(&number(before), &number(after)))
}

/// Returns the median of `audio_per_second` over the updates of all phases.
fn median_speed(metrics: &[curves::PhaseCurves]) -> Option<f64> {
    let mut speeds = vec![];
    for phase in metrics {
        for (_, speed) in phase.curves.get("audio_per_second").into_iter().flatten() {
            if speed.is_finite() {
                speeds.push(*speed);
            }
        }
    }
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied()
}
