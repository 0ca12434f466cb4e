//! Completes the argument of `--set`: `phase.node.option=value`.
use super::Candidate;
use super::graph_file::{GraphFile, NamedNode};
use crate::schema;
use serde_json::Value;

/// Returns what an argument that begins with `written` may be completed to.
pub(super) fn candidates(graph: &GraphFile, written: &str) -> Vec<Candidate> {
    let way = written.split('=').next().unwrap_or_default();
    let mut candidates = vec![];
    if !way.contains('.') {
        candidates.extend(first_words(graph));
    }
    for phase in &graph.phases {
        for node in &phase.nodes {
            let mut prefixes = vec![format!("{}.", node.name)];
            if let Some(phase) = &phase.name {
                prefixes.push(format!("{phase}.{}.", node.name));
            }
            for prefix in prefixes {
                if written.starts_with(&prefix) {
                    let schema = schema::node(node.kind);
                    add_options(&prefix, &schema, &node.options, written, &mut candidates);
                }
            }
            let phase_prefix = phase.name.as_ref().map(|phase| format!("{phase}."));
            if phase_prefix.is_some_and(|prefix| written.starts_with(&prefix)) {
                candidates.extend(phase.name.as_ref().map(|phase| node_word(phase, node)));
            }
        }
    }
    candidates.sort_by(|a, b| a.value.cmp(&b.value));
    candidates.dedup_by(|a, b| a.value == b.value);
    candidates.retain(|candidate| candidate.value != written);
    candidates
}

/// Lists what an argument begins with.
fn first_words(graph: &GraphFile) -> Vec<Candidate> {
    let mut words = vec![Candidate {
        value: "seed=".to_owned(),
        help: "of all random draws".to_owned(),
    }];
    for phase in &graph.phases {
        words.extend(phase.name.as_ref().map(|name| Candidate {
            value: format!("{name}."),
            help: "a phase".to_owned(),
        }));
        words.extend(phase.nodes.iter().map(|node| Candidate {
            value: format!("{}.", node.name),
            help: node.kind.name.to_owned(),
        }));
    }
    words
}

fn node_word(phase: &str, node: &NamedNode) -> Candidate {
    Candidate {
        value: format!("{phase}.{}.", node.name),
        help: node.kind.name.to_owned(),
    }
}

/// Adds the options of an object with this schema, behind `prefix`: those that have options or items
/// of their own end in a dot, others in `=`, or in a value if the schema lists these.
fn add_options(
    prefix: &str,
    schema: &Value,
    current: &Value,
    written: &str,
    candidates: &mut Vec<Candidate>,
) {
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        if name == "kind" || name == "inputs" {
            continue;
        }
        let way = format!("{prefix}{name}");
        let current = &current[name.as_str()];
        let help = option["description"].as_str().unwrap_or_default();
        let help = help.replace('\n', " ");
        if let Some(inner) = object_schema(option) {
            let deeper = format!("{way}.");
            if written.starts_with(&deeper) {
                add_options(&deeper, inner, current, written, candidates);
            }
            candidates.push(Candidate {
                value: deeper,
                help,
            });
            continue;
        }
        if option["additionalProperties"].is_object() {
            for key in current.as_object().into_iter().flat_map(|keys| keys.keys()) {
                candidates.push(Candidate {
                    value: format!("{way}.{key}="),
                    help: help.clone(),
                });
            }
            continue;
        }
        let items = option["items"].get("properties").map(|_| &option["items"]);
        if let Some(items) = items {
            for (i, item) in current.as_array().into_iter().flatten().enumerate() {
                let deeper = format!("{way}.{i}.");
                if written.starts_with(&deeper) {
                    add_options(&deeper, items, item, written, candidates);
                }
                candidates.push(Candidate {
                    value: deeper,
                    help: help.clone(),
                });
            }
        }
        let assignment = format!("{way}=");
        if written.starts_with(&assignment) {
            for value in values(option) {
                candidates.push(Candidate {
                    value: format!("{assignment}{value}"),
                    help: String::new(),
                });
            }
        } else {
            candidates.push(Candidate {
                value: assignment,
                help,
            });
        }
    }
}

/// Returns the schema itself, or its alternative that is an object with known keys.
fn object_schema(option: &Value) -> Option<&Value> {
    let alternatives = option["anyOf"].as_array().into_iter().flatten();
    let mut schemas = std::iter::once(option).chain(alternatives);
    schemas.find(|schema| schema.get("properties").is_some())
}

/// Lists the values of an option that its schema names.
fn values(option: &Value) -> Vec<String> {
    let mut values = vec![];
    for key in ["oneOf", "anyOf"] {
        let alternatives = option[key].as_array().into_iter().flatten();
        values.extend(alternatives.flat_map(self::values));
    }
    let listed = option["enum"].as_array().into_iter().flatten();
    for value in listed.chain(option.get("const")) {
        match value {
            Value::String(text) => values.push(text.clone()),
            value => values.push(value.to_string()),
        }
    }
    if option["type"] == "boolean" {
        values.extend(["true", "false"].map(str::to_owned));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn complete(written: &str) -> Vec<String> {
        let graph = GraphFile::read(Path::new("graphs/dphubert.json")).expect("a graph");
        let found = candidates(&graph, written).into_iter().map(|c| c.value);
        found.filter(|value| value.starts_with(written)).collect()
    }

    #[test]
    fn ways_lead_from_phases_to_values() {
        assert_eq!(complete("s"), ["seed=", "speech.", "step.", "student."]);
        assert_eq!(complete("dist"), ["distill."]);
        assert_eq!(complete("distill.ste"), ["distill.step."]);
        assert_eq!(complete("distill.step.st"), ["distill.step.steps="]);
        assert_eq!(complete("step.schedule.t"), ["step.schedule.type="]);
        assert_eq!(complete("prune.step.rates.g"), ["prune.step.rates.gates="]);
        assert_eq!(
            complete("match.terms.0."),
            [
                "match.terms.0.squared=",
                "match.terms.0.student_temperature=",
                "match.terms.0.temperature=",
                "match.terms.0.type=",
                "match.terms.0.weight=",
            ]
        );
        assert_eq!(
            complete("speech.crop=b"),
            ["speech.crop=batch", "speech.crop=bucket"]
        );
        assert_eq!(
            complete("student.recompute="),
            ["student.recompute=false", "student.recompute=true"]
        );
        assert!(complete("teacher.").contains(&"teacher.cache=".to_owned()));
        assert!(complete("nobody.").is_empty());
    }
}
