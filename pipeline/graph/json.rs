//! JSON values that know their location in the graph file.
mod hint;
mod parser;

use crate::graph::problem::Location;
pub(crate) use parser::{parse, parse_argument};
use serde_json::Value;

/// A JSON value and its location.
#[derive(Clone, Debug)]
pub(crate) struct Json {
    pub(crate) location: Location,
    pub(crate) content: Content,
}

/// A JSON value whose parts have locations of their own.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Null, a boolean, a number or a string.
    Leaf(Value),
    Array(Vec<Json>),
    Object(Vec<JsonEntry>),
}

/// A key of an object and its value.
#[derive(Clone, Debug)]
pub(crate) struct JsonEntry {
    pub(crate) key: String,
    pub(crate) key_location: Location,
    pub(crate) value: Json,
}

impl Json {
    /// Returns the value of a key; `None` if there is no such key, or this is no object.
    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        let entry = self.entries().iter().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    /// Returns the entries of an object in the order of the file; none for other values.
    pub(crate) fn entries(&self) -> &[JsonEntry] {
        match &self.content {
            Content::Object(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the text of a string; `None` for other values.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Leaf(value) => value.as_str(),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.content, Content::Leaf(Value::Null))
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self.content, Content::Object(_))
    }

    /// Converts to a value without locations.
    pub(crate) fn to_value(&self) -> Value {
        match &self.content {
            Content::Leaf(value) => value.clone(),
            Content::Array(items) => items.iter().map(Json::to_value).collect(),
            Content::Object(entries) => {
                let pairs = entries.iter().map(|e| (e.key.clone(), e.value.to_value()));
                Value::Object(pairs.collect())
            }
        }
    }

    /// Returns the location of the value at `path`, a list of keys and indices: where its key is
    /// written, or where an item of an array begins.
    ///
    /// If a part of `path` does not exist, the location is that of the value which lacks it. Of an
    /// object that `--set` has changed in part it is that argument: the file alone was right, most
    /// likely.
    pub(crate) fn location_of<S: AsRef<str>>(&self, path: &[S]) -> &Location {
        let Some((step, rest)) = path.split_first() else {
            return &self.location;
        };
        match &self.content {
            Content::Object(entries) => {
                match entries.iter().find(|entry| entry.key == step.as_ref()) {
                    Some(entry) if rest.is_empty() => {
                        entry.value.changed_at().unwrap_or(&entry.key_location)
                    }
                    Some(entry) => entry.value.location_of(rest),
                    None => &self.location,
                }
            }
            Content::Array(items) => match index(step.as_ref()).and_then(|i| items.get(i)) {
                Some(item) => item.location_of(rest),
                None => &self.location,
            },
            Content::Leaf(_) => &self.location,
        }
    }

    /// Returns the argument of `--set` that has changed the object, if it is one.
    fn changed_at(&self) -> Option<&Location> {
        let mut locations = vec![];
        self.collect_changes(&mut locations);
        locations.dedup();
        match locations[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    fn collect_changes<'a>(&'a self, locations: &mut Vec<&'a Location>) {
        for entry in self.entries() {
            match &entry.value.location {
                location @ Location::Set(_) => locations.push(location),
                Location::Byte(_) => entry.value.collect_changes(locations),
            }
        }
    }

    /// Removes a key from an object.
    pub(crate) fn remove(&mut self, key: &str) {
        if let Content::Object(entries) = &mut self.content {
            entries.retain(|entry| entry.key != key);
        }
    }

    /// Sets the value at `path`, creating the objects that are missing on the way.
    ///
    /// # Errors
    /// The step of `path` that leads to no value: a key of a leaf, or no index of an array.
    pub(crate) fn set<'p>(&mut self, path: &'p [String], value: Json) -> Result<(), &'p str> {
        let Some((step, rest)) = path.split_first() else {
            *self = value;
            return Ok(());
        };
        match &mut self.content {
            Content::Object(entries) => {
                let index = match entries.iter().position(|entry| entry.key == *step) {
                    Some(index) => index,
                    None => {
                        entries.push(JsonEntry {
                            key: step.clone(),
                            key_location: value.location.clone(),
                            value: Json {
                                location: value.location.clone(),
                                content: Content::Object(vec![]),
                            },
                        });
                        entries.len() - 1
                    }
                };
                let entry = &mut entries[index];
                if rest.is_empty() {
                    entry.key_location = value.location.clone();
                }
                entry.value.set(rest, value)
            }
            Content::Array(items) => match index(step).and_then(|i| items.get_mut(i)) {
                Some(item) => item.set(rest, value),
                None => Err(step),
            },
            Content::Leaf(_) => Err(step),
        }
    }
}

/// Parses a step of a path as an index of an array.
fn index(step: &str) -> Option<usize> {
    step.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::problem::Problems;

    fn json(text: &str) -> Json {
        let mut problems = Problems::default();
        let json = parse(text, &mut problems).expect("JSON");
        assert!(problems.is_empty());
        json
    }

    fn path(dotted: &str) -> Vec<String> {
        dotted.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn locations_are_those_of_keys_and_items() {
        let json = json(r#"{ "a": [1, {"b": 2}] }"#);
        let cases = [
            ("a", 2),
            ("a.0", 8),
            ("a.1", 11),
            ("a.1.b", 12),
            ("a.1.c", 11),
            ("a.7", 7),
            ("x", 0),
        ];
        for (dotted, offset) in cases {
            let location = json.location_of(&path(dotted));
            assert_eq!(*location, Location::Byte(offset), "{dotted}");
        }
    }

    #[test]
    fn set_replaces_values_and_creates_objects() {
        let mut json = json(r#"{"a": [{"b": 2}]}"#);
        let location = Location::Set("x".into());
        let value = parse_argument("3", &location, &mut Problems::default()).expect("JSON");
        for dotted in ["a.0.b", "a.0.c", "d.e.f"] {
            assert_eq!(json.set(&path(dotted), value.clone()), Ok(()));
            assert_eq!(*json.location_of(&path(dotted)), location, "{dotted}");
        }
        let expected = r#"{"a":[{"b":3,"c":3}],"d":{"e":{"f":3}}}"#;
        assert_eq!(json.to_value().to_string(), expected);
        assert_eq!(json.set(&path("a.1"), value.clone()), Err("1"));
        assert_eq!(json.set(&path("a.0.b.x"), value), Err("x"));
        assert_eq!(json.to_value().to_string(), expected);
    }

    #[test]
    fn a_removed_key_is_gone() {
        let mut json = json(r#"{"a": 1, "b": 2}"#);
        json.remove("a");
        json.remove("x");
        assert_eq!(json.to_value().to_string(), r#"{"b":2}"#);
    }
}
