//! `pipeline superb MODEL|fbank... --tasks T,T [--rates R,R] [--data small|DIR] [--out DIR] [--format
//! text|json|markdown]`: trains SUPERB's heads on frozen models and compares their scores.
//!
//! Each head is a run below `--out`, of a model, a task and a learning rate: a second call reads the
//! runs that are finished and goes on with the others. All runs share one cache, so the features of a
//! model are computed once for all rates.
mod rate;
mod score;
mod task;
mod trial;

use crate::ending::{CommandError, CommandResult};
use crate::print::{print, print_json};
use crate::screen::Screen;
use crate::signal::Signals;
use crate::table::{columns, markdown};
use crate::terminal::print_line;
use crate::{device, numbers};
use nodes::tool::inspect::inspect;
use nodes::tool::timing::real_time_factor_on_noise;
use pipeline::report::measured::student_of_run;
use rate::{Rate, rate};
use score::{ModelScores, Score, Scores};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use task::{Data, FOLDS, Task};
use trial::{Laboratory, Trial};

/// The name of log-mel frames as a model.
const FBANK: &str = "fbank";
/// The folder of the small sets, as their graphs name it.
const SMALL_SETS: &str = "data/superb";
/// Learning rates that are tried on the small sets.
const SMALL_RATES: [f64; 3] = [1e-4, 1e-3, 1e-2];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Models' folders or checkpoints, or fbank: log-mel frames
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// Tasks, such as ks,sid,er
    #[arg(long, value_delimiter = ',', required = true, value_name = "T,T")]
    tasks: Vec<String>,
    /// Learning rates of heads on means, or of a task (pr=1e-3); the best on the dev set counts
    /// [default: 1e-4,1e-3,1e-2 for means of the small sets, else the graph's]
    #[arg(long, value_delimiter = ',', value_name = "R,R", value_parser = rate)]
    rates: Vec<Rate>,
    /// The shipped small sets, or a folder of whole ones, as data/superb/prepare.py writes it
    #[arg(long, default_value = "small", value_name = "small|DIR", value_parser = data)]
    data: Data,
    /// The folder of the runs and their cache
    #[arg(long, default_value = "runs/superb", value_name = "DIR")]
    out: PathBuf,
    /// End every phase after N updates: a trial of the command, not a measurement
    #[arg(long, value_name = "N", value_parser = numbers::updates)]
    steps: Option<u64>,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: ScoresFormat,
    #[command(flatten)]
    device: device::Arguments,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ScoresFormat {
    Text,
    Json,
    Markdown,
}

fn data(text: &str) -> Result<Data, std::convert::Infallible> {
    Ok(Data::from(text.to_owned()))
}

impl Arguments {
    /// Measures every model on every task and prints the scores.
    pub(crate) fn run(self) -> CommandResult {
        let mut tasks = vec![];
        for (i, name) in self.tasks.iter().enumerate() {
            if !self.tasks[..i].contains(name) {
                tasks.push(Task::find(name, &self.data)?);
            }
        }
        if matches!(self.data, Data::Small) && !Path::new(SMALL_SETS).is_dir() {
            let message = format!(
                "there is no {SMALL_SETS} here: the small sets are in the project's repository; call the \
                 command there, or name a folder of whole sets with `--data`"
            );
            return Err(CommandError::Usage(message));
        }
        for task in self.rates.iter().filter_map(|rate| rate.task.as_ref()) {
            if !self.tasks.contains(task) {
                let message =
                    format!("`--rates` names the task `{task}`, which `--tasks` does not");
                return Err(CommandError::Usage(message));
            }
        }
        let mut models = vec![];
        for model in &self.models {
            models.push(describe(model)?);
        }
        let screen = Arc::new(Screen::without_history());
        let signals = Signals::catch_and_answer(&screen)?;
        let laboratory = Laboratory {
            out: self.out.clone(),
            device: self.device.choose()?,
            steps: self.steps,
            screen,
            stop: signals.stop.clone(),
        };
        let mut trials = vec![];
        for model in &models {
            for task in &tasks {
                trials.extend(self.trials(&model.model, task).into_iter().flatten());
            }
        }
        let missing = laboratory.missing(&trials)?;
        if !missing.is_empty() {
            return Err(CommandError::Failed(missing.join("\n")));
        }
        self.explain(&tasks);
        for model in &mut models {
            for task in &tasks {
                let score = self.score(&laboratory, &model.model, task)?;
                let Some(score) = score else {
                    eprintln!("stopped; the same command goes on");
                    return Err(signals.interruption());
                };
                model.scores.push(score);
            }
        }
        if !matches!(self.format, ScoresFormat::Json) {
            for model in models.iter_mut().filter(|model| model.model != FBANK) {
                let path = Path::new(&model.model);
                model.real_time_factor = real_time_factor_on_noise(path)?;
            }
        }
        let scores = Scores {
            tasks: &tasks,
            models,
        };
        match self.format {
            ScoresFormat::Json => print_json(&scores.json()),
            ScoresFormat::Text => {
                print(&columns(&scores.rows()))?;
                print_line(&scores.legend());
                Ok(())
            }
            ScoresFormat::Markdown => print(&format!(
                "{}\n{}\n",
                markdown(&scores.rows()),
                scores.legend()
            )),
        }
    }

