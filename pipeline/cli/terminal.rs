//! What stderr is: a terminal or not, how wide it is, and whether it shows colours.
use console::{Style, Term};
use nodes::data::printable::printable_lines;
use std::borrow::Cow;
use std::env;
use std::io::{IsTerminal, Write};

/// Tells whether lines on stderr can be drawn anew, as a bar needs.
pub(crate) fn redraws() -> bool {
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stderr().is_terminal() && !is_dumb
}

/// Returns the width of the terminal in columns.
pub(crate) fn columns() -> usize {
    Term::stderr().size().1.into()
}

/// Tells whether stderr is a terminal with colours, and nobody has forbidden them by `NO_COLOR`.
fn has_colors() -> bool {
    let is_forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    redraws() && !is_forbidden
}

/// Colours the beginning of a line, up to its first colon: `warning:`, or the place of an error.
fn colored(line: &str, style: Style) -> String {
    let head = line.find(": ").map_or(line.len(), |colon| colon + 1);
    let style = style.force_styling(true);
    format!("{}{}", style.apply_to(&line[..head]), &line[head..])
}

/// Returns a line about a run as the terminal shows it: warnings begin in colour.
pub(crate) fn painted(line: &str) -> Cow<'_, str> {
    if line.starts_with("warning: ") && has_colors() {
        return colored(line, Style::new().yellow().bold()).into();
    }
    line.into()
}

/// Prints lines to stderr; control characters that file names bring are escaped.
pub(crate) fn print_line(text: &str) {
    let text = printable_lines(text);
    let _ = writeln!(std::io::stderr(), "{}", painted(&text));
}

/// Prints the message of an error to stderr; each of its lines begins in colour.
pub(crate) fn print_error(message: &str) {
    let message = printable_lines(message);
    let mut stderr = std::io::stderr();
    if !has_colors() {
        let _ = writeln!(stderr, "{message}");
        return;
    }
    for line in message.lines() {
        let _ = writeln!(stderr, "{}", colored(line, Style::new().red().bold()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_colored_and_the_sentence_is_not() {
        let red = |line| colored(line, Style::new().red());
        assert_eq!(
            red("g.json:1:2: no node"),
            "\u{1b}[31mg.json:1:2:\u{1b}[0m no node"
        );
        assert_eq!(red("no node"), "\u{1b}[31mno node\u{1b}[0m");
    }
}
