//! Reads one node of a graph file: its kind, options, cache and inputs.
use super::cache::CACHE_KEYS;
use super::names::check_name;
use super::{InputSpec, NodeSpec, cache};
use crate::graph::json::{Content, Json, JsonEntry};
use crate::graph::options::{self, ParsedOptions};
use crate::graph::problem::{Problems, quoted};
use nodes::KINDS;
use nodes::data::store::is_address;
use nodes::data::suggestion::suggestion;
use nodes::node::contents::Contents;
use nodes::node::{Config, Kind};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Reads the node that an entry of `nodes` describes.
pub(super) fn read(entry: &JsonEntry, problems: &mut Problems) -> NodeSpec {
    let name = entry.key.as_str();
    let problems_before = problems.len();
    let json = Json {
        location: entry.key_location.clone(),
        content: entry.value.content.clone(),
    };
    check_name(name, &json.location, problems);
    let kind = json.get("kind").and_then(Json::text).unwrap_or_default();
    let known_kind = KINDS.iter().find(|known| known.name == kind);
    let parsed = match known_kind {
        Some(kind) => read_options(name, &json, kind, problems),
        None => {
            report_unknown_kind(name, &json, problems);
            ParsedOptions {
                config: None,
                partial: true,
                wrong: BTreeSet::new(),
            }
        }
    };
    if let Some(kind) = known_kind {
        check_addresses(name, &json, kind, problems);
    }
    let config: Option<Arc<dyn Config>> = parsed.config.map(Arc::from);
    let (config, partial_config) = match parsed.partial {
        true => (None, config),
        false => (config, None),
    };
    let cache = cache::read_folder(name, &json, known_kind, problems);
    let budget = cache::read_budget(name, &json, problems);
    let codec = cache::read_codec(name, &json, problems);
    let inputs = read_inputs(name, &json, problems);
    NodeSpec {
        name: name.into(),
        location: json.location.clone(),
        kind: kind.into(),
        known_kind,
        config,
        partial_config,
        wrong_options: parsed.wrong,
        broken: problems.len() > problems_before,
        cache,
        budget,
        codec,
        inputs,
        json,
    }
}

fn read_options(name: &str, json: &Json, kind: &Kind, problems: &mut Problems) -> ParsedOptions {
    let mut options = json.clone();
    for key in ["kind", "inputs", "cache"] {
        options.remove(key);
    }
    if kind.cacheable {
        CACHE_KEYS.iter().for_each(|key| options.remove(key));
    }
    options::parse(name, &options, kind, problems)
}

/// Reports files that are in an object store where only a disk is read.
fn check_addresses(name: &str, json: &Json, kind: &Kind, problems: &mut Problems) {
    let files = kind.files.iter();
    for option in files.filter(|option| option.contents == Contents::Files) {
        let value = json.get(option.name);
        let path = value.and_then(Json::text).map(Path::new);
        if path.is_some_and(is_address) {
            let message = format!(
                "`{}` is in an object store, where manifests, audio and caches are read; copy it to a \
                 disk",
                option.name
            );
            problems.add_for_node(name, json.location_of(&[option.name]), message);
        }
    }
}

fn report_unknown_kind(name: &str, json: &Json, problems: &mut Problems) {
    let kind = json.get("kind");
    let message = match kind {
        Some(kind) => match kind.text() {
            Some(text) => {
                let names = KINDS.iter().map(|kind| kind.name);
                let list = quoted(names.clone());
                match suggestion(text, names).as_str() {
                    "" => format!("no kind `{text}`; the kinds are {list}"),
                    suggestion => format!("no kind `{text}`{suggestion} The kinds are {list}"),
                }
            }
            None => "`kind` is text".into(),
        },
        None if json.is_object() => format!(
            "needs a `kind`: {}",
            quoted(KINDS.iter().map(|kind| kind.name))
        ),
        None => "a node is an object".into(),
    };
    let location = &kind.unwrap_or(json).location;
    problems.add_for_node(name, location, message);
}

fn read_inputs(name: &str, json: &Json, problems: &mut Problems) -> Vec<InputSpec> {
    let Some(ports) = json.get("inputs") else {
        return vec![];
    };
    if !ports.is_object() {
        problems.add_for_node(
            name,
            &ports.location,
            "`inputs` is an object: the input port, and the `node.port` that feeds it",
        );
    }
    let mut inputs = vec![];
    for entry in ports.entries() {
        read_sources(name, entry, &mut inputs, problems);
    }
    inputs
}

/// Reads what feeds one input port: `node.port`, or a list of them.
fn read_sources(
    node: &str,
    entry: &JsonEntry,
    inputs: &mut Vec<InputSpec>,
    problems: &mut Problems,
) {
    let port = &entry.key;
    let sources = match &entry.value.content {
        Content::Array(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    if sources.is_empty() {
        let message = format!("input `{port}` is an empty list");
        problems.add_for_node(node, &entry.key_location, message);
    }
    for source in sources {
        match source.text().and_then(|text| text.split_once('.')) {
            Some((node, output)) => inputs.push(InputSpec {
                port: port.clone(),
                node: node.into(),
                output: output.into(),
                location: source.location.clone(),
            }),
            None => {
                let message = format!("input `{port}` must name `node.port`");
                problems.add_for_node(node, &source.location, message);
            }
        }
    }
}
