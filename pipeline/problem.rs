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
        self.0.push(Problem { at: at.clone(), says: says.to_string() });
    }

    /// One line each: `file:line:column: sentence`, in the order of the file; what `--set` did comes last.
    pub fn print(mut self, file: &str, text: &str) -> String {
        self.0.sort_by_key(|p| if let At::Byte(b) = p.at { b } else { usize::MAX });
        let line = |p: &Problem| match &p.at {
            At::Set(argument) => format!("--set {argument}: {}\n", p.says),
            At::Byte(b) => {
                let before = &text[..text.floor_char_boundary(*b)];
                let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
                format!("{file}:{}:{column}: {}\n", before.matches('\n').count() + 1, p.says)
            }
        };
        self.0.iter().map(line).collect()
    }
}

/// `; did you mean `x`?`, or nothing.
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let likeness = |k: &str| strsim::jaro_winkler(word, k);
    let close = known.into_iter().filter(|k| likeness(k) > 0.8);
    let best = close.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.map_or(String::new(), |k| format!("; did you mean `{k}`?"))
}

/// `` `a`, `b`, `c` ``
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
