//! Draws a plan: as an SVG picture, and as text for Graphviz and Mermaid. Stages are boxes, edges
//! between stages thick arrows, and edges within a stage thin ones.
use crate::graph::plan::Plan;

mod bands;
mod layout;
mod phase;
mod shape;
mod stage;
pub mod svg;

/// Returns the plan in the language of Graphviz.
pub fn dot(plan: &Plan) -> String {
    let name = &plan.name;
    let mut text = format!("digraph \"{name}\" {{\n  rankdir=LR;\n  node [shape=box];\n");
    for (p, phase) in plan.phases.iter().enumerate() {
        let phase_name = &phase.name;
        text += &format!("  subgraph cluster_{p} {{\n    label=\"{phase_name}\";\n");
        for (s, stage) in phase.stages.iter().enumerate() {
            text += &format!("    subgraph cluster_{p}_{s} {{\n");
            text += &format!("      label=\"stage {s}\"; style=dashed;\n");
            for &node in stage {
                let node = &phase.nodes[node];
                let name = node.name();
                let kind = &node.spec.kind;
                text += &format!("      \"{phase_name}/{name}\" [label=\"{name}\\n{kind}\"];\n");
            }
            text += "    }\n";
        }
        for edge in &phase.edges {
            let from = phase.nodes[edge.from].name();
            let to = phase.nodes[edge.to].name();
            let port = edge.out;
            let style = if edge.within { "solid" } else { "bold" };
            text += &format!("    \"{phase_name}/{from}\" -> \"{phase_name}/{to}\" ");
            text += &format!("[label=\"{port}\", style={style}];\n");
        }
        text += "  }\n";
    }
    text + "}\n"
}

/// Returns the plan in the language of Mermaid, which GitHub shows in Markdown.
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
            let from = edge.from;
            let to = edge.to;
            let port = edge.out;
            let arrow = if edge.within { "-->" } else { "==>" };
            text += &format!("    p{p}n{from} {arrow}|{port}| p{p}n{to}\n");
        }
        text += "  end\n";
    }
    text
}
