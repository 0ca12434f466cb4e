//! `pipeline show GRAPH [--format dot|mermaid]`
use crate::{Outcome, graph, print};
use pipeline::draw;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    #[arg(long, value_enum, default_value = "dot")]
    format: Drawing,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Drawing {
    Dot,
    Mermaid,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let plan = self.graph.plan()?;
        print(&match self.format {
            Drawing::Dot => draw::dot(&plan),
            Drawing::Mermaid => draw::mermaid(&plan),
        })
    }
}
