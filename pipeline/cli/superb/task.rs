//! The tasks: their graphs, which ship with the program, and what the graphs say of them.
use crate::ending::CommandError;
use nodes::data::suggestion::suggestion;
use serde_json::Value;
use std::path::Path;

/// Name below `graphs/superb` and text of each graph; the build script lists the folder.
const GRAPHS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/superb.rs"));

/// The folder of the graphs of small sets.
const SMALL: &str = "small/";
/// The folder of prepared data sets in the graphs of whole sets.
const DATA: &str = "data/superb/full";
/// The folds of a task that has some: IEMOCAP's sessions.
pub(super) const FOLDS: usize = 5;
/// The folder of the first fold in a graph of a task with folds.
const FIRST_FOLD: &str = "/fold1/";

/// Where the speech of the tasks is.
#[derive(Clone)]
pub(super) enum Data {
    /// The small sets that ship.
    Small,
    /// A folder of whole sets, as data/superb/prepare.py writes it.
    Folder(String),
}

impl From<String> for Data {
    fn from(text: String) -> Data {
        match text.as_str() {
            "small" => Data::Small,
            _ => Data::Folder(text),
        }
    }
}

/// A task on a data set.
pub(super) struct Task {
    pub(super) name: String,
    /// The name of its folder among the runs, which other data have not.
    pub(super) folder: String,
    /// The graph's path in the repository.
    pub(super) file: String,
    /// The metric, by its name in metrics.jsonl without `dev/`.
    pub(super) metric: String,
    /// Whether the metric is an error rate, of which less is better.
    pub(super) is_error: bool,
    /// Whether its head reads one mean an utterance, so that rates are cheap to try.
    pub(super) reads_means: bool,
    /// The text of the graph for each fold; one if there are none.
    pub(super) folds: Vec<String>,
    /// The graph of the first fold.
    pub(super) graph: Value,
}

impl Task {
    /// Finds a task.
    ///
    /// # Errors
    /// No graph of this data is called so; the message has the nearest name.
    pub(super) fn find(name: &str, data: &Data) -> Result<Task, CommandError> {
        let folder = match data {
            Data::Small => SMALL,
            Data::Folder(_) => "",
        };
        let of_data = |graph: &str| -> Option<&'static str> {
            let found = GRAPHS.iter().find(|(path, _)| *path == graph);
            found.map(|(_, text)| *text)
        };
        let text = of_data(&format!("{folder}{name}")).ok_or_else(|| unknown(name, folder))?;
        let folds = match data {
            Data::Small => vec![text.to_owned()],
            Data::Folder(path) => folds(text, path),
        };
        let graph: Value = serde_json::from_str(&folds[0])?;
        let nodes = &graph["phases"][0]["nodes"];
        let best = &nodes["step"]["best"];
        let metric = best["metric"].as_str().unwrap_or_default();
        Ok(Task {
            name: name.to_owned(),
            folder: match data {
                Data::Small => name.to_owned(),
                Data::Folder(path) => {
                    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
                    let hash = blake3::hash(whole.as_os_str().as_encoded_bytes()).to_hex();
                    format!("{name}-{}", &hash[..8])
                }
            },
            file: format!("graphs/superb/{folder}{name}.json"),
            metric: metric.trim_start_matches("dev/").to_owned(),
            is_error: best["goal"] == "min",
            reads_means: nodes["upstream"]["pool"] == "mean",
            folds,
            graph,
        })
    }

    /// Whether folds of this task are not there.
    pub(super) fn lacks_folds(&self) -> bool {
        self.folds.iter().any(|text| text.contains(FIRST_FOLD)) && self.folds.len() < FOLDS
    }

    /// Returns the settings that give all heads a learning rate.
    pub(super) fn rate_settings(&self, rate: f64) -> Vec<String> {
        let rates = &self.graph["phases"][0]["nodes"]["step"]["rates"];
        let nodes = rates.as_object().into_iter().flatten();
        nodes
            .map(|(node, _)| format!("step.rates.{node}={rate}"))
            .collect()
    }

    /// Returns the learning rate of the graph: that of the first head.
    pub(super) fn own_rate(&self) -> f64 {
        let rates = &self.graph["phases"][0]["nodes"]["step"]["rates"];
        let mut rates = rates.as_object().into_iter().flatten();
        rates.find_map(|(_, rate)| rate.as_f64()).unwrap_or(0.0)
    }

    /// Returns the names of the first and the last phase, which train and score the head.
    pub(super) fn phases(&self) -> [&str; 2] {
        let phases = self.graph["phases"].as_array();
        let phases = phases.map_or(&[][..], Vec::as_slice);
        [phases.first(), phases.last()].map(|phase| {
            let name = phase.and_then(|phase| phase["name"].as_str());
            name.unwrap_or_default()
        })
    }
}

