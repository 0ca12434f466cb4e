//! What of a manifest is not read, by kind.
use std::collections::BTreeMap;
use std::fmt;

/// Counts of what is left out.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// Audio files that are not read, by format.
    pub(super) formats: BTreeMap<String, usize>,
    pub(super) hidden: usize,
    pub(super) repeated_links: usize,
    pub(super) dead_links: usize,
}

impl LeftOut {
    /// Returns whether all is read.
    pub(crate) fn is_empty(&self) -> bool {
        self.formats.is_empty() && self.hidden + self.repeated_links + self.dead_links == 0
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut parts = vec![];
        if !self.formats.is_empty() {
            let formats = self.formats.iter();
            let counts: Vec<_> = formats
                .map(|(format, count)| format!("{count} {format}"))
                .collect();
            parts.push(format!(
                "{} (convert these, for instance with `ffmpeg -i IN -ar 16000 OUT.flac`)",
                counts.join(", ")
            ));
        }
        let others = [
            (self.hidden, "with a name that begins with a dot"),
            (
                self.repeated_links,
                "linked to a folder that is read already or contains the link",
            ),
            (self.dead_links, "linked to nothing"),
        ];
        for (count, what) in others {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        f.write_str(&parts.join(", "))
    }
}
