//! Names the slips of people who write JSON by hand, of which a parser only says what it expected.

/// Words of other languages for JSON's null, true and false.
const WORDS: [&str; 8] = [
    "None",
    "True",
    "False",
    "NULL",
    "TRUE",
    "FALSE",
    "nil",
    "undefined",
];

/// Returns what is wrong where a parser stopped, if it is a known slip.
pub(super) fn hint(text: &str, offset: usize) -> Option<String> {
    // The parser may have stopped at the first character of what it rejects, or at the second.
    let starts = [offset, offset.saturating_sub(1)];
    starts.into_iter().find_map(|start| {
        let start = text.floor_char_boundary(start);
        slip(text[..start].trim_end(), text[start..].trim_start())
    })
}

/// Returns what is wrong with text that is divided where it is wrong.
fn slip(before: &str, rest: &str) -> Option<String> {
    let first = rest.chars().next()?;
    let word: &str = rest
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()?;
    match first {
        '}' | ']' if before.ends_with(',') => {
            Some(format!("there is a comma before {first}; remove it"))
        }
        '#' => Some("JSON has no comments; a graph may have `about`".into()),
        '/' if rest.starts_with("//") || rest.starts_with("/*") => {
            Some("JSON has no comments; a graph may have `about`".into())
        }
        '\'' => Some("names stand in double quotes, texts too, not in single ones".into()),
        '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' => {
            Some("names stand in straight double quotes, texts too".into())
        }
        _ if WORDS.contains(&word) => {
            Some(format!("JSON has no `{word}`, but null, true and false"))
        }
        'N' | 'I' if word == "NaN" || word == "Infinity" => {
            Some(format!("JSON has no number `{word}`"))
        }
        _ if first.is_alphabetic() && before.ends_with(['{', ',']) => {
            Some("names stand in double quotes, texts too".into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::json::parse;
    use crate::graph::problem::Problems;

    #[test]
    fn known_slips() {
        let cases = [
            ("{\"a\": 1, }", "a comma before }"),
            ("{\"a\": [1,\n]}", "a comma before ]"),
            ("{\"a\": 1, // one\n\"b\": 2}", "JSON has no comments"),
            ("{ /* one */ \"a\": 1}", "JSON has no comments"),
            ("# one\n{}", "JSON has no comments"),
            ("{\"a\": 1} // one", "JSON has no comments"),
            ("{'a': 1}", "stand in double quotes"),
            ("{\"a\": 'b'}", "stand in double quotes"),
            ("{a: 1}", "stand in double quotes"),
            ("{\"a\": \u{201c}b\u{201d}}", "straight double quotes"),
            ("{\"a\": None}", "JSON has no `None`"),
            ("{\"a\": NaN}", "JSON has no number `NaN`"),
        ];
        for (text, says) in cases {
            let mut problems = Problems::default();
            assert!(parse(text, &mut problems).is_none());
            let message = &problems.iter().next().expect("a problem").message;
            assert!(message.contains(says), "{text}: {message}");
        }
    }

    #[test]
    fn other_errors_keep_the_parsers_words() {
        for text in [
            "{\"a\": 1",
            "{\"a\" 1}",
            "[1 2]",
            "{\"a\": tru}",
            "",
            "{\"a\": \u{e9}",
        ] {
            let mut problems = Problems::default();
            assert!(parse(text, &mut problems).is_none());
            assert!(hint(text, text.len()).is_none(), "{text}");
        }
    }
}