fn unknown(name: &str, folder: &str) -> CommandError {
    let of_folder = |path: &&'static str| {
        path.rsplit_once('/').map_or("", |(f, _)| f) == folder.trim_end_matches('/')
    };
    let known = GRAPHS.iter().map(|(path, _)| *path).filter(of_folder);
    let names: Vec<&str> = known.map(|path| path.trim_start_matches(folder)).collect();
    let suggestion = suggestion(name, names.iter().copied());
    let names = names.join(", ");
    CommandError::Usage(format!(
        "no task `{name}`{suggestion}; tasks on this data are {names}"
    ))
}

/// Returns the graph with the data in `folder`, for each fold that is there.
fn folds(text: &str, folder: &str) -> Vec<String> {
    let quoted = Value::from(folder.trim_end_matches('/')).to_string();
    let moved = text.replace(
        &format!("\"{DATA}/"),
        &format!("{}/", quoted.trim_end_matches('"')),
    );
    if !text.contains(FIRST_FOLD) {
        return vec![moved];
    }
    let mut folds = vec![];
    for fold in 1.. {
        let name = format!("/fold{fold}/");
        let task = text
            .split(FIRST_FOLD)
            .next()
            .and_then(|before| before.rsplit('/').next());
        let fold_folder = Path::new(folder)
            .join(task.unwrap_or_default())
            .join(&name[1..]);
        if fold > 1 && !fold_folder.exists() {
            break;
        }
        folds.push(moved.replace(FIRST_FOLD, &name));
    }
    folds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_what_their_graphs_say() {
        let task = Task::find("ks", &Data::Small).unwrap_or_else(|e| panic!("{}", e.message()));
        assert_eq!(task.metric, "accuracy");
        assert!(!task.is_error && task.reads_means);
        assert_eq!(task.phases(), ["train", "test"]);
        let settings = task.rate_settings(0.01);
        assert_eq!(
            settings,
            ["step.rates.mix=0.01", "step.rates.classifier=0.01"]
        );
        assert_eq!(task.own_rate(), 0.001);
    }

    #[test]
    fn an_unknown_task_is_a_usage_error() {
        let error = Task::find("kz", &Data::Small).err().expect("no such task");
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.message().starts_with("no task `kz`"),
            "{}",
            error.message()
        );
    }

    #[test]
    fn whole_sets_may_lie_elsewhere() {
        let folder = std::env::temp_dir().join(format!("superb-folds-{}", std::process::id()));
        for fold in 1..=3 {
            std::fs::create_dir_all(folder.join(format!("er/fold{fold}"))).unwrap();
        }
        let data = Data::from(folder.to_str().unwrap().to_owned());
        let task = Task::find("er", &data).unwrap_or_else(|e| panic!("{}", e.message()));
        assert_eq!(task.folds.len(), 3);
        let third = folder.join("er/fold3/test.tsv");
        assert!(
            task.folds[2].contains(third.to_str().unwrap()),
            "{}",
            task.folds[2]
        );
        assert!(!task.folds[2].contains(DATA));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
