//! Everything that is wrong with a graph, each with its place.
use std::fmt;

/// A place in the text, or an argument of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    Byte(usize),
    Set(String),
}

#[derive(Debug)]
pub struct Problem {
    pub at: At,
    pub says: String,
}

#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub fn add(&mut self, at: &At, says: impl fmt::Display) {
        self.0.push(Problem {
            at: at.clone(),
            says: says.to_string(),
        });
    }

    /// One line each: `file:line:column: sentence`, in the order of the file; what `--set` did comes last.
    pub fn print(mut self, file: &str, text: &str) -> String {
        self.0.sort_by_key(|p| {
            if let At::Byte(b) = p.at {
                b
            } else {
                usize::MAX
            }
        });
        // A name may hold anything, a problem stays on its line.
        let plain = |s: &str| {
            s.chars()
                .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                .collect::<String>()
        };
        let line = |p: &Problem| match &p.at {
            At::Set(argument) => format!("--set {}: {}\n", plain(argument), plain(&p.says)),
            At::Byte(b) => {
                let before = &text[..text.floor_char_boundary(*b)];
                let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
                format!(
                    "{file}:{}:{column}: {}\n",
                    before.matches('\n').count() + 1,
                    plain(&p.says)
                )
            }
        };
        let mut lines: Vec<String> = self.0.iter().map(line).collect();
        lines.dedup(); // one `--set` may go wrong in every phase
        lines.concat()
    }
}

/// `` `a`, `b`, `c` ``
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|n| format!("`{n}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
