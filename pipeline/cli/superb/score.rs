//! The scores of models, as a table and as JSON.
use super::task::Task;
use nodes::node::outcomes::{Rule, bootstrap};
use pipeline::format::thousands;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// A model and its scores.
pub(super) struct ModelScores {
    /// As typed.
    pub(super) model: String,
    pub(super) parameters: u64,
    pub(super) macs: u64,
    /// Seconds that it computes for a second of audio; `None` if it was not timed.
    pub(super) real_time_factor: Option<f64>,
    /// The teacher of the run that made the model.
    pub(super) teacher: Option<PathBuf>,
    /// In the order of the tasks.
    pub(super) scores: Vec<Score>,
}

/// A metric of test rows.
pub(super) struct Score {
    pub(super) value: f64,
    /// The number of rows.
    pub(super) count: usize,
    /// The bounds of the 95 % bootstrap interval.
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Score {
    /// Computes the metric and its interval; `None` if the rows do not define it.
    pub(super) fn new(rule: Rule, rows: &[[f64; 2]]) -> Option<Score> {
        let [low, high] = bootstrap(rule, rows)?;
        Some(Score {
            value: rule.metric(rows)?,
            count: rows.len(),
            low,
            high,
        })
    }

    fn overlaps(&self, other: &Score) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// The scores of all models on all tasks.
pub(super) struct Scores<'a> {
    pub(super) tasks: &'a [Task],
    pub(super) models: Vec<ModelScores>,
}

impl Scores<'_> {
    /// Returns a list with an object for each model.
    pub(super) fn json(&self) -> Value {
        let models = self.models.iter().map(|model| {
            let mut tasks = Map::new();
            for (task, score) in self.tasks.iter().zip(&model.scores) {
                let score = json!({
                    task.metric.as_str(): score.value,
                    "n": score.count,
                    "low": score.low,
                    "high": score.high,
                });
                tasks.insert(task.name.clone(), score);
            }
            json!({
                "model": model.model,
                "parameters": model.parameters,
                "macs": model.macs,
                "tasks": tasks,
            })
        });
        models.collect()
    }

    /// Returns the rows of a table, the header first.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let mut header: Vec<String> = ["model", "parameters", "GMACs", "real-time factor"]
            .map(str::to_owned)
            .into();
        for (i, task) in self.tasks.iter().enumerate() {
            let count = self.models.first().map_or(0, |model| model.scores[i].count);
            let arrow = if task.is_error { "↓" } else { "↑" };
            header.push(format!(
                "{} {}{arrow} % (n = {count})",
                task.name, task.metric
            ));
        }
        header.extend(["overall", "gain kept %"].map(str::to_owned));
        let mut rows = vec![header];
        for model in &self.models {
            let mut row = vec![
                model.model.clone(),
                thousands(model.parameters),
                format!("{:.1}", model.macs as f64 / 1e9),
                model
                    .real_time_factor
                    .map_or("-".into(), |x| format!("{x:.4}")),
            ];
            for (i, score) in model.scores.iter().enumerate() {
                let mark = if self.is_as_good_as_best(i, score) {
                    " ="
                } else {
                    ""
                };
                let [value, low, high] = [score.value, score.low, score.high].map(|x| 100.0 * x);
                row.push(format!("{value:.1} [{low:.1}, {high:.1}]{mark}"));
            }
            row.push(format!("{:.1}", 100.0 * self.overall(model)));
            let gain = self.gain_kept(model);
            row.push(gain.map_or("-".into(), |gain| format!("{:.0}", 100.0 * gain)));
            rows.push(row);
        }
        rows
    }

    /// Returns what the table does not say of itself.
    pub(super) fn legend(&self) -> String {
        let mut text =
            "In brackets the 95 % bootstrap interval of the test rows; = marks what it does \
                        not tell apart from the best. Overall is the mean over the tasks, of error \
                        rates 100 less them. The real-time factor is of rows of 15 s, one at a \
                        time, in f32 on this machine."
                .to_owned();
        if self
            .models
            .iter()
            .any(|model| self.gain_kept(model).is_some())
        {
            text += " Gain kept is the share of what the teacher's overall gains over fbank's.";
        }
        text
    }

    /// Whether the interval of a score overlaps that of the best on its task.
    fn is_as_good_as_best(&self, task: usize, score: &Score) -> bool {
        let scores = self.models.iter().map(|model| &model.scores[task]);
        let best = match self.tasks[task].is_error {
            true => scores.min_by(|a, b| a.value.total_cmp(&b.value)),
            false => scores.max_by(|a, b| a.value.total_cmp(&b.value)),
        };
        self.models.len() > 1 && best.is_some_and(|best| best.overlaps(score))
    }

    /// Returns the mean over the tasks, of an error rate 1 less it.
    fn overall(&self, model: &ModelScores) -> f64 {
        let scores = self.tasks.iter().zip(&model.scores);
        let goodness = scores.map(|(task, score)| match task.is_error {
            true => 1.0 - score.value,
            false => score.value,
        });
        goodness.sum::<f64>() / self.tasks.len() as f64
    }

    /// Returns the share of its teacher's gain over fbank that a model keeps, if both are in the
    /// table.
    fn gain_kept(&self, model: &ModelScores) -> Option<f64> {
        let teacher = model.teacher.as_ref()?.canonicalize().ok()?;
        let is_teacher = |other: &&ModelScores| {
            let path = std::path::Path::new(&other.model).canonicalize();
            path.is_ok_and(|path| path == teacher)
        };
        let teacher = self.models.iter().find(is_teacher)?;
        let fbank = self
            .models
            .iter()
            .find(|other| other.model == super::FBANK)?;
        let gain = self.overall(teacher) - self.overall(fbank);
        (gain > 0.0).then(|| (self.overall(model) - self.overall(fbank)) / gain)
    }
}
