//! The options of one node. serde stops at the first that is wrong; so that one is taken away and the rest is read again,
//! until all are known. A required option that is wrong or missing gets something in its place that serde takes.
use crate::graph::json::{Json, argument};
use crate::graph::problem::{At, Problems};
use nodes::data::suggestion::suggestion;
use nodes::node::{Config, OptionError, Parse};

/// Stand-ins for an option of unknown type.
const ANYTHING: [&str; 7] = ["1", "0.5", "x", "[]", "{}", "true", "null"];

/// What was made of the options. If something is wrong with them, it only tells the node's ports.
pub fn read(
    node: &str,
    written: &Json,
    parse: Parse,
    problems: &mut Problems,
) -> Option<Box<dyn Config>> {
    let mut reader = Reader {
        node,
        written,
        options: written.clone(),
        parse,
        gone: vec![],
        stood: vec![],
        problems,
    };
    loop {
        match parse(reader.options.value()) {
            Ok(config) => return Some(config),
            Err(wrong) => {
                if !reader.repair(wrong) {
                    return None;
                }
            }
        }
    }
}

struct Reader<'a> {
    node: &'a str,
    written: &'a Json,
    options: Json,
    parse: Parse,
    /// Where something was wrong, and under which name: what is missing now because of that is not reported as well.
    gone: Vec<(At, String)>,
    /// Options with a stand-in.
    stood: Vec<String>,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    /// Reports what is wrong and takes it away; false if that is not possible.
    fn repair(&mut self, wrong: OptionError) -> bool {
        let mut path: Vec<String> = wrong
            .path
            .iter()
            .map(|step| step.trim_matches(['[', ']']).to_owned())
            .collect();
        // serde's sentences: unknown field `x`, expected one of `a`, `b` · missing field `x` · invalid type: ..., expected ...
        let words: Vec<&str> = wrong.says.split('`').skip(1).step_by(2).collect();
        let (word, known) = words.split_first().map_or(("", &[][..]), |(w, k)| (*w, k));
        if wrong.says.starts_with("missing field") {
            return self.missing(path, word);
        }
        // A complaint about a stand-in, or about options together of which one is gone, says nothing of what was written.
        if path
            .first()
            .map_or(!self.gone.is_empty(), |first| self.stood.contains(first))
        {
            return false;
        }
        let says = if wrong.says.starts_with("unknown field") {
            path.extend((path.last().is_none_or(|l| l != word)).then(|| word.to_owned()));
            format!(
                "unknown option `{word}`{}",
                suggestion(word, known.iter().copied())
            )
        } else {
            let near = if wrong.says.starts_with("unknown variant") {
                suggestion(word, known.iter().copied())
            } else {
                String::new()
            };
            format!("{}{}{near}", self.shown(&path), plain(&wrong.says))
        };
        self.problems.add(
            &self.options.place(&path),
            format!("node `{}`: {says}", self.node),
        );
        self.gone.push((
            self.container(&path),
            path.last().cloned().unwrap_or_default(),
        ));
        self.options.remove(&path)
    }

    fn missing(&mut self, path: Vec<String>, name: &str) -> bool {
        let place = self.options.place(&path);
        let here = (
            self.container(&[path.clone(), vec![name.to_owned()]].concat()),
            name.to_owned(),
        );
        if !self.gone.contains(&here) {
            let within = self.shown(&path);
            self.problems.add(
                &place,
                format!("node `{}`: {within}needs the option `{name}`", self.node),
            );
            self.gone.push(here);
        }
        if path.is_empty() {
            self.stand_in(name)
        } else {
            self.options.remove(&path)
        }
    }

    /// Puts something at `name` that serde takes.
    fn stand_in(&mut self, name: &str) -> bool {
        if self.stood.iter().any(|s| s == name) {
            return false;
        }
        let complains = |wrong: &OptionError| match wrong.path.first() {
            Some(first) => first == name,
            None => wrong.says.contains(&format!("`{name}`")),
        };
        for text in ANYTHING {
            let Some(value) = argument(text, &self.written.at, &mut Problems::default()) else {
                continue;
            };
            let mut tried = self.options.clone();
            let put = tried.put(&[name.to_owned()], value).is_ok();
            if put
                && (self.parse)(tried.value())
                    .err()
                    .is_none_or(|wrong| !complains(&wrong))
            {
                self.options = tried;
                self.stood.push(name.to_owned());
                return true;
            }
        }
        false
    }

    /// The place of the object that holds the last step of `path`.
    fn container(&self, path: &[String]) -> At {
        self.options
            .place(path.split_last().map_or(&[], |(_, way)| way))
    }

    /// ``option `terms[1].weight`: ``, with the numbers that the items had when nothing had been taken away yet.
    fn shown(&self, path: &[String]) -> String {
        if path.is_empty() {
            return String::new();
        }
        let at = self.options.place(path);
        let way = if matches!(at, At::Byte(_)) {
            self.written.way(&at)
        } else {
            None
        };
        let way = way
            .filter(|w| w.len() == path.len())
            .unwrap_or(path.to_vec());
        let step = |s: &String| {
            if s.parse::<usize>().is_ok() {
                format!("[{s}]")
            } else {
                format!(".{s}")
            }
        };
        format!(
            "option `{}`: ",
            way.iter()
                .map(step)
                .collect::<String>()
                .trim_start_matches('.')
        )
    }
}

/// serde's sentence in the words of JSON.
fn plain(says: &str) -> String {
    let words = [
        ("expected usize", "expected a whole number from 0"),
        ("expected u64", "expected a whole number from 0"),
        ("expected u32", "expected a whole number from 0"),
        ("expected f64", "expected a number"),
        ("expected f32", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
        ("expected a boolean", "expected true or false"),
        ("expected a string", "expected text"),
        ("invalid type: sequence", "invalid type: a list"),
        ("invalid type: map", "invalid type: an object"),
        ("floating point `", "number `"),
        ("integer `", "number `"),
    ];
    let says = words
        .iter()
        .fold(says.to_owned(), |s, (from, to)| s.replace(from, to));
    match says.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected an object"),
        None => says,
    }
}

/// A config of this kind made of stand-ins, to ask for its ports.
pub fn any(parse: Parse) -> Option<Box<dyn Config>> {
    let nothing = Json {
        at: At::Byte(0),
        kind: crate::graph::json::Kind::Map(vec![]),
    };
    read("", &nothing, parse, &mut Problems::default())
}
