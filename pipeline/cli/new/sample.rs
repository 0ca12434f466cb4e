//! The sample's speech and teacher, which come beside the program and not in it.
use crate::ending::{CommandResult, WithPath};
use nodes::data::file::create_temporary_folder;
use nodes::data::printable::printable_path;
use nodes::node::contents::Contents;
use std::fs;
use std::path::{Path, PathBuf};

/// The list `HASH  PATH` of the sample's files.
const SUMS: &str = "BLAKE3SUMS";

/// Copies the sample to `target`, which appears when it is whole.
///
/// # Errors
/// There is no sample beside the program, or a file of it is missing or damaged.
pub(super) fn copy(target: &Path) -> CommandResult {
    let source = find().ok_or(
        "the sample does not come with this program: `cargo install` installs the program alone. \
         Install the wheel (`pip install`), which has it, or call `pipeline new` in the project's \
         repository",
    )?;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).with_path(parent)?;
    }
    let growing = create_temporary_folder(target)?;
    let copied = copy_files(&source, &growing).and_then(|()| {
        fs::rename(&growing, target).with_path(target)?;
        Ok(())
    });
    if copied.is_err() {
        let _ = fs::remove_dir_all(&growing);
    }
    copied
}

fn copy_files(source: &Path, target: &Path) -> CommandResult {
    let sums_path = source.join(SUMS);
    let sums = fs::read_to_string(&sums_path).with_path(&sums_path)?;
    for (expected, name) in sums.lines().filter_map(|line| line.split_once("  ")) {
        let from = source.join(name);
        let to = target.join(name);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_path(folder)?;
        }
        let bytes = fs::read(&from).with_path(&from)?;
        fs::write(&to, bytes).with_path(&to)?;
        if Contents::Files.hash(&to)? != expected {
            let from = printable_path(&from);
            return Err(format!("{from} is damaged: install the program again").into());
        }
    }
    fs::write(target.join(SUMS), sums).with_path(target)?;
    Ok(())
}

/// Returns the folder of the sample: in the Python package that the program was installed with, else
/// in the repository that it was built in, else in the working directory.
fn find() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let mut places = vec![];
    if let Some(prefix) = program.parent().and_then(Path::parent) {
        let packages = package_folders(prefix).into_iter();
        places.extend(packages.map(|folder| folder.join("ssl_compression/sample")));
    }
    for folder in program.ancestors().skip(1) {
        places.push(folder.join(super::SAMPLE));
    }
    places.push(super::SAMPLE.into());
    places.into_iter().find(|place| place.join(SUMS).is_file())
}

/// Returns where Python packages may lie that belong to a program in `prefix/bin`.
fn package_folders(prefix: &Path) -> Vec<PathBuf> {
    let mut folders = vec![prefix.to_owned()]; // pip install --target
    for library in ["lib", "lib64", "Lib"] {
        let library = prefix.join(library);
        folders.push(library.join("site-packages"));
        for entry in fs::read_dir(&library).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("python3") {
                folders.push(entry.path().join("site-packages"));
                folders.push(entry.path().join("dist-packages"));
            }
        }
    }
    folders.sort();
    folders
}
