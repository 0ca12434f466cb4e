//! The run in a few numbers, each in a tile.
use super::models::{ModelChange, ModelSize};
use super::scores::Score;
use super::summary::Summary;
use crate::format::{change, duration, loss_text, percent, short, thousands};
use nodes::chart::curves;
use nodes::chart::scale::number;
use nodes::chart::svg::escape;

/// Returns the tiles of a run, from the summaries, models, scores and metrics of its phases.
pub(super) fn tiles(
    summaries: &[Summary],
    models: &[Vec<ModelChange>],
    scores: &[Option<Vec<Score>>],
    metrics: &[curves::PhaseCurves],
) -> String {
    let mut tiles = String::new();
    // The last phase that scores rows shows what the run is about.
    let mut counting = scores.iter().rev().flatten().flatten();
    if let Some(score) = counting.find(|score| score.rows.is_some()) {
        tiles += &tile(&escape(&score.name), &score.value(), &score.note());
    }
    if let Some(change) = size_change(models) {
        let counts = [
            (
                "parameters",
                change.before.parameters,
                change.after.parameters,
            ),
            (
                "multiply-accumulates",
                change.before.macs,
                change.after.macs,
            ),
        ];
        for (name, before, after) in counts {
            let share = percent(after, before);
            let before = short(before);
            let note = match change.is_from_teacher {
                true => format!("{share} of the teacher's {before}"),
                false => format!("{share} of {before} before"),
            };
            tiles += &tile(name, &short(after), &note);
        }
    }
    let mut pruning = summaries.iter().rev();
    if let Some(summary) = pruning.find(|summary| summary.sparsity.is_some())
        && let Some([expected, target]) = summary.sparsity
    {
        let written = summary.written_sparsity;
        let written = written.map_or(String::new(), |share| format!("{share:.4} written, "));
        let note = format!("{written}aimed at {target:.4}");
        tiles += &tile("sparsity", &format!("{expected:.4} expected"), &note);
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

/// How the size of a model changed.
struct SizeChange {
    before: ModelSize,
    /// Whether `before` is the teacher's size, not the model's own.
    is_from_teacher: bool,
    after: ModelSize,
}

/// Returns the sizes of the model that was written last, and of its teacher. Without a teacher, of
/// the model before its first phase.
fn size_change(models: &[Vec<ModelChange>]) -> Option<SizeChange> {
    let last = models
        .iter()
        .flatten()
        .rfind(|model| model.after.is_some())?;
    let after = ModelSize::new(last.after.as_ref()?);
    if let Some(teacher) = &last.teacher {
        return Some(SizeChange {
            before: *teacher,
            is_from_teacher: true,
            after,
        });
    }
    let mut same = models
        .iter()
        .flatten()
        .filter(|model| model.name == last.name);
    let before = ModelSize::new(same.next()?.before.as_ref()?);
    Some(SizeChange {
        before,
        is_from_teacher: false,
        after,
    })
}

/// Formats the value before the first phase that has one and the value after the last such phase.
fn first_and_last(summaries: &[Summary], ends: fn(&Summary) -> Option<[f64; 2]>) -> Option<String> {
    let [before, _] = summaries.iter().find_map(ends)?;
    let [_, after] = summaries.iter().rev().find_map(ends)?;
    Some(change(&number_or_not(before), &number_or_not(after)))
}

fn number_or_not(value: f64) -> String {
    match value.is_finite() {
        true => number(value),
        false => loss_text(value),
    }
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
