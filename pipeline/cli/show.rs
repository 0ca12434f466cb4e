//! `pipeline show GRAPH [--format dot|svg|mermaid]`
use crate::ending::CommandResult;
use crate::graph;
use crate::print::print;
use pipeline::draw;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    /// Output format
    #[arg(long, value_enum, default_value = "dot")]
    format: DrawingFormat,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum DrawingFormat {
    Dot,
    Svg,
    Mermaid,
}

impl Arguments {
    /// Prints the drawing.
    pub(crate) fn run(self) -> CommandResult {
        let plan = self.graph.plan()?;
        print(&match self.format {
            DrawingFormat::Dot => draw::dot(&plan),
            DrawingFormat::Svg => draw::svg::file(&plan),
            DrawingFormat::Mermaid => draw::mermaid(&plan),
        })
    }
}
