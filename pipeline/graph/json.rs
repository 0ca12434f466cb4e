//! JSON with places: serde_json parses, and lends every key and value as the piece of text it stood in (`RawValue`); where
//! that piece lies in the text is its place. Finds keys that stand twice. Nesting is limited, since each level is read once more.
use crate::graph::problem::{At, Problems};
use serde::de::{MapAccess, Visitor};
use serde_json::{Value, value::RawValue};
use std::collections::BTreeSet;
use std::fmt;

const DEPTH: usize = 64;

#[derive(Clone, Debug)]
pub struct Json {
    pub at: At,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Leaf(Value),
    List(Vec<Json>),
    /// Key, where the key stands, value.
    Map(Vec<(String, At, Json)>),
}

/// The whole text. What is wrong with it goes to `problems`; `None` if nothing can be said about its content.
pub fn parse(text: &str, problems: &mut Problems) -> Option<Json> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => Reader { text, problems }.read(raw, 1),
        Err(e) => {
            let start: usize = text
                .split_inclusive('\n')
                .take(e.line().saturating_sub(1))
                .map(str::len)
                .sum();
            problems.add(
                &At::Byte(start + e.column().saturating_sub(1)),
                sentence(&e),
            );
            None
        }
    }
}

/// An argument of the command line: JSON if it reads as that, else text. All of it stands at `at`.
pub fn argument(text: &str, at: &At, problems: &mut Problems) -> Option<Json> {
    if serde_json::from_str::<&RawValue>(text).is_err() {
        return Some(Json {
            at: at.clone(),
            kind: Kind::Leaf(text.into()),
        });
    }
    let mut inside = Problems::default();
    let value = parse(text, &mut inside);
    inside.0.iter().for_each(|p| problems.add(at, &p.says));
    value.map(|v| v.moved(at))
}

/// serde_json's sentence without its own idea of the place.
fn sentence(e: &serde_json::Error) -> String {
    let says = e.to_string();
    says.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

struct Reader<'a, 'p> {
    text: &'a str,
    problems: &'p mut Problems,
}

impl<'a> Reader<'a, '_> {
    fn at(&self, piece: &str) -> At {
        At::Byte(piece.as_ptr() as usize - self.text.as_ptr() as usize)
    }

    /// What serde makes of a piece of the text.
    fn piece<T: serde::Deserialize<'a>>(&mut self, piece: &'a str) -> Option<T> {
        serde_json::from_str(piece)
            .map_err(|e| self.problems.add(&self.at(piece), sentence(&e)))
            .ok()
    }

    fn read(&mut self, raw: &'a RawValue, level: usize) -> Option<Json> {
        let (piece, at) = (raw.get(), self.at(raw.get()));
        let nests = piece.starts_with(['{', '[']);
        if nests && level > DEPTH {
            self.problems
                .add(&at, format!("nested deeper than {DEPTH} levels"));
            return None;
        }
        let kind = match piece.as_bytes().first()? {
            b'{' => Kind::Map(self.map(piece, level)?),
            b'[' => {
                let items: Vec<&RawValue> = self.piece(piece)?;
                Kind::List(
                    items
                        .into_iter()
                        .map(|i| self.read(i, level + 1))
                        .collect::<Option<_>>()?,
                )
            }
            _ => Kind::Leaf(self.piece(piece)?),
        };
        Some(Json { at, kind })
    }

    fn map(&mut self, piece: &'a str, level: usize) -> Option<Vec<(String, At, Json)>> {
        let Entries(entries) = self.piece(piece)?;
        let (mut map, mut seen) = (vec![], BTreeSet::new());
        for (raw, value) in entries {
            let (key, at) = (self.piece::<String>(raw.get())?, self.at(raw.get()));
            let value = self.read(value, level + 1)?;
            if seen.insert(key.clone()) {
                map.push((key, at, value));
            } else {
                self.problems
                    .add(&at, format!("`{key}` stands here for the second time"));
            }
        }
        Some(map)
    }
}

