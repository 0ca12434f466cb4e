//! Reads the keys of a node that say how what it sends is kept: `cache`, `budget` and `codec`.
use crate::graph::json::Json;
use crate::graph::problem::{Location, Problems};
use nodes::cache::codec::CodecOption;
use nodes::data::printable::printable;
use nodes::data::store;
use nodes::node::Kind;
use std::path::Path;

/// Keys of a node beside its options that every kind that may be cached takes.
pub const CACHE_KEYS: [&str; 3] = ["cache", "budget", "codec"];

/// The most bytes that a full cache may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub bytes: u64,
    /// Where it is written.
    pub location: Location,
}

/// Reads the folder of the cache; `None` if the node has none or it is wrong.
pub(super) fn read_folder(
    name: &str,
    json: &Json,
    known_kind: Option<&Kind>,
    problems: &mut Problems,
) -> Option<String> {
    let cache = json.get("cache").filter(|cache| !cache.is_null())?;
    let Some(path) = cache.text().filter(|path| !path.is_empty()) else {
        problems.add_for_node(name, &cache.location, "`cache` is a path or null");
        return None;
    };
    if let Some(reason) = store::unsupported(Path::new(path)) {
        let message = format!("`cache`: {reason}");
        problems.add_for_node(name, &cache.location, message);
    }
    if path.starts_with("~/") {
        let message = format!(
            "`cache`: `{}`: `~` is a name like any other in a graph: write out the path of your home",
            printable(path)
        );
        problems.add_for_node(name, &cache.location, message);
    }
    if Path::new(path).is_file() {
        let message = format!(
            "`cache`: `{}` is a file; a cache is a folder",
            printable(path)
        );
        problems.add_for_node(name, &cache.location, message);
    }
    if let Some(kind) = known_kind.filter(|kind| !kind.cacheable) {
        let message = format!(
            "a `{}` cannot be cached: its output is no function of its rows",
            kind.name
        );
        problems.add_for_node(name, json.location_of(&["cache"]), message);
    }
    Some(path.to_owned())
}

/// Reads the budget; `None` if the node has none or it is wrong.
pub(super) fn read_budget(name: &str, json: &Json, problems: &mut Problems) -> Option<Budget> {
    let budget = json.get("budget").filter(|budget| !budget.is_null())?;
    let Some(bytes) = budget.to_value().as_u64() else {
        let message = "`budget` is a whole number of bytes or null";
        problems.add_for_node(name, &budget.location, message);
        return None;
    };
    Some(Budget {
        bytes,
        location: json.location_of(&["budget"]).clone(),
    })
}

/// Reads the codec; that of a node without one, or with a wrong one, is exact.
pub(super) fn read_codec(name: &str, json: &Json, problems: &mut Problems) -> CodecOption {
    let Some(codec) = json.get("codec") else {
        return CodecOption::default();
    };
    CodecOption::parse(&codec.to_value()).unwrap_or_else(|message| {
        problems.add_for_node(name, &codec.location, message);
        CodecOption::default()
    })
}
