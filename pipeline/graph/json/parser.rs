//! Parses JSON and keeps locations.
//!
//! serde_json parses each level and borrows its keys and values as `RawValue`, a slice of the text;
//! the offset of the slice is the location. Each level is thus read once more than the one above
//! it, so the depth is limited.
use crate::graph::json::hint::hint;
use crate::graph::json::{Content, Json, JsonEntry};
use crate::graph::problem::{Location, Problems};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;

const MAX_DEPTH: usize = 64;

/// The most items of a list, and keys of an object.
const MAX_ITEMS: usize = 1024;

/// Parses a graph file.
///
/// Keys that an object has twice are problems, and the first one counts. Returns `None`, after
/// adding a problem, if the text is no JSON or is nested too deeply.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Json> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => Parser { text, problems }.parse(raw, 1),
        Err(error) => {
            let lines_before = text
                .split_inclusive('\n')
                .take(error.line().saturating_sub(1));
            let line_start: usize = lines_before.map(str::len).sum();
            let offset = line_start + error.column().saturating_sub(1);
            let message = hint(text, offset).unwrap_or_else(|| message(&error));
            problems.add(&Location::Byte(offset), message);
            None
        }
    }
}

/// Parses the value of a `--set` argument: as JSON if it is valid JSON, else as a string.
///
/// All parts of the value get the argument's location.
pub(crate) fn parse_argument(
    text: &str,
    location: &Location,
    problems: &mut Problems,
) -> Option<Json> {
    if serde_json::from_str::<&RawValue>(text).is_err() {
        return Some(Json {
            location: location.clone(),
            content: Content::Leaf(text.into()),
        });
    }
    let mut argument_problems = Problems::default();
    let value = parse(text, &mut argument_problems);
    for problem in argument_problems.iter() {
        problems.add(location, &problem.message);
    }
    Some(relocate(value?, location))
}

/// Gives a value and all of its parts another location.
fn relocate(json: Json, location: &Location) -> Json {
    let content = match json.content {
        Content::Leaf(value) => Content::Leaf(value),
        Content::Array(items) => {
            let items = items.into_iter().map(|item| relocate(item, location));
            Content::Array(items.collect())
        }
        Content::Object(entries) => {
            let entries = entries.into_iter().map(|entry| JsonEntry {
                key: entry.key,
                key_location: location.clone(),
                value: relocate(entry.value, location),
            });
            Content::Object(entries.collect())
        }
    };
    Json {
        location: location.clone(),
        content,
    }
}

/// Returns serde_json's message without the line and column that end it.
fn message(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.split_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => message,
    }
}

struct Parser<'a, 'p> {
    text: &'a str,
    problems: &'p mut Problems,
}

impl<'a> Parser<'a, '_> {
    /// Parses a value that is nested at `depth`.
    fn parse(&mut self, raw: &'a RawValue, depth: usize) -> Option<Json> {
        let slice = raw.get();
        let location = self.location(slice);
        if slice.starts_with(['{', '[']) && depth > MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            self.problems.add(&location, message);
            return None;
        }
        let content = match slice.as_bytes().first()? {
            b'{' => Content::Object(self.parse_object(slice, depth)?),
            b'[' => Content::Array(self.parse_array(slice, depth)?),
            _ => Content::Leaf(self.deserialize(slice)?),
        };
        Some(Json { location, content })
    }

    fn parse_array(&mut self, slice: &'a str, depth: usize) -> Option<Vec<Json>> {
        let raw_items: Vec<&RawValue> = self.deserialize(slice)?;
        self.check_length(slice, raw_items.len(), "items")?;
        let mut items = vec![];
        for raw in raw_items {
            items.push(self.parse(raw, depth + 1)?);
        }
        Some(items)
    }

    fn parse_object(&mut self, slice: &'a str, depth: usize) -> Option<Vec<JsonEntry>> {
        let RawEntries(raw_entries) = self.deserialize(slice)?;
        let mut entries = vec![];
        let mut keys = BTreeSet::new();
        for (raw_key, raw_value) in raw_entries {
            let key: String = self.deserialize(raw_key.get())?;
            let key_location = self.location(raw_key.get());
            let value = self.parse(raw_value, depth + 1)?;
            if keys.insert(key.clone()) {
                entries.push(JsonEntry {
                    key,
                    key_location,
                    value,
                });
            } else {
                let message = format!("`{key}` stands here for the second time");
                self.problems.add(&key_location, message);
            }
        }
        self.check_length(slice, entries.len(), "keys")?;
        Some(entries)
    }

    /// Adds a problem and returns `None` if a list or object is longer than any graph needs.
    fn check_length(&mut self, slice: &'a str, length: usize, what: &str) -> Option<()> {
        if length <= MAX_ITEMS {
            return Some(());
        }
        let message = format!("{length} {what}; at most {MAX_ITEMS} are possible");
        self.problems.add(&self.location(slice), message);
        None
    }

    /// Deserializes a slice of the text.
    fn deserialize<T: Deserialize<'a>>(&mut self, slice: &'a str) -> Option<T> {
        match serde_json::from_str(slice) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.add(&self.location(slice), message(&error));
                None
            }
        }
    }

    /// Returns where a slice of the text begins.
    fn location(&self, slice: &str) -> Location {
        Location::Byte(slice.as_ptr() as usize - self.text.as_ptr() as usize)
    }
}

/// Keys and values of an object in the order of the text, repeated keys included.
struct RawEntries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawEntries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawEntriesVisitor)
    }
}

struct RawEntriesVisitor;

impl<'de> Visitor<'de> for RawEntriesVisitor {
    type Value = RawEntries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = vec![];
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawEntries(entries))
    }
}
