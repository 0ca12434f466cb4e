//! The folder in which programs of Hugging Face keep what they have downloaded:
//! `models--OWNER--NAME/refs/BRANCH`, which holds a commit, and `snapshots/COMMIT/FILE`.
use super::Source;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of one repository at one commit.
pub(super) struct HubCache {
    snapshot: PathBuf,
}

impl HubCache {
    /// Finds a repository that was downloaded before.
    ///
    /// # Errors
    /// It was not, or not at this revision.
    pub(super) fn open(repo: &str, revision: &str) -> Result<HubCache, String> {
        let root = root().ok_or("no folder is known for the hub's files; set HF_HOME")?;
        let folder = root.join(format!("models--{}", repo.replace('/', "--")));
        let missing = format!("it is not among the hub's files in {}", root.display());
        if !folder.is_dir() {
            return Err(missing);
        }
        let is_plain = !revision.is_empty() && !revision.contains("..");
        let commit = is_plain
            .then(|| fs::read_to_string(folder.join("refs").join(revision)).ok())
            .flatten();
        let commit = commit.map_or_else(|| revision.to_owned(), |text| text.trim().to_owned());
        let snapshot = folder.join("snapshots").join(commit);
        match is_plain && snapshot.is_dir() {
            true => Ok(HubCache { snapshot }),
            false => Err(format!("{missing} at the revision {revision}")),
        }
    }
}

impl Source for HubCache {
    fn find(&self, name: &str) -> Result<Option<PathBuf>, String> {
        let path = self.snapshot.join(name);
        Ok(path.is_file().then_some(path))
    }
}

/// Returns the folder of all repositories.
pub(super) fn root() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    // The second is the older name of the first.
    if let Some(cache) = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")) {
        return Some(cache.into());
    }
    if let Some(home) = set("HF_HOME") {
        return Some(Path::new(&home).join("hub"));
    }
    let caches = set("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    Some(caches?.join("huggingface/hub"))
}