impl Json {
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.entries()
            .iter()
            .find(|(k, _, _)| k == key)
            .map(|(_, _, v)| v)
    }
    /// Key, where it stands, value; nothing of what is no object.
    pub fn entries(&self) -> &[(String, At, Json)] {
        if let Kind::Map(m) = &self.kind {
            m
        } else {
            &[]
        }
    }
    pub fn text(&self) -> Option<&str> {
        if let Kind::Leaf(Value::String(s)) = &self.kind {
            Some(s)
        } else {
            None
        }
    }
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Leaf(Value::Null))
    }
    pub fn value(&self) -> Value {
        match &self.kind {
            Kind::Leaf(v) => v.clone(),
            Kind::List(l) => l.iter().map(Json::value).collect(),
            Kind::Map(m) => {
                Value::Object(m.iter().map(|(k, _, v)| (k.clone(), v.value())).collect())
            }
        }
    }

    /// The same value, all of it from another place.
    fn moved(self, at: &At) -> Json {
        let kind = match self.kind {
            Kind::List(l) => Kind::List(l.into_iter().map(|v| v.moved(at)).collect()),
            Kind::Map(m) => Kind::Map(
                m.into_iter()
                    .map(|(k, _, v)| (k, at.clone(), v.moved(at)))
                    .collect(),
            ),
            leaf => leaf,
        };
        Json {
            at: at.clone(),
            kind,
        }
    }

    /// The place of the deepest part of `path` that is there; a key's own place where it names a key.
    pub fn place(&self, path: &[String]) -> At {
        let Some((first, rest)) = path.split_first() else {
            return self.at.clone();
        };
        match &self.kind {
            Kind::Map(m) => match m.iter().find(|(k, _, _)| k == first) {
                Some((_, at, _)) if rest.is_empty() => at.clone(),
                Some((_, _, v)) => v.place(rest),
                None => self.at.clone(),
            },
            Kind::List(l) => index(first)
                .and_then(|i| l.get(i))
                .map_or(self.at.clone(), |v| v.place(rest)),
            Kind::Leaf(_) => self.at.clone(),
        }
    }

    /// The path whose key or value stands at `at`.
    pub fn way(&self, at: &At) -> Option<Vec<String>> {
        let deeper = |step: String, v: &Json| v.way(at).map(|rest| [vec![step], rest].concat());
        match &self.kind {
            _ if self.at == *at => Some(vec![]),
            Kind::List(l) => l
                .iter()
                .enumerate()
                .find_map(|(i, v)| deeper(i.to_string(), v)),
            Kind::Map(m) => m.iter().find_map(|(k, key_at, v)| match key_at == at {
                true => Some(vec![k.clone()]),
                false => deeper(k.clone(), v),
            }),
            Kind::Leaf(_) => None,
        }
    }

    /// Takes away what stands at `path`, or the deepest part of it that is there; false if that is nothing.
    pub fn remove(&mut self, path: &[String]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return false;
        };
        match &mut self.kind {
            Kind::Map(m) => match m.iter().position(|(k, _, _)| k == first) {
                Some(i) if m[i].2.remove(rest) => true,
                Some(i) => {
                    m.remove(i);
                    true
                }
                None => false,
            },
            Kind::List(l) => match index(first).filter(|i| *i < l.len()) {
                Some(i) if l[i].remove(rest) => true,
                Some(i) => {
                    l.remove(i);
                    true
                }
                None => false,
            },
            Kind::Leaf(_) => false,
        }
    }

    /// Puts `value` at `path`, with the objects that are missing on the way; the part of `path` where that cannot be, if so.
    pub fn put<'p>(&mut self, path: &'p [String], value: Json) -> Result<(), &'p str> {
        let Some((first, rest)) = path.split_first() else {
            *self = value;
            return Ok(());
        };
        match &mut self.kind {
            Kind::Map(m) => {
                let found = m
                    .iter()
                    .position(|(k, _, _)| k == first)
                    .unwrap_or_else(|| {
                        m.push((
                            first.clone(),
                            value.at.clone(),
                            Json {
                                at: value.at.clone(),
                                kind: Kind::Map(vec![]),
                            },
                        ));
                        m.len() - 1
                    });
                if rest.is_empty() {
                    m[found].1 = value.at.clone();
                }
                m[found].2.put(rest, value)
            }
            Kind::List(l) => index(first)
                .and_then(|i| l.get_mut(i))
                .ok_or(first.as_str())?
                .put(rest, value),
            Kind::Leaf(_) => Err(first),
        }
    }
}

fn index(step: &str) -> Option<usize> {
    step.parse().ok()
}

/// Keys and values of an object, as pieces of the text, in its order.
struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);
struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Entries<'de>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = vec![];
        while let Some(entry) = map.next_entry()? {
            all.push(entry);
        }
        Ok(Entries(all))
    }
}

impl<'de> serde::Deserialize<'de> for Entries<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        let mut problems = Problems::default();
        let json = parse(text, &mut problems).expect("JSON");
        assert!(problems.0.is_empty());
        json
    }

    fn path(way: &str) -> Vec<String> {
        way.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn places_are_those_of_keys_and_items() {
        let json = json(r#"{ "a": [1, {"b": 2}] }"#);
        let places = [
            ("a", 2),
            ("a.0", 8),
            ("a.1", 11),
            ("a.1.b", 12),
            ("a.1.c", 11),
            ("a.7", 7),
            ("x", 0),
        ];
        for (way, byte) in places {
            assert_eq!(json.place(&path(way)), At::Byte(byte), "{way}");
        }
        assert_eq!(json.way(&At::Byte(12)), Some(path("a.1.b")));
    }

    #[test]
    fn what_is_put_can_be_removed() {
        let mut json = json(r#"{"a": [{"b": 2}]}"#);
        let value = argument("3", &At::Set("x".into()), &mut Problems::default()).expect("JSON");
        for way in ["a.0.c", "d.e.f"] {
            assert_eq!(json.put(&path(way), value.clone()), Ok(()));
        }
        assert_eq!(
            json.value().to_string(),
            r#"{"a":[{"b":2,"c":3}],"d":{"e":{"f":3}}}"#
        );
        assert_eq!(json.clone().put(&path("a.1"), value.clone()), Err("1"));
        assert_eq!(json.clone().put(&path("a.0.b.x"), value), Err("x"));
        assert!(
            json.remove(&path("a.0.b")) && json.remove(&path("d.e.x")) && !json.remove(&path("x"))
        );
        assert_eq!(json.value().to_string(), r#"{"a":[{"c":3}],"d":{}}"#);
    }
}
