//! Files of the hub by hf-hub, which keeps them in the folder of [`super::hub_cache`].
use super::{Source, hub_cache};
use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Repo, RepoType};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// One repository at one revision.
pub(super) struct Hub {
    repo: ApiRepo,
    names: BTreeSet<String>,
}

impl Hub {
    /// Asks the hub which files the repository has.
    ///
    /// # Errors
    /// The hub cannot be reached, or has no such repository.
    pub(super) fn open(repo: &str, revision: &str) -> Result<Hub, String> {
        let mut builder = ApiBuilder::from_env(); // which knows no HF_HUB_CACHE
        if let Some(root) = hub_cache::root() {
            builder = builder.with_cache_dir(root);
        }
        let api = builder.build().map_err(|error| error.to_string())?;
        let repo = Repo::with_revision(repo.into(), RepoType::Model, revision.into());
        let repo = api.repo(repo);
        let info = repo.info().map_err(|error| error.to_string())?;
        let names = info.siblings.into_iter().map(|file| file.rfilename);
        Ok(Hub {
            names: names.collect(),
            repo,
        })
    }
}

impl Source for Hub {
    fn find(&self, name: &str) -> Result<Option<PathBuf>, String> {
        if !self.names.contains(name) {
            return Ok(None);
        }
        let path = self.repo.get(name);
        path.map(Some).map_err(|error| format!("{name}: {error}"))
    }
}
