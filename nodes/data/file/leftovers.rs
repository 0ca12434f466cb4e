//! What killed processes leave of files and folders that they were writing.
use super::growing::final_name;
use std::fs::{self, File, FileType, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the file system has no locks, a file whose last change is older has no writer.
const AGE_WITHOUT_LOCKS: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes temporary files in `folder`, not below, whose writers are dead and whose final names
/// `is_ours` accepts. Links are never followed.
pub fn remove_leftovers(folder: &Path, is_ours: &dyn Fn(&str) -> bool) {
    for path in leftovers(folder, is_ours, FileType::is_file) {
        remove_files(&[path]);
    }
}

/// Removes temporary folders in `folder`, as [`remove_leftovers`] removes files. A folder that holds
/// anything but `files` stays.
pub fn remove_leftover_folders(folder: &Path, is_ours: &dyn Fn(&str) -> bool, files: &[&str]) {
    for path in leftovers(folder, is_ours, FileType::is_dir) {
        remove_folder(&path, files);
    }
}

/// Returns what has a temporary name of a final name that `is_ours` accepts, and is of this type.
fn leftovers(
    folder: &Path,
    is_ours: &dyn Fn(&str) -> bool,
    is_type: fn(&FileType) -> bool,
) -> Vec<PathBuf> {
    let mut paths = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().and_then(final_name);
        let is_leftover = name.is_some_and(|name| !name.is_empty() && is_ours(name));
        if is_leftover && entry.file_type().is_ok_and(|found| is_type(&found)) {
            paths.push(entry.path());
        }
    }
    paths
}

fn remove_folder(folder: &Path, ours: &[&str]) {
    let mut paths = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let Ok(entry) = entry else {
            return;
        };
        let is_file = entry.file_type().is_ok_and(|found| found.is_file());
        let name = entry.file_name();
        if !is_file || !ours.iter().any(|ours| name == *ours) {
            return;
        }
        paths.push(entry.path());
    }
    if remove_files(&paths) {
        let _ = fs::remove_dir(folder); // fails if somebody has put a file into it
    }
}

/// Removes files if the writers of all of them are dead. Returns whether they are.
fn remove_files(paths: &[PathBuf]) -> bool {
    let mut locks = vec![]; // held until all are removed
    for path in paths {
        match lock(path) {
            Some(lock) => locks.push(lock),
            None => return false,
        }
    }
    for path in paths {
        let _ = fs::remove_file(path); // the next run tries again
    }
    true
}

/// Locks a file whose writer is dead; `None` if it lives, or if nothing tells.
fn lock(path: &Path) -> Option<File> {
    // Some file systems lock only files that are open to write.
    let file = File::options().read(true).write(true).open(path).ok()?;
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(_)) => {
            let age = file.metadata().ok()?.modified().ok()?.elapsed().ok()?;
            (age > AGE_WITHOUT_LOCKS).then_some(file)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::file::{GrowingFile, GrowingFolder, create_temporary_folder};
    use std::io::Write;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn test_folder(test: &str) -> PathBuf {
        create_temporary_folder(&std::env::temp_dir().join(format!("leftovers-{test}"))).unwrap()
    }

    fn is_ours(name: &str) -> bool {
        ["run.json", "student"].contains(&name)
    }

    #[test]
    fn only_files_of_dead_writers_go() {
        let folder = test_folder("files");
        let kept = [
            "run.json.tmp-0123456789abcde",   // a digit short
            "run.json.tmp-0123456789abcdeg",  // no hex
            "run.json.tmp4194999",            // an earlier version's, or a user's
            "notes.txt.tmp-0123456789abcdef", // not ours
            ".tmp-0123456789abcdef",
            "run.json",
        ];
        for name in kept.iter().chain(&["run.json.tmp-0123456789abcdef"]) {
            fs::write(folder.join(name), "").unwrap();
        }
        let mut living = GrowingFile::create(&folder.join("run.json")).unwrap();
        remove_leftovers(&folder, &is_ours);
        assert_eq!(names(&folder).len(), kept.len() + 1);
        assert!(kept.iter().all(|name| folder.join(name).exists()));
        living.write_all(b"{}").unwrap();
        living.finish().unwrap();
        assert_eq!(names(&folder).len(), kept.len());
        assert_eq!(fs::read(folder.join("run.json")).unwrap(), b"{}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_folders_of_dead_writers_go() {
        let folder = test_folder("folders");
        for (name, file) in [
            ("student.tmp-0000000000000001", "config.json"),
            ("student.tmp-0000000000000002", "diary.txt"), // a user's file
            ("mine.tmp-0000000000000003", "config.json"),
        ] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join(file), "").unwrap();
        }
        fs::create_dir(folder.join("student.tmp-0000000000000004")).unwrap();
        let path = folder.join("student");
        let mut living = GrowingFolder::create(&path, "config.json", b"{}").unwrap();
        living
            .write("model.safetensors", |file| file.write_all(b"weights"))
            .unwrap();
        let files = ["config.json", "model.safetensors"];
        remove_leftover_folders(&folder, &is_ours, &files);
        assert_eq!(names(&folder).len(), 3, "{:?}", names(&folder));
        fs::create_dir(&path).unwrap();
        for old in ["config.json", "cmvn.safetensors", "diary.txt"] {
            fs::write(path.join(old), "old").unwrap();
        }
        let ours = ["config.json", "cmvn.safetensors"];
        living.finish_among(&ours).unwrap();
        let left = [
            "mine.tmp-0000000000000003",
            "student",
            "student.tmp-0000000000000002",
        ];
        assert_eq!(names(&folder), left);
        // The model is another, the user's file is the same.
        let whole = ["config.json", "diary.txt", "model.safetensors"];
        assert_eq!(names(&path), whole);
        assert_eq!(fs::read(path.join("config.json")).unwrap(), b"{}");
        fs::remove_dir_all(folder).unwrap();
    }
}
