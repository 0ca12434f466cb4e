//! Finds which argument a word of the command line is, and completes those that depend on a graph.
use super::Candidate;
use super::graph_file::GraphFile;
use super::ways;
use crate::CommandLine;
use clap::{Arg, Command, CommandFactory};
use std::path::Path;

/// Names of the arguments that a graph tells about, as clap has them.
const GRAPH: &str = "graph";
const PORT: &str = "port";
const PHASE: &str = "phase";
const SETS: &str = "sets";

/// Returns what the last of the words behind the program's name may be completed to. None for
/// words that do not depend on a graph, and if no graph is named that can be read.
pub(super) fn candidates(words: &[String]) -> Vec<Candidate> {
    let Some((current, before)) = words.split_last() else {
        return vec![];
    };
    let mut root = CommandLine::command();
    root.build();
    let line = Line::parse(&root, before);
    let Some(graph) = line
        .value(GRAPH)
        .and_then(|path| GraphFile::read(Path::new(path)))
    else {
        return vec![];
    };
    // `--phase=` and what follows it
    let (flag, value) = match current
        .split_once('=')
        .filter(|_| current.starts_with("--"))
    {
        Some((flag, value)) => (format!("{flag}="), value),
        None => (String::new(), current.as_str()),
    };
    let argument = if flag.is_empty() {
        line.next_argument()
    } else {
        line.flag(flag.trim_end_matches('='))
    };
    let found = match argument.map(|argument| argument.get_id().as_str()) {
        Some(PORT) => graph.ports(line.value(PHASE)),
        Some(PHASE) => graph.phase_names(),
        Some(SETS) => ways::candidates(&graph, value),
        _ => vec![],
    };
    let fitting = found
        .into_iter()
        .filter(|candidate| candidate.value.starts_with(value));
    fitting
        .map(|candidate| Candidate {
            value: format!("{flag}{}", candidate.value),
            help: candidate.help,
        })
        .collect()
}

/// The words before the one that is completed.
struct Line<'a> {
    /// The subcommand that they name.
    command: &'a Command,
    /// Names and values of the arguments so far.
    values: Vec<(&'a str, &'a str)>,
    /// The flag that waits for a value.
    open_flag: Option<&'a Arg>,
    positionals: usize,
}

impl<'a> Line<'a> {
    fn parse(root: &'a Command, words: &'a [String]) -> Line<'a> {
        let mut line = Line {
            command: root,
            values: vec![],
            open_flag: None,
            positionals: 0,
        };
        for word in words {
            line.add(word);
        }
        line
    }

    fn add(&mut self, word: &'a str) {
        if let Some(flag) = self.open_flag.take() {
            self.values.push((flag.get_id().as_str(), word));
        } else if word.starts_with('-') {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let flag = self
                .flag(name)
                .filter(|flag| flag.get_action().takes_values());
            match (flag, value) {
                (Some(flag), Some(value)) => self.values.push((flag.get_id().as_str(), value)),
                (flag, None) => self.open_flag = flag,
                (None, Some(_)) => {}
            }
        } else if let Some(command) = self.command.find_subcommand(word) {
            self.command = command;
            self.positionals = 0;
        } else {
            if let Some(argument) = self.next_positional() {
                self.values.push((argument.get_id().as_str(), word));
            }
            self.positionals += 1;
        }
    }

    /// Returns the flag that is written so, with its dashes.
    fn flag(&self, name: &str) -> Option<&'a Arg> {
        let name = name.strip_prefix("--")?;
        let mut arguments = self.command.get_arguments();
        arguments.find(|argument| argument.get_long() == Some(name))
    }

    fn next_positional(&self) -> Option<&'a Arg> {
        self.command.get_positionals().nth(self.positionals)
    }

    /// Returns the argument that the next word is the value of.
    fn next_argument(&self) -> Option<&'a Arg> {
        self.open_flag.or_else(|| self.next_positional())
    }

    /// Returns the last value of an argument.
    fn value(&self, argument: &str) -> Option<&'a str> {
        let mut values = self.values.iter().rev();
        values
            .find(|(name, _)| *name == argument)
            .map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = candidates(&words).into_iter();
        found.map(|candidate| candidate.value).collect()
    }

    #[test]
    fn ports_and_phases_are_those_of_the_graph() {
        let graph = "graphs/dphubert.json";
        assert_eq!(
            complete(&format!("tap {graph} gates.")),
            ["gates.gates", "gates.penalty"]
        );
        let ports = complete(&format!("tap {graph} --phase distill --steps 2 "));
        assert!(ports.contains(&"student.hiddens".to_owned()), "{ports:?}");
        assert!(!ports.contains(&"gates.gates".to_owned()), "{ports:?}");
        assert_eq!(
            complete(&format!("bench {graph} --phase ")),
            ["prune", "distill"]
        );
        assert_eq!(
            complete(&format!("bench {graph} --phase=d")),
            ["--phase=distill"]
        );
    }

    #[test]
    fn other_words_are_left_to_the_shell() {
        for line in [
            "",
            "ru",
            "run ",
            "run graphs/",
            "nodes de",
            "tap graphs/dphubert.json gates.gates --out ",
            "tap graphs/missing.json ",
            "tap README.md ",
        ] {
            assert!(complete(line).is_empty(), "{line}");
        }
    }
}
