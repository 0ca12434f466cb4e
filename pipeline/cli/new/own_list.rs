//! A list of the user's in a folder of work. Its relative paths hold where the user is, so if the
//! folder is another one it gets a copy of the list with whole paths.
use super::path_in;
use crate::ending::{CommandError, CommandResult};
use nodes::data::manifest::{first_relative_path, write_with_whole_paths};
use nodes::data::printable::{printable, printable_path};
use std::fs;
use std::path::{Path, PathBuf, absolute};

/// A manifest that was given on the command line.
pub(super) struct OwnList {
    list: PathBuf,
    /// The path in the graph.
    pub(super) path: String,
    /// The copy, if one is made.
    pub(super) copy: Option<PathBuf>,
}

impl OwnList {
    /// Looks at a list, whose copy would be in the folder `set` of `dir`.
    pub(super) fn new(list: &Path, dir: &Path, set: &str) -> Result<OwnList, CommandError> {
        let mut own = OwnList {
            list: list.to_owned(),
            path: path_in(dir, list)?,
            copy: None,
        };
        let Some(first) = first_relative_path(list)? else {
            return Ok(own);
        };
        if absolute(dir.join(&first))? == absolute(&first)? {
            return Ok(own); // `dir` is the working directory
        }
        if Path::new(&first).exists() {
            let name = list.file_name().unwrap_or_default().to_string_lossy();
            own.path = format!("data/{set}/{}", name.trim_end_matches(".gz"));
            own.copy = Some(dir.join(&own.path));
        } else if !dir.join(&first).exists() {
            eprintln!(
                "warning: {} names {}, which is neither here nor in {}; paths in lists are relative to \
                 the working directory",
                printable_path(list),
                printable(&first),
                printable_path(dir)
            );
        }
        Ok(own)
    }

    /// Writes the copy, with the `segments` beside a `wav.scp`.
    pub(super) fn write(&self) -> CommandResult {
        let Some(copy) = &self.copy else {
            return Ok(());
        };
        let here = std::env::current_dir()?;
        write_with_whole_paths(&self.list, &here, copy)?;
        let segments = self.list.with_file_name("segments");
        if self.list.ends_with("wav.scp") && segments.is_file() {
            fs::copy(segments, copy.with_file_name("segments"))?;
        }
        eprintln!(
            "{} has relative paths: {} is a copy with whole ones",
            printable_path(&self.list),
            printable_path(copy)
        );
        Ok(())
    }
}
