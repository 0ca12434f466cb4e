//! The option `--layers` of commands: `all`, numbers (`0,4,8`, from the end `-1`) and ranges (`0-4`)
//! in any mixture.
use crate::Result;
use std::collections::BTreeSet;
use std::str::FromStr;

/// A choice of layers, before the model is known.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerChoice(Vec<LayerItem>);

#[derive(Clone, Debug, PartialEq)]
enum LayerItem {
    All,
    /// Both bounds belong to it. Negative ones count from the end: -1 is the last layer.
    Range(i64, i64),
}

impl LayerChoice {
    /// Chooses all layers.
    pub fn all() -> LayerChoice {
        LayerChoice(vec![LayerItem::All])
    }

    /// Whether a layer of a model whose last one is `deepest` is not chosen.
    pub fn leaves_out(&self, deepest: usize) -> bool {
        self.layers(deepest)
            .is_ok_and(|layers| layers.len() <= deepest)
    }

    /// Returns the layers of a model whose last layer is `deepest`, in order, each once.
    ///
    /// # Errors
    /// A layer does not exist, or a range ends before it begins.
    pub fn layers(&self, deepest: usize) -> Result<Vec<usize>> {
        let mut layers = BTreeSet::new();
        for item in &self.0 {
            let (first, last) = match item {
                LayerItem::All => (0, deepest),
                LayerItem::Range(first, last) => (layer(*first, deepest)?, layer(*last, deepest)?),
            };
            if first > last {
                return Err(
                    format!("layers {first} to {last} are none; write {last}-{first}").into(),
                );
            }
            layers.extend(first..=last);
        }
        Ok(layers.into_iter().collect())
    }
}

/// Returns the layer that a number names.
fn layer(number: i64, deepest: usize) -> Result<usize> {
    let count = deepest as i64 + 1;
    let layer = if number < 0 {
        number.saturating_add(count)
    } else {
        number
    };
    if (0..count).contains(&layer) {
        Ok(layer as usize)
    } else {
        Err(format!("there is no layer {number}, the model has 0 to {deepest}").into())
    }
}

impl FromStr for LayerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<LayerChoice, String> {
        // Spaces around a dash belong to a range; `0 -1` are two numbers.
        let mut joined = text.trim().to_owned();
        for (spaced, tight) in [(" - ", "-"), ("- ", "-")] {
            joined = joined.replace(spaced, tight);
        }
        let mut items = vec![];
        for word in joined
            .split([',', ' ', '\t'])
            .filter(|word| !word.is_empty())
        {
            let item = parse_item(word);
            items.push(item.ok_or_else(|| {
                format!("`{word}` is no layer; write numbers, ranges or all: 0,4,8 or 0-4 or -1")
            })?);
        }
        if items.is_empty() {
            return Err("names no layer".into());
        }
        Ok(LayerChoice(items))
    }
}

fn parse_item(word: &str) -> Option<LayerItem> {
    if word == "all" {
        return Some(LayerItem::All);
    }
    if let Ok(number) = word.parse() {
        return Some(LayerItem::Range(number, number));
    }
    // The dash of a range follows a digit.
    let dash = word.char_indices().skip(1).find(|(_, c)| *c == '-')?.0;
    let first = word[..dash].parse().ok()?;
    let last = word[dash + 1..].parse().ok()?;
    Some(LayerItem::Range(first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(text: &str) -> Result<Vec<usize>, String> {
        let choice: LayerChoice = text.parse()?;
        choice.layers(6).map_err(|e| e.to_string())
    }

    #[test]
    fn numbers_ranges_and_all() {
        let cases: [(&str, &[usize]); 14] = [
            ("0,4", &[0, 4]),
            ("4, 0", &[0, 4]),
            ("4,4", &[4]),
            ("0-2", &[0, 1, 2]),
            ("0 - 2", &[0, 1, 2]),
            ("0, 2 - 3 ,-1", &[0, 2, 3, 6]),
            ("-1", &[6]),
            ("-7", &[0]),
            ("0 -1", &[0, 6]),
            ("-3--1", &[4, 5, 6]),
            ("5--1", &[5, 6]),
            ("all", &[0, 1, 2, 3, 4, 5, 6]),
            ("all,-1", &[0, 1, 2, 3, 4, 5, 6]),
            ("1 3", &[1, 3]),
        ];
        for (text, expected) in cases {
            assert_eq!(layers(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_layer() {
        let errors = [
            ("7", "there is no layer 7, the model has 0 to 6"),
            ("-8", "there is no layer -8, the model has 0 to 6"),
            ("0-7", "there is no layer 7, the model has 0 to 6"),
            ("3-1", "layers 3 to 1 are none; write 1-3"),
            ("", "names no layer"),
            (" , ", "names no layer"),
        ];
        for (text, expected) in errors {
            assert_eq!(layers(text), Err(expected.to_owned()), "{text}");
        }
        for text in ["x", "1-", "1-2-3", "1.5", "last"] {
            assert!(layers(text).unwrap_err().contains("is no layer"), "{text}");
        }
    }
}
