//! How far what was recognised is from what was said, and who from whom: edits and equal error rate.
mod edits;
mod equal_error;

pub(crate) use edits::edits;
pub(crate) use equal_error::equal_error_rate;

#[cfg(test)]
pub(crate) mod golden {
    use serde_json::Value as Json;

    /// Reads tests/golden/scores.json, which tests/golden/scores.py writes.
    pub(crate) fn read() -> Json {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/scores.json");
        let text = std::fs::read_to_string(path).expect("scores.json");
        serde_json::from_str(&text).expect("JSON")
    }
}
