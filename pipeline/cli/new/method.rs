//! The graphs that come with the program.
use serde::Serialize;

/// Name and text of each graph, by name; the build script lists the folder `graphs`.
const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/graphs.rs"));

/// A shipped graph.
#[derive(Serialize)]
pub(super) struct Method {
    /// The path below `graphs`, without `.json`.
    pub name: &'static str,
    /// What the graph says of itself.
    pub about: String,
    /// Whether it runs on the sample's speech.
    pub sample: bool,
    #[serde(skip)]
    pub text: &'static str,
}

/// Returns all shipped graphs, those of the sample first.
pub(super) fn all() -> Vec<Method> {
    let mut methods: Vec<Method> = SHIPPED
        .iter()
        .map(|(name, text)| Method {
            name,
            about: about(text),
            sample: quotes_path_below(text, super::SAMPLE),
            text,
        })
        .collect();
    methods.sort_by_key(|method| !method.sample);
    methods
}

fn about(text: &str) -> String {
    let graph: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    graph["about"].as_str().unwrap_or_default().to_owned()
}

/// Returns whether a string of the graph is a path in `folder`, or the folder itself.
fn quotes_path_below(text: &str, folder: &str) -> bool {
    text.contains(&format!("\"{folder}/"))
}

impl Method {
    /// Returns the graph's path in a folder of work.
    pub(super) fn path(&self) -> String {
        format!("graphs/{}.json", self.name)
    }

    /// Returns the name without its folder.
    pub(super) fn last_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(self.name)
    }

    /// Returns whether the graph reads files of a folder.
    pub(super) fn reads(&self, folder: &str) -> bool {
        quotes_path_below(self.text, folder)
    }

    /// Returns the first sentence of `about`. A full stop in brackets ends none.
    pub(super) fn sentence(&self) -> &str {
        let mut depth = 0;
        let bytes = self.about.as_bytes();
        for (i, byte) in bytes.iter().enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'.' if depth == 0 && bytes.get(i + 1) == Some(&b' ') => {
                    let next = bytes.get(i + 2);
                    if next.is_some_and(u8::is_ascii_uppercase) || next == Some(&b'`') {
                        return &self.about[..=i];
                    }
                }
                _ => {}
            }
        }
        &self.about
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Returns the names of the graphs in a folder of the repository.
    fn names_in(folder: &str) -> BTreeSet<String> {
        let folder_path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let paths = std::fs::read_dir(folder_path).unwrap();
        let names = paths.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let graphs = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()));
        let prefix = folder
            .strip_prefix("graphs")
            .unwrap()
            .trim_start_matches('/');
        graphs
            .map(|name| match prefix {
                "" => name,
                prefix => format!("{prefix}/{name}"),
            })
            .collect()
    }

    #[test]
    fn no_graph_is_forgotten() {
        let mut expected = names_in("graphs");
        expected.extend(names_in("graphs/librispeech"));
        expected.extend(names_in("graphs/wang"));
        let shipped: BTreeSet<String> = all().iter().map(|m| m.name.to_owned()).collect();
        assert!(shipped.contains("dphubert") && shipped.contains("librispeech/armhubert"));
        assert_eq!(shipped, expected);
    }

    #[test]
    fn each_method_is_a_sentence() {
        for method in all() {
            let sentence = method.sentence();
            let words_beside_citation = sentence.split('(').next().unwrap().len()
                + sentence.rsplit(')').next().unwrap().len();
            assert!(sentence.ends_with('.'), "{}: {sentence}", method.name);
            assert!(words_beside_citation > 40, "{}: {sentence}", method.name);
        }
        let dicehubert = all().into_iter().find(|m| m.name == "dicehubert").unwrap();
        assert!(dicehubert.sentence().ends_with("pre-training objective."));
    }
}
