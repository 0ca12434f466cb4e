//! Text of other people in messages: names of files and utterances, lines of manifests, values of
//! options. It is data, so it may not move the cursor, change a terminal or begin a new line.
use std::borrow::Cow;
use std::path::Path;

/// How many characters of a text of unknown length a message repeats.
const MAX_CHARACTERS: usize = 300;

/// Escapes control characters, line breaks included, and characters that change the direction of
/// text.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, is_unprintable)
}

/// Escapes as [`printable`] does, but keeps line breaks: for messages of several lines.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && is_unprintable(c))
}

/// Returns a path for a message.
pub fn printable_path(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// Cuts a text that may be of any length to what a message can repeat.
pub fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text.into(),
    }
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return text.into();
    }
    let mut escaped = String::new();
    for c in text.chars() {
        match is_escaped(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    escaped.into()
}

fn is_unprintable(c: char) -> bool {
    let changes_direction = matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || changes_direction || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_is_escaped() {
        let text = "a\u{1b}]0;x\u{7}\n\t\r\u{9b}\u{202e}\u{e9} `|`";
        let expected = "a\\u{1b}]0;x\\u{7}\\n\\t\\r\\u{9b}\\u{202e}\u{e9} `|`";
        assert_eq!(printable(text), expected);
        assert_eq!(printable_lines("a\nb\u{7}"), "a\nb\\u{7}");
        assert_eq!(shortened(&"x".repeat(400)).len(), 303);
        assert_eq!(shortened("x"), "x");
    }
}
