//! `pipeline completions SHELL`
use crate::{Line, Outcome, print};
use clap::CommandFactory;
use clap_complete::{Shell, generate};

#[derive(clap::Args)]
pub struct Arguments {
    shell: Shell,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let mut script = vec![];
        generate(self.shell, &mut Line::command(), "pipeline", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}
