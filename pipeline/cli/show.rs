//! `pipeline show GRAPH [--format dot|svg|mermaid]`
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
    Svg,
    Mermaid,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let plan = self.graph.plan()?;
        print(&match self.format {
            Drawing::Dot => draw::dot(&plan),
            Drawing::Svg => draw::svg::file(&plan),
            Drawing::Mermaid => draw::mermaid(&plan),
        })
    }
}
