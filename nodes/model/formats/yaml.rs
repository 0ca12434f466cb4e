//! The YAML of training recipes: nested keys, and scalars, lists in brackets or with dashes below
//! them. Anchors, tags, blocks of text and braces are refused.
use serde_json::{Map, Number, Value as Json};

/// How deep keys lie within each other.
const DEEPEST: usize = 16;

/// A line that says something.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads a document whose top is a mapping.
pub(super) fn parse(text: &str) -> Result<Map<String, Json>, String> {
    let mut lines = vec![];
    for (i, line) in text.lines().enumerate() {
        let content = without_comment(line);
        let trimmed = content.trim();
        let number = i + 1;
        if trimmed.is_empty() || trimmed == "---" {
            continue;
        }
        let indent = content.len() - content.trim_start_matches(' ').len();
        if content[indent..].starts_with('\t') {
            return Err(format!("line {number} is indented by a tab"));
        }
        lines.push(Line {
            number,
            indent,
            text: trimmed,
        });
    }
    let mut rest = lines.as_slice();
    let map = mapping(&mut rest, 0, DEEPEST)?;
    match rest.first() {
        None => Ok(map),
        Some(line) => Err(format!(
            "line {} is indented unlike those before it",
            line.number
        )),
    }
}

/// Reads the keys at one indentation.
fn mapping(lines: &mut &[Line], indent: usize, depth: usize) -> Result<Map<String, Json>, String> {
    let mut map = Map::new();
    while let Some(line) = lines.first().filter(|line| line.indent == indent) {
        let number = line.number;
        let split = line
            .text
            .split_once(": ")
            .or_else(|| line.text.strip_suffix(':').map(|key| (key, "")));
        let (key, value) = split.ok_or_else(|| format!("line {number} has no `key: value`"))?;
        if depth == 0 {
            return Err(format!("line {number} is nested too deeply"));
        }
        *lines = &lines[1..];
        let value = if value.trim().is_empty() {
            below(lines, indent, depth)?
        } else {
            let whole = joined(value.trim(), lines, indent);
            scalar_or_list(&whole).map_err(|what| format!("line {number}: {what}"))?
        };
        map.insert(key.trim().trim_matches(['"', '\'']).to_owned(), value);
    }
    Ok(map)
}

/// Reads what stands below a key without a value: keys, a list, or nothing.
fn below(lines: &mut &[Line], indent: usize, depth: usize) -> Result<Json, String> {
    let Some(next) = lines.first() else {
        return Ok(Json::Null);
    };
    let is_item = |line: &Line| line.text.starts_with("- ") || line.text == "-";
    if is_item(next) && next.indent >= indent {
        let item_indent = next.indent;
        let mut items = vec![];
        while let Some(line) = lines
            .first()
            .filter(|line| line.indent == item_indent && is_item(line))
        {
            let item = scalar_or_list(line.text[1..].trim());
            items.push(item.map_err(|what| format!("line {}: {what}", line.number))?);
            *lines = &lines[1..];
        }
        return Ok(Json::Array(items));
    }
    if next.indent > indent {
        return mapping(lines, next.indent, depth - 1).map(Json::Object);
    }
    Ok(Json::Null)
}

/// Joins a value with the lines below it on which a long one goes on.
fn joined(value: &str, lines: &mut &[Line], indent: usize) -> String {
    let mut whole = value.to_owned();
    while let Some(line) = lines.first().filter(|line| line.indent > indent) {
        whole.push(' ');
        whole += line.text;
        *lines = &lines[1..];
    }
    whole
}

fn scalar_or_list(text: &str) -> Result<Json, String> {
    match text.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']').ok_or("a list does not end")?;
            let items = inner
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            items.map(scalar).collect::<Result<_, _>>().map(Json::Array)
        }
        None => scalar(text),
    }
}

/// Reads text, a number, a truth value or null.
fn scalar(text: &str) -> Result<Json, String> {
    for quote in ['\'', '"'] {
        if let Some(rest) = text.strip_prefix(quote) {
            let inner = rest
                .strip_suffix(quote)
                .ok_or("a text in quotes does not end")?;
            return Ok(Json::from(inner.replace("''", "'")));
        }
    }
    if text.starts_with(['&', '*', '!', '|', '>', '{', '[', '%', '@', '`']) {
        return Err(format!(
            "`{text}` is a form of YAML that this version does not read"
        ));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Json::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "on" | "On" => Json::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "off" | "Off" => Json::Bool(false),
        _ => number(text).unwrap_or_else(|| Json::from(text)),
    })
}

fn number(text: &str) -> Option<Json> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Json::from(whole));
    }
    let looks = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let float = text.parse::<f64>().ok().filter(|_| looks)?;
    Number::from_f64(float).map(Json::Number)
}

/// Cuts a comment off: `#` at the beginning or behind a space, outside of quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (place, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if (c == '\'' || c == '"') && (before.is_whitespace() || before == '[') => {
                quote = Some(c)
            }
            None if c == '#' && before.is_whitespace() => return &line[..place],
            None => {}
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_recipe_is_read() {
        let text = "# a recipe\nmodel: armhubert\ndistiller:\n  # convolutions\n  \
                    conv: '[(128, 10, 5)] +\n    [(256, 1, 1)] * 2'\n  layers: 12\n  lr: 5.e-3\n  \
                    bias: False\n  none:\ndata:\n  sets: ['a', 'b']  # two\n  more:\n  - c\n  - 1\n\
                    name: it's # fine\n";
        let read = Json::Object(parse(text).expect("read"));
        let expected = json!({
            "model": "armhubert",
            "distiller": {
                "conv": "[(128, 10, 5)] + [(256, 1, 1)] * 2", "layers": 12, "lr": 0.005,
                "bias": false, "none": null,
            },
            "data": {"sets": ["a", "b"], "more": ["c", 1]},
            "name": "it's",
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn other_forms_are_refused_by_line() {
        for (text, what) in [
            ("a: &x 1", "line 1: `&x 1` is a form of YAML"),
            ("a:\n  b: {c: 1}", "line 2: `{c: 1}` is a form of YAML"),
            ("a: |\n  text", "line 1: `| text` is a form"),
            ("a: [1", "line 1: a list does not end"),
            ("only text", "line 1 has no `key: value`"),
            ("a:\n\tb: 1", "line 2 is indented by a tab"),
            (
                "a: 1\n    b: 2\nc: 'x",
                "line 3: a text in quotes does not end",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(what), "{text}: {error}");
        }
        let deep: String = (0..40).map(|i| format!("{}k:\n", " ".repeat(i))).collect();
        assert!(
            parse(&deep)
                .expect_err("deep")
                .ends_with("is nested too deeply")
        );
    }
}
