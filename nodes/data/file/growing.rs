//! Files and folders under temporary names, until they are complete.
//!
//! A temporary name is the final one with `.tmp-` and 16 hex digits drawn at random. Its writer
//! creates it only if it is new, and holds a lock on it until it is renamed: others can then tell a
//! file that grows from one whose writer is dead, also in another container or on another host,
//! where process numbers mean nothing.
use super::rename_and_sync;
use crate::Result;
use crate::data::error::PathContext;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

const MARK: &str = ".tmp-";
const DIGITS: usize = 16;
/// How often another name is drawn when one cannot be had.
const ATTEMPTS: usize = 16;

/// Draws a temporary name beside `path`.
fn temporary(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; DIGITS / 2];
    getrandom::fill(&mut random)?;
    let digits = format!("{:016x}", u64::from_le_bytes(random));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(MARK);
    name.push(digits);
    Ok(path.with_file_name(name))
}

/// Returns the final name of a file with this temporary name; `None` for other names.
pub(super) fn final_name(name: &str) -> Option<&str> {
    let (name, digits) = name.rsplit_once(MARK)?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digits.len() == DIGITS && digits.bytes().all(is_hex)).then_some(name)
}

/// Creates and locks a file; `None` if it exists, or if somebody who clears leftovers has taken it
/// before it was locked.
///
/// Where the file system has no locks, the file is not locked.
fn create_locked(path: &Path) -> io::Result<Option<File>> {
    let file = match File::create_new(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        created => created?,
    };
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Ok(None);
    }
    Ok(path.try_exists()?.then_some(file))
}

/// Calls `create` with temporary names of `path` until it succeeds.
fn create_new<T>(path: &Path, create: impl Fn(PathBuf) -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..ATTEMPTS {
        if let Some(created) = create(temporary(path)?)? {
            return Ok(created);
        }
    }
    let message = "no new temporary file can be had beside it";
    Err(io::Error::new(ErrorKind::AlreadyExists, message))
}

/// A file under a temporary name, which is removed unless the file is finished.
pub(crate) struct GrowingFile {
    file: File,
    growing: PathBuf,
    path: PathBuf,
}

impl GrowingFile {
    /// Begins the file that will be called `path`. Its folder must exist.
    pub(crate) fn create(path: &Path) -> io::Result<GrowingFile> {
        create_new(path, |growing| {
            let file = create_locked(&growing)?;
            Ok(file.map(|file| GrowingFile {
                file,
                growing,
                path: path.to_owned(),
            }))
        })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the file and gives it its final name.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        rename_and_sync(&self.growing, &self.path)
    }
}

impl Write for GrowingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for GrowingFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.growing); // a finished file has another name
    }
}

/// A folder of files under a temporary name, which is removed unless the folder is finished.
pub(crate) struct GrowingFolder {
    /// All files so far, locked.
    files: Vec<File>,
    growing: PathBuf,
    path: PathBuf,
}

impl GrowingFolder {
    /// Begins the folder that will be called `path` with its first file. Errors name `path`.
    pub(crate) fn create(path: &Path, first: &str, bytes: &[u8]) -> Result<GrowingFolder> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at(path)?;
        }
        let created = create_new(path, |growing| {
            match fs::create_dir(&growing) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
                created => created?,
            }
            let file = match create_locked(&growing.join(first)) {
                // Somebody who clears leftovers has removed the folder while it was empty.
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                file => file.inspect_err(|_| drop(fs::remove_dir(&growing)))?,
            };
            Ok(file.map(|file| GrowingFolder {
                files: vec![file],
                growing,
                path: path.to_owned(),
            }))
        });
        let mut folder = created.at(path)?;
        let file = &mut folder.files[0];
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .at(&path.join(first))?;
        Ok(folder)
    }

    /// Writes and syncs a file in the folder. Errors name the file's final path.
    pub(crate) fn write(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<()> {
        let path = self.path.join(name);
        let created = create_locked(&self.growing.join(name)).at(&path)?;
        let mut file = created.ok_or("somebody else writes it").at(&path)?;
        write(&mut file).at(&path)?;
        file.sync_all().at(&path)?;
        self.files.push(file);
        Ok(())
    }

    /// Creates a folder in the folder, for names of files such as `name/file`.
    pub(crate) fn create_folder(&mut self, name: &str) -> Result<()> {
        fs::create_dir_all(self.growing.join(name)).at(&self.path.join(name))
    }

    /// Replaces the folder of the final name, if there is one. Errors name it.
    pub(crate) fn finish(self) -> Result<()> {
        let path = &self.path;
        #[cfg(unix)] // Windows opens no folders
        File::open(&self.growing)
            .and_then(|folder| folder.sync_all())
            .at(path)?;
        if path.exists() {
            fs::remove_dir_all(path).at(path)?;
        }
        rename_and_sync(&self.growing, path).at(path)
    }

    /// Replaces the files `replaced` of a folder of the final name, if there is one, and keeps what
    /// else somebody put there. Errors name it.
    pub(crate) fn finish_among(self, replaced: &[&str]) -> Result<()> {
        let path = self.path.clone();
        if !path.is_dir() {
            return self.finish();
        }
        let before = temporary(&path).at(&path)?;
        fs::rename(&path, &before).at(&path)?;
        self.finish()?;
        for entry in fs::read_dir(&before).at(&before)? {
            let old = entry.at(&before)?.path();
            let name = old.file_name().unwrap_or_default();
            let new = path.join(name);
            let is_replaced = name.to_str().is_some_and(|name| replaced.contains(&name));
            if is_replaced || new.exists() {
                fs::remove_file(&old).at(&old)?;
            } else {
                fs::rename(&old, new).at(&old)?;
            }
        }
        fs::remove_dir(&before).at(&before)
    }
}

impl Drop for GrowingFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.growing); // a finished folder has another name
    }
}

/// Creates a folder of a new temporary name beside `path`, for the caller to remove. Errors name
/// `path`.
pub fn create_temporary_folder(path: &Path) -> Result<PathBuf> {
    create_new(path, |folder| match fs::create_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        created => created.map(|()| Some(folder)),
    })
    .at(path)
}
