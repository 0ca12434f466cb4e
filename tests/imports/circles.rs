//! Of two modules side by side one is below the other: no circle of them import each other. A name
//! that a folder's own module re-exports counts as that module's.
use super::{production_lines, rust_files};
use crate::program::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The names from the root of the crate to a module or an item.
type Names = Vec<String>;

/// Which modules of a folder import which others of it.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_modules_side_by_side_import_each_other_in_a_circle() {
    let engine = |names: &Names| names[0] != "cli";
    assert_eq!(circles(&root().join("nodes"), |_| true), [""; 0]);
    assert_eq!(circles(&root().join("pipeline"), engine), [""; 0]);
    assert_eq!(circles(&root().join("pipeline/cli"), |_| true), [""; 0]);
}

/// Describes the circles of the folders of a crate.
fn circles(root: &Path, is_of_crate: impl Fn(&Names) -> bool) -> Vec<String> {
    let mut files = vec![];
    rust_files(root, &mut files);
    let mut modules: BTreeMap<Names, String> = BTreeMap::new();
    for file in files {
        let path = file.strip_prefix(root).unwrap().with_extension("");
        let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
        modules.insert(names.collect(), fs::read_to_string(&file).unwrap());
    }
    modules.retain(|names, _| is_of_crate(names));
    assert!(modules.len() > 10, "{}", root.display());

    let mut by_folder: BTreeMap<Names, Imports> = BTreeMap::new();
    for (module, text) in &modules {
        let code: Vec<&str> = production_lines(text)
            .map(|line| line.split("//").next().unwrap())
            .collect();
        for path in paths(&code.join("\n")) {
            let Some(mut used) = absolute(module, path) else {
                continue;
            };
            while !used.is_empty() && !modules.contains_key(&used) {
                used.pop();
            }
            let depth = module.iter().zip(&used).take_while(|(a, b)| a == b).count();
            if let (Some(own), Some(other)) = (module.get(depth), used.get(depth)) {
                let imports = by_folder.entry(module[..depth].to_vec()).or_default();
                let others = imports.entry(own.clone()).or_default();
                others.insert(other.clone());
            }
        }
    }
    let mut circles = vec![];
    for (folder, mut imports) in by_folder {
        keep_circles(&mut imports);
        if !imports.is_empty() {
            circles.push(format!("{}: {imports:?}", folder.join("::")));
        }
    }
    circles
}

/// Removes modules that import no other or are imported by none, until only circles are left and
/// what lies between two of them.
fn keep_circles(imports: &mut Imports) {
    loop {
        let before = imports.len();
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        for others in imports.values_mut() {
            others.retain(|other| left.contains(other));
        }
        let imported: BTreeSet<String> = imports.values().flatten().cloned().collect();
        imports.retain(|module, others| !others.is_empty() && imported.contains(module));
        if imports.len() == before {
            return;
        }
    }
}

/// Returns a path from the root of the crate; `None` for one that begins with neither `crate` nor
/// `super`.
fn absolute(module: &Names, mut path: Names) -> Option<Names> {
    if path[0] == "crate" {
        return Some(path.split_off(1));
    }
    let ups = path.iter().take_while(|name| *name == "super").count();
    let folder = module.get(..module.len().checked_sub(ups)?)?;
    (ups > 0).then(|| [folder, &path[ups..]].concat())
}

/// Returns the paths of all `use` declarations, and those within code that begin with `crate` or
/// `super`.
fn paths(code: &str) -> Vec<Names> {
    let mut paths = vec![];
    for statement in code.split(';') {
        let start = statement.rfind("use ").filter(|&start| {
            let line = statement[..start].rsplit('\n').next().unwrap();
            line.is_empty() || line.trim_start().starts_with("pub")
        });
        if let Some(start) = start {
            expand(&[], &statement[start + 4..], &mut paths);
            continue;
        }
        for start in ["crate::", "super::"] {
            for (at, _) in statement.match_indices(start) {
                let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                let rest = &statement[at..];
                let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
                paths.push(rest[..end].split("::").map(str::to_owned).collect());
            }
        }
    }
    paths
}

/// Adds the paths of a tree such as `super::{a::B, c}` below `prefix`.
fn expand(prefix: &[String], tree: &str, paths: &mut Vec<Names>) {
    let (head, group) = tree.split_once('{').unwrap_or((tree, ""));
    let head = head.split(" as ").next().unwrap().trim();
    let names = head.split("::").filter(|name| !name.is_empty());
    let path: Names = prefix
        .iter()
        .cloned()
        .chain(names.map(str::to_owned))
        .collect();
    let Some((group, _)) = group.rsplit_once('}') else {
        if !path.is_empty() {
            paths.push(path);
        }
        return;
    };
    let mut depth = 0;
    let items = group.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for item in items {
        expand(&path, item, paths);
    }
}
