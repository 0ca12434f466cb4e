//! measured.json of a run: what a student of it, its teacher and log-mel frames know of phones or
//! labels, and how fast the student is.
use super::recorded::{RecordedPhase, recorded_phases};
use nodes::node::contents::Contents;
use nodes::node::path_in_run;
use nodes::tool::model_options::ModelOptions;
use nodes::tool::probe::ProbeResult;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The contents of measured.json: what was measured last, and of the run's other students.
#[derive(Deserialize)]
struct AllMeasured {
    #[serde(flatten)]
    last: Measured,
    #[serde(default)]
    others: Vec<Measured>,
}

/// What was measured of a student.
#[derive(Deserialize, Serialize)]
pub struct Measured {
    /// The student's folder, below the run's.
    pub student: PathBuf,
    /// The table of phones or labels.
    pub labels: PathBuf,
    /// The teacher's folder.
    pub teacher: PathBuf,
    pub student_probe: ProbeResult,
    pub teacher_probe: ProbeResult,
    pub fbank_probe: ProbeResult,
    /// Seconds that the student computes for a second of audio.
    pub real_time_factor: f64,
    /// The same of the teacher; none if it was not measured.
    pub teacher_real_time_factor: Option<f64>,
    /// BLAKE3 of the student's files, if it was kept.
    #[serde(default)]
    pub student_hash: Option<String>,
    /// BLAKE3 of the table, if it was kept.
    #[serde(default)]
    pub labels_hash: Option<String>,
}

impl Measured {
    /// Returns the share of what the teacher's best layer gains over log-mel frames that the
    /// student's best layer keeps.
    pub fn gain_kept(&self) -> Option<f64> {
        let fbank = self.fbank_probe.best()?;
        let gain = self.teacher_probe.best()? - fbank;
        (gain > 0.0).then_some((self.student_probe.best()? - fbank) / gain)
    }

    /// Reads what was measured of the student in this folder below the run's.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(run: &Path, student: &Path) -> nodes::Result<Option<Measured>> {
        let mut all = read_all(run)?;
        let place = all.iter().position(|other| other.student == student);
        Ok(place.map(|place| all.swap_remove(place)))
    }

    /// Whether the run's student is another one since, as far as can be told.
    pub fn is_outdated(&self, run: &Path) -> bool {
        let now = Contents::Files.hash(&run.join(&self.student)).ok();
        let both = self.student_hash.as_ref().zip(now);
        both.is_some_and(|(then, now)| *then != now)
    }

    /// Writes the file of a run, whole or not at all, with what it has of other students.
    ///
    /// # Errors
    /// A file is there that cannot be read, or it cannot be written.
    pub fn write(&self, run: &Path) -> nodes::Result<()> {
        let mut others = read_all(run)?;
        others.retain(|other| other.student != self.student);
        let mut value = serde_json::to_value(self)?;
        if !others.is_empty() {
            value["others"] = serde_json::to_value(others)?;
        }
        let text = format!("{value:#}\n");
        nodes::data::file::write_atomic(&path(run), text.as_bytes())
    }
}

fn read_all(run: &Path) -> nodes::Result<Vec<Measured>> {
    let file = path(run);
    if !file.exists() {
        return Ok(vec![]);
    }
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let text = std::fs::read_to_string(&file).map_err(|e| named(&e))?;
    let all: AllMeasured = serde_json::from_str(&text).map_err(|e| named(&e))?;
    Ok(std::iter::once(all.last).chain(all.others).collect())
}

fn path(run: &Path) -> PathBuf {
    run.join("measured.json")
}

/// A student's folder in a run.
pub struct StudentOfRun {
    pub run: PathBuf,
    /// The folder below the run's.
    pub student: PathBuf,
    /// The model of the first teacher of the student's phase.
    pub teacher: PathBuf,
    /// What that node says of the model.
    pub teacher_options: ModelOptions,
}

/// Finds the run whose folder holds a student, and its teacher; `None` if the folder is of no run,
/// or of one without a teacher.
pub fn student_of_run(folder: &Path) -> Option<StudentOfRun> {
    let mut ancestors = folder.ancestors().skip(1).take(2);
    let run = ancestors.find(|parent| parent.join("run.json").is_file())?;
    let student = folder.strip_prefix(run).ok()?.to_owned();
    let text = std::fs::read_to_string(run.join("run.json")).ok()?;
    let record: Value = serde_json::from_str(&text).ok()?;
    let phases = recorded_phases(&record["graph"], run);
    let of_student = |phase: &&RecordedPhase| Some(&*phase.folder) == folder.parent();
    let phase = phases.iter().find(of_student)?;
    let mut nodes = phase.nodes.as_object()?.values();
    let teacher = nodes.find(|node| node["kind"] == "teacher")?;
    let model = teacher["model"].as_str()?;
    let keys = teacher["ignore_keys"].as_array().into_iter().flatten();
    let keys = keys.filter_map(|key| Some(key.as_str()?.to_owned()));
    Some(StudentOfRun {
        teacher_options: ModelOptions {
            ignore_keys: keys.collect(),
            normalize: teacher["normalize"].as_bool(),
        },
        teacher: path_in_run(model, run),
        run: run.to_owned(),
        student,
    })
}
