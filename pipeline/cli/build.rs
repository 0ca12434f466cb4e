//! Writes what the program has to know of its sources: the graphs that ship with it, and the commit.
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Folders of graphs that ship: of the sample, of whole corpora, and variants of one method.
const FOLDERS: [&str; 3] = ["graphs", "graphs/librispeech", "graphs/wang"];
/// Folders of graphs that `pipeline superb` runs.
const TASK_FOLDERS: [&str; 2] = ["graphs/superb", "graphs/superb/small"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("graphs.rs"), graphs(&root, "graphs", &FOLDERS)?)?;
    let tasks = graphs(&root, "graphs/superb", &TASK_FOLDERS)?;
    fs::write(out.join("superb.rs"), tasks)?;
    let commit = commit(&root).unwrap_or("unknown".to_owned());
    println!("cargo::rustc-env=PIPELINE_COMMIT={commit}");
    println!("cargo::rerun-if-changed=pipeline/cli/build.rs");
    Ok(())
}

/// Returns a Rust slice of the names and texts of all graphs in some folders, by name: the path below
/// `base`.
fn graphs(root: &Path, base: &str, folders: &[&str]) -> Result<String, Box<dyn Error>> {
    let mut items = vec![];
    for folder in folders {
        println!("cargo::rerun-if-changed={folder}");
        for entry in fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let name = path.strip_prefix(root.join(base))?.with_extension("");
                items.push(format!("({name:?}, include_str!({path:?})),\n"));
            }
        }
    }
    items.sort();
    Ok(format!("&[\n{}]\n", items.concat()))
}

/// Returns the commit of the sources: of the repository that has its top at `root`, else the one
/// that a package was made from.
fn commit(root: &Path) -> Option<String> {
    if root.join(".git").exists() {
        watch_head();
        return git(&["rev-parse", "--short=12", "HEAD"]);
    }
    let record = fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = record.split_once("\"sha1\": \"")?;
    rest.get(..12).map(str::to_owned)
}

/// Makes cargo run this script again after a commit or a checkout.
fn watch_head() {
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

/// Returns what git prints; `None` if it fails or is not installed.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
