//! The names of the folders that parts are in.
use crate::node::StoredEntry;

const ROWS: &str = "rows";
const LOGITS: &str = "logits";
const LAYER: &str = "layer-";

/// Returns the name of the folder of entries.
pub(in crate::cache) fn folder_name(entry: StoredEntry) -> String {
    match entry {
        StoredEntry::Layer(layer) => format!("{LAYER}{layer:02}"),
        StoredEntry::Logits => LOGITS.into(),
        StoredEntry::Rows => ROWS.into(),
    }
}

/// Returns what is in a folder of this name; `None` if it is no folder of entries.
pub(in crate::cache) fn entry_of_folder(name: &str) -> Option<StoredEntry> {
    match name {
        ROWS => Some(StoredEntry::Rows),
        LOGITS => Some(StoredEntry::Logits),
        _ => {
            let layer = name.strip_prefix(LAYER)?.parse().ok()?;
            Some(StoredEntry::Layer(layer))
        }
    }
}