    /// Says what the table does not: which tasks are not swept, and of how many folds there are.
    fn explain(&self, tasks: &[Task]) {
        for task in tasks {
            let name = &task.name;
            let has_general = self.rates.iter().any(|rate| rate.task.is_none());
            if !task.reads_means && has_general && self.own_rates(task).is_empty() {
                let own = task.own_rate();
                print_line(&format!(
                    "{name}: trained at its graph's rate, {own:e}; `--rates {name}=R` tries others"
                ));
            }
            if task.folds.len() > 1 || task.lacks_folds() {
                let count = task.folds.len();
                print_line(&format!("{name}: {count} of {FOLDS} folds are there"));
            }
        }
    }

    /// Returns the learning rates at which a task is tried.
    fn rates(&self, task: &Task) -> Vec<f64> {
        let own = self.own_rates(task);
        if !own.is_empty() {
            return own;
        }
        let general = self.rates.iter().filter(|rate| rate.task.is_none());
        let general: Vec<f64> = general.map(|rate| rate.rate).collect();
        match (task.reads_means, &general[..], &self.data) {
            (false, ..) => vec![task.own_rate()],
            (true, [], Data::Small) => SMALL_RATES.to_vec(),
            (true, [], Data::Folder(_)) => vec![task.own_rate()],
            (true, _, _) => general,
        }
    }

    /// Returns the learning rates that `--rates` has for this task by name.
    fn own_rates(&self, task: &Task) -> Vec<f64> {
        let is_own = |rate: &&Rate| rate.task.as_ref() == Some(&task.name);
        self.rates
            .iter()
            .filter(is_own)
            .map(|rate| rate.rate)
            .collect()
    }

    /// Lists the trials of each rate, one for each fold.
    fn trials<'a>(&self, model: &str, task: &'a Task) -> Vec<Vec<Trial<'a>>> {
        let of_rate = |rate: f64| {
            let folds = task.folds.iter().enumerate();
            let trial = |(fold, text): (usize, &'a String)| {
                let mut settings = vec![format!("upstream.model={}", serde_json::json!(model))];
                if task.reads_means || !self.own_rates(task).is_empty() {
                    settings.extend(task.rate_settings(rate));
                }
                let fold_name = match task.folds.len() {
                    1 => String::new(),
                    _ => format!("fold{}-", fold + 1),
                };
                let steps = self.steps.map(|steps| format!("-{steps}-updates"));
                let steps = steps.unwrap_or_default();
                let model = folder_name(model);
                Trial {
                    task,
                    fold: text,
                    name: format!("{model}/{}/{fold_name}{rate:e}{steps}", task.folder),
                    settings,
                }
            };
            folds.map(trial).collect()
        };
        self.rates(task).into_iter().map(of_rate).collect()
    }

    /// Trains heads of a task at all rates and scores the one that the dev set prefers; `None` after a
    /// signal.
    fn score(
        &self,
        laboratory: &Laboratory,
        model: &str,
        task: &Task,
    ) -> Result<Option<Score>, CommandError> {
        let mut best: Option<(f64, Score)> = None;
        for (rate, folds) in self.rates(task).into_iter().zip(self.trials(model, task)) {
            let mut dev = 0.0;
            let mut rows = vec![];
            let mut rule = None;
            for trial in &folds {
                let Some(measured) = laboratory.measure(trial)? else {
                    return Ok(None);
                };
                dev += measured.dev / folds.len() as f64;
                rows.extend(measured.rows);
                rule = Some(measured.rule);
            }
            let metric = &task.metric;
            let score = rule.and_then(|rule| Score::new(rule, &rows));
            let score =
                score.ok_or_else(|| format!("{}: no test row has `{metric}`", task.name))?;
            print_line(&format!(
                "{model}, {}, rate {rate:e}: dev {metric} {dev:.4}, test {:.4}",
                task.name, score.value
            ));
            let improves = best.as_ref().is_none_or(|(best, _)| match task.is_error {
                true => dev < *best,
                false => dev > *best,
            });
            if improves {
                best = Some((dev, score));
            }
        }
        Ok(best.map(|(_, score)| score))
    }
}

/// Describes a model before it is measured.
fn describe(model: &str) -> Result<ModelScores, CommandError> {
    let mut described = ModelScores {
        model: model.to_owned(),
        parameters: 0,
        macs: 0,
        real_time_factor: None,
        teacher: None,
        scores: vec![],
    };
    if model == FBANK {
        return Ok(described);
    }
    let path = Path::new(model);
    let inspected = inspect(path)?;
    described.parameters = inspected.parameters;
    described.macs = inspected.macs;
    if let Some(of_run) = student_of_run(path) {
        described.teacher = Some(of_run.teacher);
    }
    Ok(described)
}

/// Returns the name of a model's folder among the runs: its path, as far as it can be a name, and a
/// hash that tells paths apart.
fn folder_name(model: &str) -> String {
    if model == FBANK {
        return model.to_owned();
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let words: Vec<&str> = model
        .split(|c| !is_plain(c))
        .filter(|word| !word.is_empty())
        .collect();
    let words = words.join("-");
    let start = words.len().saturating_sub(60);
    let hash = blake3::hash(model.as_bytes()).to_hex();
    format!(
        "{}-{}",
        words[start..].trim_start_matches(['-', '.']),
        &hash[..8]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_folders_of_their_own() {
        let name = folder_name("runs/dphubert/distill/student");
        assert!(name.starts_with("runs-dphubert-distill-student-"), "{name}");
        assert_ne!(folder_name("a/b"), folder_name("a-b"));
        let long = folder_name(&format!("../{}", "é/x".repeat(200)));
        assert!(long.len() <= 70 && long.is_ascii(), "{long}");
        assert_eq!(folder_name("fbank"), "fbank");
    }
}
