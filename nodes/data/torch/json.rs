//! Plain values of a pickle as JSON, for configurations.
use super::Value;
use super::values::Node;
use serde_json::{Map, Number, Value as Json};

/// How deep containers lie within each other.
const DEEPEST: usize = 32;
/// The most values of a configuration. Containers may name one another many times.
const MOST: usize = 100_000;

impl Value<'_> {
    /// Returns dictionaries, lists, text, numbers and truth values as JSON. An object becomes its
    /// attributes; an enumeration's member its value; what is none of these becomes null.
    ///
    /// # Errors
    /// The value is nested too deeply, or holds too many.
    pub(crate) fn json(self) -> Result<Json, String> {
        let mut left = MOST;
        self.json_within(DEEPEST, &mut left)
    }

    fn json_within(self, depth: usize, left: &mut usize) -> Result<Json, String> {
        *left = left
            .checked_sub(1)
            .filter(|_| depth > 0)
            .ok_or("holds a configuration that is too large")?;
        let list = |values: Vec<Value>, left: &mut usize| {
            let values = values.into_iter();
            let values: Result<Vec<Json>, String> = values
                .map(|value| value.json_within(depth - 1, left))
                .collect();
            values.map(Json::Array)
        };
        Ok(match self.node() {
            Node::Bool(value) => Json::Bool(*value),
            Node::Int(value) => Json::from(*value),
            Node::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Node::Text(text) => Json::from(&**text),
            Node::List(_) | Node::Tuple(_) => list(self.elements().unwrap_or_default(), left)?,
            Node::Dict(_) => self.object(depth, left)?,
            Node::Object(object) => {
                let entries = self.entries();
                let argument = self.at(object.arguments).elements().unwrap_or_default();
                if let (true, [member]) = (entries.is_empty(), argument.as_slice()) {
                    return match member.node() {
                        Node::Text(_) | Node::Int(_) => member.json_within(depth - 1, left),
                        _ => Ok(Json::Null),
                    };
                }
                match self.elements().filter(|_| entries.is_empty()) {
                    Some(elements) => list(elements, left)?,
                    None => self.object(depth, left)?,
                }
            }
            _ => Json::Null,
        })
    }

    fn object(self, depth: usize, left: &mut usize) -> Result<Json, String> {
        let mut keys = Map::new();
        for (key, value) in self.entries() {
            keys.insert(key.to_owned(), value.json_within(depth - 1, left)?);
        }
        Ok(Json::Object(keys))
    }
}
