//! The files in a folder and below. Links are followed, but no folder is read twice, so that links
//! in a circle end.
use crate::data::printable::printable_path;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// What a folder holds.
#[derive(Default)]
pub struct FolderTree {
    /// All files, links to files included, in no order.
    pub files: Vec<PathBuf>,
    /// Links to nothing.
    pub dead_links: Vec<PathBuf>,
    /// The number of files and folders that are left out, as their names begin with a dot.
    pub hidden: usize,
    /// The number of links that are left out, as they lead to a folder that is read already, or to
    /// one around it.
    pub repeated_links: usize,
}

/// Lists the files in `root` and below. Folders come before links to folders, so that a folder
/// within `root` keeps its own path.
pub fn list(root: &Path, with_hidden: bool) -> io::Result<FolderTree> {
    let mut listing = Listing {
        tree: FolderTree::default(),
        with_hidden,
        read: BTreeSet::new(),
        links: vec![],
    };
    listing.read_below(root.to_owned(), fs::canonicalize(root)?)?;
    while !listing.links.is_empty() {
        let mut links = std::mem::take(&mut listing.links);
        links.sort();
        for link in links {
            let target = fs::canonicalize(&link)?;
            if listing.has_read(&target) {
                listing.tree.repeated_links += 1;
            } else {
                listing.read_below(link, target)?;
            }
        }
    }
    Ok(listing.tree)
}

struct Listing {
    tree: FolderTree,
    with_hidden: bool,
    /// The folders that have been read, by paths without links.
    read: BTreeSet<PathBuf>,
    /// Links to folders that are still to be followed.
    links: Vec<PathBuf>,
}

impl Listing {
    /// Returns whether a folder, or one below it, has been read.
    fn has_read(&self, folder: &Path) -> bool {
        let mut at_or_after = self
            .read
            .range::<Path, _>((Bound::Included(folder), Bound::Unbounded));
        at_or_after
            .next()
            .is_some_and(|read| read.starts_with(folder))
    }

    /// Reads a folder and those below it. `target` is its path without links.
    fn read_below(&mut self, folder: PathBuf, target: PathBuf) -> io::Result<()> {
        let mut folders = vec![(folder, target)];
        while let Some((folder, target)) = folders.pop() {
            for entry in read_folder(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if !self.with_hidden && name.as_encoded_bytes().starts_with(b".") {
                    self.tree.hidden += 1;
                    continue;
                }
                let path = folder.join(&name);
                let file_type = entry.file_type()?;
                if file_type.is_dir() {
                    folders.push((path, target.join(name)));
                } else if !file_type.is_symlink() {
                    self.tree.files.push(path);
                } else {
                    match fs::metadata(&path) {
                        Ok(metadata) if metadata.is_dir() => self.links.push(path),
                        Ok(_) => self.tree.files.push(path),
                        Err(_) => self.tree.dead_links.push(path),
                    }
                }
            }
            self.read.insert(target);
        }
        Ok(())
    }
}

/// Opens a folder. Errors name it.
fn read_folder(folder: &Path) -> io::Result<fs::ReadDir> {
    fs::read_dir(folder).map_err(|error| {
        let folder = printable_path(folder);
        io::Error::new(
            error.kind(),
            format!("the folder {folder} cannot be read: {error}"),
        )
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_once() {
        let scratch = std::env::temp_dir().join(format!("tree-{}", std::process::id()));
        let root = scratch.join("root");
        for folder in ["root/a/b", "root/.git", "outside/deep"] {
            fs::create_dir_all(scratch.join(folder)).unwrap();
        }
        let files = [
            "root/1",
            "root/a/b/2",
            "root/.git/x",
            "root/._1",
            "outside/deep/3",
        ];
        for file in files {
            fs::write(scratch.join(file), "").unwrap();
        }
        let links = [
            ("root/0-out", "outside"),
            ("root/1-again", "outside/deep"),
            ("root/a/b/up", "root"),
            ("root/a/around", "."),
            ("outside/deep/here", "outside/deep"),
            ("root/inner", "root/a"),
            ("root/dead", "nothing"),
            ("root/file", "root/1"),
        ];
        for (link, target) in links {
            symlink(scratch.join(target), scratch.join(link)).unwrap();
        }
        let tree = list(&root, false);
        let with_hidden = list(&root, true);
        fs::remove_dir_all(&scratch).unwrap();
        let tree = tree.unwrap();
        let mut found: Vec<_> = tree
            .files
            .iter()
            .map(|file| file.strip_prefix(&root).unwrap())
            .collect();
        found.sort();
        assert_eq!(found, ["0-out/deep/3", "1", "a/b/2", "file"].map(Path::new));
        assert_eq!(tree.dead_links, [root.join("dead")]);
        assert_eq!((tree.hidden, tree.repeated_links), (2, 5));
        assert_eq!(with_hidden.unwrap().files.len(), 6);
    }
}
