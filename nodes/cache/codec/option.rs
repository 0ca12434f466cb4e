//! The option `codec` of a node, as a graph says it.
mod codebooks;

use crate::node::port::Content;
use serde_json::{Map, Value as Json, json};

/// How the values that a node sends are stored, or only rounded without a cache.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum CodecOption {
    #[default]
    F32,
    F16,
    Bf16,
    Int8(Scale),
    /// Codes of the codebooks in a file.
    MultiCodebook {
        file: String,
    },
    /// So many of a frame's logits, and the probability of the others; layers are exact.
    TopK(u32),
}

/// What a scale of int8 is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A frame of a row.
    Frame,
    /// A value of all frames of a row.
    Channel,
}

/// What a codec may be.
const WRITTEN: &str = "\"f32\", \"f16\", \"bf16\", \"int8\", {\"type\": \"int8\", \"scale\": \
                       \"frame\" or \"channel\"}, {\"type\": \"multi-codebook\", \"file\": PATH} or, \
                       of logits, {\"type\": \"top-k\", \"k\": from 1 to 65536}";

impl CodecOption {
    /// Parses the option.
    ///
    /// # Errors
    /// Says what a codec may be.
    pub fn parse(json: &Json) -> Result<CodecOption, String> {
        let parsed = match json {
            Json::String(name) => CodecOption::named(name),
            Json::Object(fields) if json["type"] == "top-k" => CodecOption::top_k(fields),
            Json::Object(fields) => {
                let named = fields.get("type").and_then(Json::as_str);
                let (other, count) = match named {
                    Some("int8") => ("scale", 2),
                    Some("multi-codebook") => ("file", 2),
                    _ => ("", 1),
                };
                let value = fields.get(other).and_then(Json::as_str);
                let has_others = fields.len() > count;
                match (named, value) {
                    _ if has_others => None,
                    (Some("int8"), Some("frame")) => Some(CodecOption::Int8(Scale::Frame)),
                    (Some("int8"), Some("channel")) => Some(CodecOption::Int8(Scale::Channel)),
                    (Some("multi-codebook"), Some(file)) if !file.is_empty() => {
                        Some(CodecOption::MultiCodebook { file: file.into() })
                    }
                    (Some(name), None) if fields.len() == 1 => CodecOption::named(name),
                    _ => None,
                }
            }
            _ => None,
        };
        parsed.ok_or_else(|| format!("`codec` is {WRITTEN}"))
    }

    fn top_k(fields: &Map<String, Json>) -> Option<CodecOption> {
        let k = u32::try_from(fields.get("k")?.as_u64()?).ok()?;
        let is_valid = fields.len() == 2 && (1..=1 << 16).contains(&k);
        is_valid.then_some(CodecOption::TopK(k))
    }

    fn named(name: &str) -> Option<CodecOption> {
        Some(match name {
            "f32" => CodecOption::F32,
            "f16" => CodecOption::F16,
            "bf16" => CodecOption::Bf16,
            "int8" => CodecOption::Int8(Scale::Frame),
            _ => return None,
        })
    }

    /// Returns the JSON Schema of the option.
    pub fn schema() -> Json {
        json!({
            "description": "How values are stored: \"f32\", \"f16\", \"bf16\", \"int8\" with a scale \
                            for each frame or channel of a row, the codes of codebooks, or the largest \
                            of each frame's logits. A row is rounded before it is sent, with and \
                            without a cache.",
            "anyOf": [
                { "enum": ["f32", "f16", "bf16", "int8"] },
                {
                    "type": "object",
                    "properties": {
                        "type": { "const": "int8" },
                        "scale": { "enum": ["frame", "channel"] },
                    },
                    "required": ["type"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {
                        "type": { "const": "multi-codebook" },
                        "file": { "type": "string", "minLength": 1 },
                    },
                    "required": ["type", "file"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {
                        "type": { "const": "top-k" },
                        "k": { "type": "integer", "minimum": 1, "maximum": 65536 },
                    },
                    "required": ["type", "k"],
                    "additionalProperties": false,
                },
            ],
            "default": "f32",
        })
    }

    /// Returns the option as JSON.
    pub fn json(&self) -> Json {
        match self {
            CodecOption::F32 => json!("f32"),
            CodecOption::F16 => json!("f16"),
            CodecOption::Bf16 => json!("bf16"),
            CodecOption::Int8(Scale::Frame) => json!({ "type": "int8", "scale": "frame" }),
            CodecOption::Int8(Scale::Channel) => json!({ "type": "int8", "scale": "channel" }),
            CodecOption::MultiCodebook { file } => {
                json!({ "type": "multi-codebook", "file": file })
            }
            CodecOption::TopK(k) => json!({ "type": "top-k", "k": k }),
        }
    }

    /// Returns the path of the file that the codec reads.
    pub fn file(&self) -> Option<&str> {
        match self {
            CodecOption::MultiCodebook { file } => Some(file),
            _ => None,
        }
    }

    /// Returns the number of bytes that a layer of a row takes for a frame, and for the row; `None`
    /// if that depends on codebooks whose number is not known.
    pub fn bytes(&self, content: Content, width: u64, books: Option<u64>) -> Option<[u64; 2]> {
        Some(match self {
            CodecOption::TopK(k) if matches!(content, Content::Logits(_)) => {
                [8 * width.min((*k).into()) + 4, 0]
            }
            CodecOption::TopK(_) => [4 * width, 0],
            CodecOption::F32 => [4 * width, 0],
            CodecOption::F16 | CodecOption::Bf16 => [2 * width, 0],
            CodecOption::Int8(Scale::Frame) => [width + 4, 0],
            CodecOption::Int8(Scale::Channel) => [width, 4 * width],
            CodecOption::MultiCodebook { .. } => [books?, 0],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_names_or_objects() {
        let int8 = CodecOption::Int8(Scale::Frame);
        let cases = [
            (json!("f32"), Some(CodecOption::F32)),
            (json!({ "type": "f16" }), Some(CodecOption::F16)),
            (json!("int8"), Some(int8.clone())),
            (json!({ "type": "int8" }), Some(int8)),
            (
                json!({ "type": "int8", "scale": "channel" }),
                Some(CodecOption::Int8(Scale::Channel)),
            ),
            (
                json!({ "type": "multi-codebook", "file": "x" }),
                Some(CodecOption::MultiCodebook { file: "x".into() }),
            ),
            (
                json!({ "type": "top-k", "k": 8 }),
                Some(CodecOption::TopK(8)),
            ),
            (json!({ "type": "top-k" }), None),
            (json!({ "type": "top-k", "k": 0 }), None),
            (json!({ "type": "top-k", "k": 65537 }), None),
            (json!({ "type": "top-k", "k": 8, "x": 1 }), None),
            (json!("f8"), None),
            (json!("multi-codebook"), None),
            (json!({ "type": "multi-codebook" }), None),
            (json!({ "type": "f16", "scale": "frame" }), None),
            (json!({ "type": "int8", "scale": "row" }), None),
            (json!({ "type": "int8", "scale": "row", "x": 1 }), None),
            (json!(16), None),
            (json!(null), None),
        ];
        for (json, expected) in cases {
            assert_eq!(CodecOption::parse(&json).ok(), expected, "{json}");
            if let Some(option) = expected {
                assert_eq!(CodecOption::parse(&option.json()), Ok(option));
            }
        }
    }
}
