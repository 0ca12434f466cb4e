//! What `bench` measured, in the user's cache folder:
//! `$XDG_CACHE_HOME/ssl-compression/bench/<phase>/<machine>.json`, or `~/.cache` in place of the
//! variable.
//!
//! `<phase>` is a hash of the names of graph and phase, the phase's nodes without what changes no
//! speed, and the nodes' sizes, which an earlier phase may decide. `<machine>` is a hash of
//! [`Machine`]: figures of another processor, number of threads or version are never taken.
use super::record::{BenchRecord, Machine};
use crate::graph::plan::{Phase, Plan};
use nodes::data::file::write_atomic;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Options of the optimizer and of the source that change no speed of an update.
const WITHOUT_EFFECT: [&str; 9] = [
    "steps",
    "schedule",
    "checkpoint_every",
    "keep",
    "betas",
    "eps",
    "dev",
    "dev_every",
    "best",
];

/// What the user's cache folder has of a phase.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// The newest measurement on this machine.
    Here(BenchRecord),
    /// None of this machine, but at least one of another.
    Elsewhere(Machine),
    Nothing,
}

/// The folder of all records.
pub struct BenchRecords(PathBuf);

impl BenchRecords {
    /// Returns the folder of this user; `None` if the environment names no folder.
    pub fn of_user() -> Option<BenchRecords> {
        let variable = |name: &str| std::env::var_os(name);
        cache_folder(variable("XDG_CACHE_HOME"), variable("HOME")).map(BenchRecords)
    }

    /// Keeps a record in place of the last one of its phase and machine.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, plan: &Plan, phase: &Phase, record: &BenchRecord) -> nodes::Result<()> {
        let path = self.folder(plan, phase).join(file_name(&record.machine));
        let text = format!("{:#}\n", serde_json::to_value(record)?);
        write_atomic(&path, text.as_bytes())
    }

    /// Finds what was measured of a phase on this machine, else on another.
    ///
    /// # Errors
    /// A record is there and cannot be read.
    pub fn find(&self, plan: &Plan, phase: &Phase) -> nodes::Result<Found> {
        find_in(&self.folder(plan, phase), &Machine::this())
    }

    fn folder(&self, plan: &Plan, phase: &Phase) -> PathBuf {
        self.0.join(hash(&phase_identity(plan, phase)))
    }
}

/// Returns the folder of records below the user's cache folder. A relative `XDG_CACHE_HOME` is
/// ignored, as its specification says.
fn cache_folder(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let xdg = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.filter(|home| !home.is_empty());
    let cache = xdg.or_else(|| Some(PathBuf::from(home?).join(".cache")))?;
    Some(cache.join("ssl-compression").join("bench"))
}

fn find_in(folder: &Path, machine: &Machine) -> nodes::Result<Found> {
    if let Some(record) = read(&folder.join(file_name(machine)))?
        && record.machine == *machine
    {
        return Ok(Found::Here(record));
    }
    let mut others: Vec<BenchRecord> = vec![];
    for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = file.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            others.extend(read(&path)?);
        }
    }
    let newest = others.into_iter().max_by_key(|record| record.measured);
    Ok(match newest {
        Some(record) => Found::Elsewhere(record.machine),
        None => Found::Nothing,
    })
}

/// Reads a record; `None` if the file is not there.
fn read(path: &Path) -> nodes::Result<Option<BenchRecord>> {
    let named = |error: &dyn fmt::Display| {
        let path = path.display();
        format!("{path}: {error}; remove it, and measure again with `pipeline bench`")
    };
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| named(&error))?,
    };
    Ok(Some(
        serde_json::from_str(&text).map_err(|error| named(&error))?,
    ))
}

fn file_name(machine: &Machine) -> String {
    format!("{}.json", hash(&json!(machine)))
}

/// Returns 16 hex digits of a hash of JSON, whatever the order of its keys.
fn hash(json: &Value) -> String {
    let mut sorted = json.clone();
    sorted.sort_all_objects();
    let hash = blake3::hash(sorted.to_string().as_bytes());
    hash.to_hex()[..16].to_owned()
}

/// Returns what decides the speed of a phase on one machine.
fn phase_identity(plan: &Plan, phase: &Phase) -> Value {
    let mut nodes = plan.written_nodes(phase).clone();
    for (i, node) in phase.nodes.iter().enumerate() {
        let Some(options) = nodes.get_mut(node.name()).and_then(Value::as_object_mut) else {
            continue;
        };
        options.remove("cache"); // `bench` replaces it
        options.remove("budget");
        if i == phase.source || Some(i) == phase.optimizer {
            options.retain(|option, _| !WITHOUT_EFFECT.contains(&option.as_str()));
        }
    }
    let sizes: Vec<Option<u64>> = phase.nodes.iter().map(|n| n.info.parameters).collect();
    json!({
        "graph": plan.name,
        "phase": phase.name,
        "nodes": nodes,
        "sizes": sizes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speed::record::Speech;

    fn machine(processor: &str, threads: usize, version: &str) -> Machine {
        Machine {
            processor: processor.into(),
            threads,
            version: version.into(),
        }
    }

    #[test]
    fn a_record_of_another_machine_is_refused() {
        let folder = std::env::temp_dir().join(format!("bench-records-{}", std::process::id()));
        let mine = machine("a CPU", 4, "1.0");
        assert_eq!(find_in(&folder, &mine).unwrap(), Found::Nothing);
        let others = [
            machine("another CPU", 4, "1.0"),
            machine("a CPU", 8, "1.0"),
            machine("a CPU", 4, "1.1"),
        ];
        let mut record = BenchRecord {
            graph: "g".into(),
            phase: "main".into(),
            machine: mine.clone(),
            measured: 7,
            speech: Speech::Noise {
                rows: 4,
                seconds: 0.5,
            },
            step_seconds: 0.25,
            audio_per_second: 8.0,
        };
        let write = |name: &str, record: &BenchRecord| {
            let text = serde_json::to_string(record).unwrap();
            write_atomic(&folder.join(name), text.as_bytes()).unwrap();
        };
        for other in others {
            record.machine = other.clone();
            write(&file_name(&other), &record);
            assert_eq!(find_in(&folder, &mine).unwrap(), Found::Elsewhere(other));
            record.measured += 1;
        }
        // A file under this machine's name with another machine in it: somebody copied it.
        write(&file_name(&mine), &record);
        assert!(matches!(find_in(&folder, &mine), Ok(Found::Elsewhere(_))));
        record.machine = mine.clone();
        write(&file_name(&mine), &record);
        assert_eq!(find_in(&folder, &mine).unwrap(), Found::Here(record));
        std::fs::write(folder.join(file_name(&mine)), "{").unwrap();
        let error = find_in(&folder, &mine).unwrap_err().to_string();
        assert!(
            error.contains(&file_name(&mine)) && error.contains("remove it"),
            "{error}"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_folder_is_the_users_cache() {
        let folder = |xdg: Option<&str>, home: Option<&str>| {
            cache_folder(xdg.map(OsString::from), home.map(OsString::from))
        };
        let below = |cache: &str| Some(Path::new(cache).join("ssl-compression/bench"));
        assert_eq!(folder(Some("/x"), Some("/home/a")), below("/x"));
        assert_eq!(folder(Some("x"), Some("/home/a")), below("/home/a/.cache"));
        assert_eq!(folder(Some(""), Some("/home/a")), below("/home/a/.cache"));
        assert_eq!(folder(None, Some("")), None);
        assert_eq!(folder(None, None), None);
    }
}
