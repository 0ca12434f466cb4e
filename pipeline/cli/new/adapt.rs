//! A shipped graph with other paths. The text is edited, not written anew, so that the file keeps
//! its layout.
use super::SCHEMA_FILE;
use super::method::Method;
use serde_json::Value;
use std::collections::BTreeSet;

/// Paths in place of the graph's own, as they stand in the graph.
#[derive(Default)]
pub(super) struct Paths {
    pub manifest: Option<String>,
    pub dev: Option<String>,
    pub teacher: Option<String>,
}

/// Returns the text of the graph with these paths and its schema beside.
///
/// The teacher's path is replaced wherever it stands: a student may begin as the teacher. Held-out
/// speech is left out if only other training speech is given.
///
/// # Errors
/// The graph has no teacher or no held-out speech, but a path for one was given.
pub(super) fn adapted(method: &Method, paths: &Paths) -> Result<String, String> {
    let graph: Value = serde_json::from_str(method.text).map_err(|error| error.to_string())?;
    let mut text = method.text.to_owned();

    let depth = method.path().matches('/').count();
    let schema = format!("{}{SCHEMA_FILE}", "../".repeat(depth));
    if let Some(shipped) = graph["$schema"].as_str() {
        text = text.replacen(&quoted(shipped), &quoted(&schema), 1);
    }
    if let Some(manifest) = &paths.manifest {
        text = replaced(
            &text,
            &options(&graph, "decode", "manifest"),
            &quoted(manifest),
        );
    }
    let devs = options(&graph, "decode", "dev");
    match (&paths.dev, &paths.manifest) {
        (Some(_), _) if devs.is_empty() => {
            return Err(format!(
                "`{}` has no held-out speech for `--dev`",
                method.name
            ));
        }
        (Some(dev), _) => text = replaced(&text, &devs, &quoted(dev)),
        (None, Some(_)) => text = replaced(&text, &devs, "null"),
        (None, None) => {}
    }
    if let Some(teacher) = &paths.teacher {
        let shipped = options(&graph, "teacher", "model");
        if shipped.is_empty() {
            return Err(format!("`{}` has no teacher for `--teacher`", method.name));
        }
        text = replaced(&text, &shipped, &quoted(teacher));
    }
    Ok(text)
}

/// Returns the paths that nodes of a kind have in an option, but those of a run's own files.
fn options<'a>(graph: &'a Value, kind: &str, option: &str) -> BTreeSet<&'a str> {
    let phases = graph["phases"]
        .as_array()
        .map_or(vec![graph], |phases| phases.iter().collect());
    let nodes = phases
        .into_iter()
        .flat_map(|phase| phase["nodes"].as_object().into_iter().flatten());
    nodes
        .filter(|(_, node)| node["kind"] == kind)
        .filter_map(|(_, node)| node[option].as_str())
        .filter(|path| !path.starts_with("$OUT/"))
        .collect()
}

/// Replaces every string of the text that is one of `paths`.
fn replaced(text: &str, paths: &BTreeSet<&str>, new: &str) -> String {
    paths.iter().fold(text.to_owned(), |text, path| {
        text.replace(&quoted(path), new)
    })
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::method;
    use super::*;

    fn own_paths() -> Paths {
        Paths {
            manifest: Some("a \"b\"/train.tsv".to_owned()),
            dev: Some("/data/dev.tsv".to_owned()),
            teacher: Some("models/own".to_owned()),
        }
    }

    #[test]
    fn no_path_of_ours_stays() {
        for method in method::all() {
            let mut paths = own_paths();
            let graph: Value = serde_json::from_str(method.text).unwrap();
            if options(&graph, "decode", "dev").is_empty() {
                assert!(adapted(&method, &paths).is_err(), "{}", method.name);
                paths.dev = None;
            }
            if options(&graph, "teacher", "model").is_empty() {
                assert!(adapted(&method, &paths).is_err(), "{}", method.name);
                paths.teacher = None;
            }
            let text = adapted(&method, &paths).unwrap();
            let graph: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(text.lines().count(), method.text.lines().count());
            assert!(!text.contains("data/sample") && !text.contains("data/librispeech"));
            assert!(!text.contains("\"models/hubert") && !text.contains("\"models/wavlm"));
            let manifests = options(&graph, "decode", "manifest");
            assert_eq!(manifests, BTreeSet::from(["a \"b\"/train.tsv"]));
        }
    }

    #[test]
    fn held_out_speech_goes_with_the_training_speech() {
        let methods = method::all();
        let armhubert = methods.iter().find(|m| m.name == "armhubert").unwrap();
        let mut paths = own_paths();
        paths.dev = None;
        let graph: Value = serde_json::from_str(&adapted(armhubert, &paths).unwrap()).unwrap();
        assert_eq!(graph["nodes"]["speech"]["dev"], Value::Null);
        let unchanged = adapted(armhubert, &Paths::default()).unwrap();
        let graph: Value = serde_json::from_str(&unchanged).unwrap();
        assert_eq!(graph["nodes"]["speech"]["dev"], "data/sample/dev.tsv");
        assert_eq!(graph["$schema"], "../graph.schema.json");
    }

    #[test]
    fn the_schema_lies_at_the_top() {
        let methods = method::all();
        let recipe = methods.iter().find(|m| m.name == "librispeech/armhubert");
        let text = adapted(recipe.unwrap(), &Paths::default()).unwrap();
        assert!(text.contains("\"$schema\": \"../../graph.schema.json\""));
    }
}
