//! Runs the program, and gives each test a folder of its own.
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Returns the folder of the repository, with its graphs and sample data.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the command `pipeline ARGUMENTS`, to be run in `folder`. What it keeps for the user is
/// not kept in the folder of the user who tests.
pub(crate) fn pipeline(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
    command.current_dir(folder).args(arguments);
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs a command to its end.
pub(crate) fn execute(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// Runs `pipeline ARGUMENTS` in `folder` to its end.
pub(crate) fn call(folder: &Path, arguments: &[&str]) -> Output {
    execute(&mut pipeline(folder, arguments))
}

/// Runs `pipeline ARGUMENTS` in `folder` and returns its stdout; it must succeed.
pub(crate) fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = call(folder, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `pipeline ARGUMENTS` in `folder` and parses its stdout as JSON; it must succeed.
pub(crate) fn stdout_json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(folder, arguments)).unwrap()
}

/// Returns the stderr of a finished command.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the last line of the stderr of a finished command.
pub(crate) fn last_line(output: &Output) -> String {
    stderr(output).lines().last().unwrap_or_default().to_owned()
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// An empty folder, removed at the end of its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Creates the folder; `name` must be unique among the tests.
    pub(crate) fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("pipeline-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        Folder(folder)
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
