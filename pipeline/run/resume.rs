//! Where a run resumes.
use crate::graph::plan::Plan;
use crate::run::error::RunError;
use nodes::data::file::set_aside;
use nodes::kind::optimize::checkpoint::{self, Condition};
use nodes::node::report::Report;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The checkpoint to resume from: after `update` of the phase with this index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResumePoint {
    pub phase: usize,
    pub update: u64,
    pub path: PathBuf,
}

/// Finds the newest checkpoint of a run whose bytes are right, by phase and update in its name.
///
/// Newer ones that are damaged are renamed to `*.damaged` and reported. Returns `None` if the run
/// has written no checkpoint.
///
/// # Errors
/// A checkpoint cannot be read, or there are checkpoints and all of them are damaged.
pub fn newest(
    run: &Path,
    plan: &Plan,
    report: &dyn Report,
) -> Result<Option<ResumePoint>, RunError> {
    let folder = run.join("checkpoint");
    let mut damaged = vec![];
    for point in points(&folder, plan).into_iter().rev() {
        let phase = &plan.phases[point.phase].name;
        match checkpoint::check(&point.path, phase, point.update)? {
            Condition::Damaged(reason) => {
                let path = point.path.display();
                let new_name = set_aside(&point.path)?;
                let new_name = new_name.file_name().unwrap_or_default().display();
                damaged.push(format!(
                    "{path} is damaged: {reason}; it is now called {new_name}"
                ));
            }
            condition => {
                let path = point.path.display();
                for line in damaged {
                    report.say(&format!("{line}, and {path} is used instead"));
                }
                if matches!(condition, Condition::Unchecked) {
                    report.say(&format!(
                        "{path} has no checksum: an earlier version of the program wrote it; it \
                         is read as it is"
                    ));
                }
                return Ok(Some(point));
            }
        }
    }
    if damaged.is_empty() {
        for path in checkpoint::found_damaged(&folder) {
            damaged.push(format!("{} is damaged", path.display()));
        }
    }
    if damaged.is_empty() {
        return Ok(None);
    }
    let folder = folder.display();
    damaged.push(format!(
        "no checkpoint in {folder} is left to go on from; to begin anew, name another folder with \
         `--out`, or remove {folder} and call `--resume` again"
    ));
    Err(RunError::Failed(damaged.join("\n")))
}

/// Returns all checkpoints of the plan's phases, oldest first.
fn points(folder: &Path, plan: &Plan) -> Vec<ResumePoint> {
    let mut points = vec![];
    for (phase, update, path) in checkpoint::found(folder) {
        if let Some(phase) = plan.phases.iter().position(|p| p.name == phase) {
            points.push(ResumePoint {
                phase,
                update,
                path,
            });
        }
    }
    points.sort();
    points
}
