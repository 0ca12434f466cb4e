//! What a phase without an optimizer measured: each metric, with the number of its rows and the
//! interval in which it lies if rows are drawn again.
use crate::format::thousands;
use crate::graph::plan::{Phase, Plan};
use nodes::chart::curves::PhaseCurves;
use nodes::chart::scale::number;
use nodes::chart::svg::escape;
use nodes::node::outcomes::{OUTCOMES_FILE, Outcomes, bootstrap, read_outcomes};
use std::path::Path;

/// A metric of a phase.
pub(super) struct Score {
    /// As in metrics.jsonl, `test/accuracy`.
    pub(super) name: String,
    value: f64,
    /// Of a metric that counts rows.
    pub(super) rows: Option<ScoredRows>,
}

/// How sure a metric is.
pub(super) struct ScoredRows {
    count: usize,
    /// The bounds of the 95 % bootstrap interval.
    bounds: [f64; 2],
}

/// Returns the metrics of a phase that has no optimizer, those that count rows first. `curves` are
/// its lines of metrics.jsonl.
pub(super) fn scores(plan: &Plan, run: &Path, phase: &Phase, curves: &PhaseCurves) -> Vec<Score> {
    let folder = plan.folder(phase, run);
    let mut outcomes = vec![];
    for node in &phase.nodes {
        // A node that counts no rows has no such file; of one that cannot be read, as of one that
        // was removed, the metric is shown alone.
        let found = read_outcomes(&folder.join(node.name()).join(OUTCOMES_FILE));
        outcomes.extend(
            found
                .unwrap_or_default()
                .into_iter()
                .map(|o| (node.name(), o)),
        );
    }
    let mut scores = vec![];
    for (name, points) in &curves.curves {
        let Some((_, value)) = points.last().filter(|(_, value)| value.is_finite()) else {
            continue;
        };
        let of_metric = outcomes.iter().find(|(node, outcomes)| {
            let metric = &outcomes.metric;
            *name == format!("test/{metric}") || *name == format!("test/{node}/{metric}")
        });
        scores.push(Score {
            name: name.clone(),
            value: *value,
            rows: of_metric.and_then(|(_, outcomes)| ScoredRows::new(outcomes)),
        });
    }
    scores.sort_by_key(|score| score.rows.is_none());
    scores
}

impl ScoredRows {
    fn new(outcomes: &Outcomes) -> Option<ScoredRows> {
        let rows: Vec<[f64; 2]> = outcomes.rows.iter().map(|row| row.numbers).collect();
        Some(ScoredRows {
            count: rows.len(),
            bounds: bootstrap(outcomes.rule, &rows)?,
        })
    }

    fn interval(&self) -> String {
        let [low, high] = self.bounds.map(number);
        format!("{low} to {high}")
    }
}

impl Score {
    pub(super) fn value(&self) -> String {
        number(self.value)
    }

    /// Returns what stands below the value in a tile; empty if the metric counts no rows.
    pub(super) fn note(&self) -> String {
        self.rows.as_ref().map_or(String::new(), |rows| {
            format!(
                "n = {}, 95 %: {}",
                thousands(rows.count as u64),
                rows.interval()
            )
        })
    }
}

/// Returns the table of these metrics, and what it shows.
pub(super) fn table(scores: &[Score]) -> String {
    let mut rows = String::new();
    for score in scores {
        let count = score.rows.as_ref().map(|rows| thousands(rows.count as u64));
        let interval = score.rows.as_ref().map(ScoredRows::interval);
        rows += &format!("<tr><td>{}</td>", escape(&score.name));
        for cell in [Some(score.value()), interval, count] {
            rows += &format!("<td class=\"number\">{}</td>", cell.unwrap_or_default());
        }
        rows += "</tr>\n";
    }
    let mut head = "<tr><th>metric</th>".to_owned();
    for column in ["value", "95 % interval", "n"] {
        head += &format!("<th class=\"number\">{column}</th>");
    }
    let mut html = format!("<div class=\"wide\"><table>\n{head}</tr>\n{rows}</table></div>\n");
    if scores.iter().any(|score| score.rows.is_some()) {
        html += "<p class=\"faint\">The interval holds the metric 95 times of 100 when as many rows are \
                 drawn again, with repetition, from the n that were scored. Accuracies and error rates \
                 are fractions of one.</p>\n";
    }
    html
}
