//! The plan as a picture in text: stages as boxes, what crosses threads as bold arrows, what stays in one as thin ones.
use crate::graph::plan::{Edge, Phase, Plan};

mod inside;
mod layout;
mod place;
pub mod svg;

/// Graphviz.
pub fn dot(plan: &Plan) -> String {
    let mut text = format!(
        "digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n",
        plan.name
    );
    for (p, phase) in plan.phases.iter().enumerate() {
        text += &format!("  subgraph cluster_{p} {{\n    label=\"{}\";\n", phase.name);
        for (s, stage) in phase.stages.iter().enumerate() {
            text += &format!(
                "    subgraph cluster_{p}_{s} {{\n      label=\"stage {s}\"; style=dashed;\n"
            );
            for &n in stage {
                let spec = &phase.nodes[n].spec;
                text += &format!(
                    "      \"{}/{}\" [label=\"{}\\n{}\"];\n",
                    phase.name, spec.name, spec.name, spec.kind
                );
            }
            text += "    }\n";
        }
        for edge in &phase.edges {
            let style = if edge.within { "solid" } else { "bold" };
            let [from, to] = ends(phase, edge).map(|name| format!("{}/{name}", phase.name));
            text += &format!(
                "    \"{from}\" -> \"{to}\" [label=\"{}\", style={style}];\n",
                edge.out
            );
        }
        text += "  }\n";
    }
    text + "}\n"
}

/// Mermaid, as READMEs on GitHub show it.
pub fn mermaid(plan: &Plan) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (p, phase) in plan.phases.iter().enumerate() {
        text += &format!("  subgraph p{p}[\"{}\"]\n", phase.name);
        for (s, stage) in phase.stages.iter().enumerate() {
            text += &format!("    subgraph p{p}s{s}[\"stage {s}\"]\n");
            for &n in stage {
                let spec = &phase.nodes[n].spec;
                text += &format!("      p{p}n{n}[\"{}<br>{}\"]\n", spec.name, spec.kind);
            }
            text += "    end\n";
        }
        for edge in &phase.edges {
            let arrow = if edge.within { "-->" } else { "==>" };
            text += &format!(
                "    p{p}n{} {arrow}|{}| p{p}n{}\n",
                edge.from, edge.out, edge.to
            );
        }
        text += "  end\n";
    }
    text
}

fn ends<'a>(phase: &'a Phase, edge: &Edge) -> [&'a str; 2] {
    [edge.from, edge.to].map(|n| phase.nodes[n].name())
}
