//! `pipeline completions SHELL`: prints a completion script.
use crate::CommandLine;
use crate::ending::CommandResult;
use crate::print::print;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The shell that the script is for
    shell: Shell,
}

impl Arguments {
    /// Prints the script.
    pub(crate) fn run(self) -> CommandResult {
        let mut script = vec![];
        generate(
            self.shell,
            &mut CommandLine::command(),
            "pipeline",
            &mut script,
        );
        print(&String::from_utf8_lossy(&script))
    }
}
