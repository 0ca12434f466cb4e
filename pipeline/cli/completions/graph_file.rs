//! What a graph file says, as far as it can be read: it may be half written.
use super::Candidate;
use nodes::KINDS;
use nodes::data::text::{is_pipe, read_graph};
use nodes::node::Kind;
use pipeline::graph::edges::describe;
use serde_json::Value;
use std::path::Path;

/// The phases and nodes of a graph file.
pub(super) struct GraphFile {
    pub(super) phases: Vec<PhaseNodes>,
}

/// The nodes of a phase, or of a file without phases.
pub(super) struct PhaseNodes {
    /// `None` in a file without phases.
    pub(super) name: Option<String>,
    pub(super) nodes: Vec<NamedNode>,
}

/// A node of a known kind.
pub(super) struct NamedNode {
    pub(super) name: String,
    pub(super) kind: &'static Kind,
    pub(super) options: Value,
}

impl GraphFile {
    /// Reads the file; `None` if it is no JSON, or a pipe, which can be read only once.
    pub(super) fn read(path: &Path) -> Option<GraphFile> {
        if is_pipe(path) {
            return None;
        }
        let file: Value = serde_json::from_slice(&read_graph(path).ok()?).ok()?;
        let phases = match file["phases"].as_array() {
            Some(phases) => phases.iter().map(phase).collect(),
            None => vec![phase(&file)],
        };
        Some(GraphFile { phases })
    }

    /// Lists the names of the phases.
    pub(super) fn phase_names(&self) -> Vec<Candidate> {
        let names = self.phases.iter().filter_map(|phase| phase.name.as_ref());
        names
            .map(|name| Candidate {
                value: name.clone(),
                help: String::new(),
            })
            .collect()
    }

    /// Lists the output ports of a phase, by default of the first.
    pub(super) fn ports(&self, phase: Option<&str>) -> Vec<Candidate> {
        let mut phases = self.phases.iter();
        let chosen = match phase {
            Some(name) => phases.find(|phase| phase.name.as_deref() == Some(name)),
            None => phases.next(),
        };
        let mut candidates = vec![];
        for node in chosen.into_iter().flat_map(|phase| &phase.nodes) {
            for port in node.kind.ports.outputs {
                candidates.push(Candidate {
                    value: format!("{}.{}", node.name, port.name),
                    help: describe(port.carries),
                });
            }
        }
        candidates
    }
}

/// Reads the nodes of a phase, or of a file without phases; those of unknown kinds are left out.
fn phase(json: &Value) -> PhaseNodes {
    let mut nodes = vec![];
    for (name, node) in json["nodes"].as_object().into_iter().flatten() {
        if let Some(kind) = KINDS.iter().find(|kind| node["kind"] == kind.name) {
            nodes.push(NamedNode {
                name: name.clone(),
                kind,
                options: node.clone(),
            });
        }
    }
    let is_phase = json.get("phases").is_none() && json.get("seed").is_none();
    let name = json["name"].as_str().filter(|_| is_phase);
    PhaseNodes {
        name: name.map(str::to_owned),
        nodes,
    }
}
