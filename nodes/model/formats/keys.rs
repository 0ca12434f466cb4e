//! The configuration of a checkpoint: values by key, with the defaults of the code that wrote it.
use serde_json::{Map, Value as Json};

/// Keys of one configuration.
pub(super) struct Keys(pub(super) Map<String, Json>);

impl Keys {
    /// Takes the keys of an object.
    pub(super) fn of(value: Json, what: &str) -> Result<Keys, String> {
        match value {
            Json::Object(keys) => Ok(Keys(keys)),
            _ => Err(format!("its {what} is no dictionary")),
        }
    }

    /// Returns a value that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn size(&self, key: &str, default: usize) -> Result<usize, String> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let whole = value.as_u64().and_then(|value| usize::try_from(value).ok());
        whole.ok_or_else(|| wrong(key, value, "a whole number"))
    }

    pub(super) fn number(&self, key: &str, default: f64) -> Result<f64, String> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        value.as_f64().ok_or_else(|| wrong(key, value, "a number"))
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, String> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        match value {
            Json::Bool(flag) => Ok(*flag),
            Json::Number(number) => Ok(number.as_f64() != Some(0.0)),
            _ => Err(wrong(key, value, "true or false")),
        }
    }

    pub(super) fn text(&self, key: &str, default: &str) -> Result<String, String> {
        let Some(value) = self.get(key) else {
            return Ok(default.to_owned());
        };
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| wrong(key, value, "a text"))
    }

    /// Fails unless a key has the only value that this program computes.
    pub(super) fn only(&self, key: &str, known: &str) -> Result<(), String> {
        let found = self.text(key, known)?;
        if found == known {
            return Ok(());
        }
        Err(format!(
            "its `{key}` is \"{found}\"; this version knows \"{known}\""
        ))
    }

    /// Returns one number a layer, of a list or of one number for all.
    pub(super) fn by_layer(&self, key: &str, layers: usize) -> Result<Vec<usize>, String> {
        let value = self.get(key).ok_or_else(|| format!("it has no `{key}`"))?;
        let whole = |value: &Json| match value {
            Json::Bool(flag) => Some(usize::from(*flag)),
            value => value.as_u64().and_then(|value| usize::try_from(value).ok()),
        };
        let values = match value {
            Json::Array(values) => values.iter().map(whole).collect::<Option<Vec<usize>>>(),
            one => whole(one).map(|value| vec![value; layers.min(1024)]),
        };
        match values.filter(|values| values.len() == layers) {
            Some(values) => Ok(values),
            None => Err(wrong(key, value, &format!("{layers} numbers, one a layer"))),
        }
    }
}

fn wrong(key: &str, value: &Json, wanted: &str) -> String {
    let value = crate::data::printable::shortened(&value.to_string()).to_string();
    let value = crate::data::printable::printable(&value).to_string();
    format!("its `{key}` is {value}, not {wanted}")
}
