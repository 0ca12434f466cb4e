//! `pipeline completions SHELL`: prints a completion script.
//!
//! The script knows commands, flags and kinds by itself. For what depends on a graph, such as its
//! ports, it calls `pipeline __complete`.
mod graph_file;
mod ways;
mod words;

use crate::CommandLine;
use crate::ending::CommandResult;
use crate::print::print;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Where the script for zsh calls its function, if it was loaded by this call.
const ZSH_CALL: &str = "if [ \"$funcstack[1]\" = \"_pipeline\" ]; then";

/// The command by which a script asks.
const ANSWER: &str = "__complete";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The shell that the script is for
    shell: Shell,
}

impl Arguments {
    /// Prints the script.
    pub(crate) fn run(self) -> CommandResult {
        print(&script(self.shell))
    }
}

fn script(shell: Shell) -> String {
    let mut script = vec![];
    let mut command = CommandLine::command();
    generate(shell, &mut command, "pipeline", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => format!("{script}\n{}", include_str!("completions/graph.bash")),
        Shell::Fish => format!("{script}\n{}", include_str!("completions/graph.fish")),
        Shell::Zsh => {
            let asking = include_str!("completions/graph.zsh");
            script.replacen(ZSH_CALL, &format!("{asking}\n{ZSH_CALL}"), 1)
        }
        _ => script.into_owned(),
    }
}

/// Answers a script, if the command line is `pipeline __complete -- WORDS`: prints what the last of
/// the words behind the program's name may be completed to, one a line, with a tab and a description
/// if there is one. Returns whether it was such a call.
pub(crate) fn answer() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|command| command != ANSWER) {
        return false;
    }
    let words = arguments.skip_while(|word| word == "--");
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let mut lines = String::new();
    for candidate in words::candidates(&words) {
        lines += &candidate.value;
        if !candidate.help.is_empty() {
            lines += &format!("\t{}", candidate.help);
        }
        lines.push('\n');
    }
    // A shell shows nothing of an error.
    let _ = print(&lines);
    true
}

/// What a word may be completed to.
struct Candidate {
    value: String,
    /// A line about it; empty if there is nothing to say.
    help: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_ask_for_what_a_graph_says() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            assert_eq!(script.matches(ANSWER).count(), 1, "{shell}");
        }
    }
}
