//! What ships with the program: graphs are valid, the sample data is as documented, and the docs
//! name every kind and option.
use crate::program::{call, read_json, root, stdout, stdout_json};
use crate::students::planned;
use compute::random::Key;
use compute::tensor::len;
use nodes::model::Model;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn check(graph: &str) -> Value {
    stdout_json(root(), &["check", graph, "--format", "json"])
}

#[test]
fn shipped_graphs_check() {
    for folder in [
        "graphs",
        "graphs/librispeech",
        "graphs/teacher",
        "graphs/wang",
        "graphs/superb",
        "graphs/superb/small",
    ] {
        for file in fs::read_dir(root().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if file.extension().is_some_and(|e| e == "json") {
                let name = format!("{folder}/{}", file.file_name().unwrap().to_string_lossy());
                let checked = check(&name);
                assert!(checked["phases"].is_array() || checked["nodes"].is_array());
            }
        }
    }
}

#[test]
fn counts_of_the_full_recipe() {
    let prune = &check("graphs/librispeech/dphubert.json")["phases"][0];
    assert_eq!(prune["parameters"]["teacher"], 94_371_712);
    assert_eq!(prune["macs"]["student"], 1_665_522_780_160u64);
    assert_eq!(prune["parameters"]["heads"], 2 * 769 * 768);
    assert_eq!(prune["cache_bytes"], Value::Null);
    assert!(
        prune["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|w| w.as_str().unwrap().contains("train960.tsv"))
    );
}

/// Sums a count over nodes.
fn total(graph: &Value, count: &str, nodes: &[&str]) -> u64 {
    let counts = nodes.iter().map(|node| graph[count][node].as_u64());
    counts.map(|count| count.expect("a count")).sum()
}

/// Recipes whose code drops out a twentieth of what the encoder reads (`dropout_input` 0.05).
#[test]
fn recipes_have_the_dropout_of_their_code() {
    let recipes = fs::read_dir(root().join("graphs/librispeech")).unwrap();
    let mut checked = 0;
    for recipe in recipes.map(|file| file.unwrap().path()) {
        let name = recipe.file_stem().unwrap().to_str().unwrap().to_owned();
        if ["arm", "mask", "star", "fit"]
            .iter()
            .any(|method| name.starts_with(method))
        {
            let student = &read_json(&recipe)["nodes"]["student"]["architecture"];
            assert_eq!(student["feat_proj_dropout"], 0.05, "{name}");
            checked += 1;
        }
    }
    assert_eq!(checked, 9);
}

/// The sizes that the methods' papers state, to the last parameter and multiply-accumulate.
#[test]
fn counts_of_published_students() {
    let with_heads = &["student", "heads"][..];
    for (recipe, nodes, parameters, macs) in [
        ("armhubert", with_heads, 26_448_448, Some(501_624_271_296)),
        ("armhubert-s", with_heads, 22_394_080, Some(449_944_628_832)),
        ("armhubert-s-100h", with_heads, 22_394_080, None),
        ("armwavlm-s", with_heads, 22_394_080, None),
        ("maskhubert", with_heads, 26_635_840, None),
        (
            "starhubert",
            &["student"],
            22_308_592,
            Some(463_501_579_392),
        ),
        (
            "starhubert-l",
            &["student"],
            26_626_672,
            Some(511_907_366_016),
        ),
        ("starwavlm", &["student"], 22_308_592, None),
        ("distilhubert", &["student"], 23_491_200, None),
        ("fithubert", &["student"], 21_200_096, None),
        ("fithubert", with_heads, 31_168_352, None),
        ("deep-thin", &["student"], 22_937_856, None),
        ("deep-thin", &["heads"], 4_432_896, None),
        ("shallow-wide", &["student"], 23_491_200, None),
        ("shallow-wide", &["heads"], 2_362_368, None),
        ("lstm-dkd", &["student"], 17_595_392, None),
        ("lstm-dkd", &["logits"], 768 * 500 + 500, None),
    ] {
        let graph = check(&format!("graphs/librispeech/{recipe}.json"));
        assert_eq!(total(&graph, "parameters", nodes), parameters, "{recipe}");
        if let Some(macs) = macs {
            assert_eq!(total(&graph, "macs", nodes), macs, "{recipe}");
        }
    }
}

/// ARMHuBERT's paper counts the heads, which are no part of what is deployed.
#[test]
fn check_adds_up_a_student_and_its_heads() {
    for (recipe, parameters, macs) in [
        ("armhubert", "26,448,448", "501,624,271,296"),
        ("maskhubert", "26,635,840", "519,790,484,736"),
    ] {
        let text = stdout(
            root(),
            &["check", &format!("graphs/librispeech/{recipe}.json")],
        );
        let sums = text.lines().find(|line| line.contains("student and heads"));
        let sums = sums.unwrap_or_else(|| panic!("{text}"));
        assert!(sums.contains(parameters) && sums.contains(macs), "{sums}");
    }
    let star = stdout(root(), &["check", "graphs/librispeech/starhubert.json"]);
    assert!(!star.contains("and heads"), "{star}");
}

/// The log-mel front end saves the paper's 17 % of the deep and thin student.
#[test]
fn counts_of_the_log_mel_front_end() {
    let phases = &check("graphs/librispeech/deep-thin-fbank.json")["phases"];
    let student = |phase: usize| phases[phase]["parameters"]["student"].as_u64();
    assert_eq!(student(1), Some(22_937_856));
    assert_eq!(student(2), Some(19_107_008));
    assert_eq!(student(3), Some(19_107_008));
}

/// The parts of the paper's LSTM student: HuBERT's convolutions, the norm of their output, which the
/// LSTM reads without a projection, and 4 layers of 384 units a direction with two biases each.
#[test]
fn parts_of_the_published_lstm() {
    let graph = planned(&root().join("graphs/librispeech/lstm-dkd.json"));
    let nodes = &graph.phases[0].nodes;
    let architecture = nodes.iter().find_map(|node| node.info.model());
    let model = Model::random(architecture.expect("a student"), Key::new(1, &["lstm"]));
    let tensors = &model.weights.0;
    let part = |prefix: &str| -> usize {
        let part = tensors.iter().filter(|(name, _)| name.starts_with(prefix));
        part.map(|(_, tensor)| len(tensor)).sum()
    };
    assert_eq!(part("feature_extractor."), 4_200_448);
    assert_eq!(part("feature_projection."), 1_024);
    assert_eq!(part("encoder.lstm."), 13_393_920);
    assert_eq!(part(""), 17_595_392);
}

/// A sample's student has at most 30 % of its teacher's parameters, its heads included where they
/// are part of what a user takes along.
#[test]
fn students_of_the_sample_are_small() {
    for (graph, nodes) in [
        ("armhubert", &["student", "heads"][..]),
        ("maskhubert", &["student", "heads"]),
        ("starhubert", &["student"]),
        ("distilhubert", &["student"]),
        ("fithubert", &["student", "heads"]),
        ("lstm-dkd", &["student"]),
        ("fbank-hubert", &["student"]),
        ("wang/deep-thin", &["student"]),
    ] {
        let checked = check(&format!("graphs/{graph}.json"));
        let phases = match checked["phases"].as_array() {
            Some(phases) => phases.clone(),
            None => vec![checked],
        };
        let mut students = 0;
        for phase in &phases {
            assert!(phase["warnings"].as_array().unwrap().is_empty(), "{graph}");
            if phase["parameters"]["student"].is_null() {
                continue;
            }
            students += 1;
            let share = total(phase, "parameters", nodes) as f64 / 4_495_296.0;
            assert!(share <= 0.3, "{graph}: {share}");
        }
        assert!(students > 0, "{graph}");
    }
}

/// The plain graph to begin with takes all its weights from the teacher's layers.
#[test]
fn the_plain_student_is_made_of_the_teachers_layers() {
    let checked = check("graphs/distil.json");
    assert!(checked["warnings"].as_array().unwrap().is_empty());
    let share = total(&checked, "parameters", &["student"]) as f64 / 4_495_296.0;
    assert!(share < 0.7, "{share}");
    let text = stdout(root(), &["check", "graphs/distil.json"]);
    let taken = text.lines().find(|line| line.contains("tensors, "));
    let taken = taken.unwrap_or_else(|| panic!("{text}"));
    assert!(!taken.contains("draws"), "{taken}");
}

/// WavLM Base+ with the same recipe has its position biases in addition.
#[test]
fn counts_of_dpwavlm() {
    let [hubert, wavlm] =
        ["dphubert", "dpwavlm"].map(|name| check(&format!("graphs/librispeech/{name}.json")));
    let count = |graph: &Value, phase: usize, node: &str| {
        graph["phases"][phase]["parameters"][node].as_u64().unwrap()
    };
    assert_eq!(count(&wavlm, 0, "teacher"), 94_381_936);
    assert_eq!(count(&wavlm, 0, "gates"), count(&hubert, 0, "gates"));
    assert_eq!(
        count(&wavlm, 1, "student") - count(&hubert, 1, "student"),
        94_381_936 - 94_371_712
    );
}

#[test]
fn the_sample_has_the_documented_cache_size() {
    let prune = &check("graphs/dphubert.json")["phases"][0];
    assert_eq!(prune["parameters"]["teacher"], 4_495_296);
    assert!(prune["warnings"].as_array().unwrap().is_empty());
    // Some 46,000 train and 6,200 dev frames, 256 wide, three layers.
    let bytes = prune["cache_bytes"].as_u64().unwrap();
    assert!((120_000_000..170_000_000).contains(&bytes), "{bytes}");
}

#[test]
fn no_speaker_is_in_both_sets() {
    let speakers = |manifest: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(root().join("data/sample").join(manifest)).unwrap();
        let name = |line: &str| line.split('-').next().unwrap().to_owned();
        text.lines().skip(1).map(name).collect()
    };
    let train = speakers("train.tsv");
    let dev = speakers("dev.tsv");
    assert!(train.len() > 50 && dev.len() > 5 && train.is_disjoint(&dev));
}

#[test]
fn docs_name_every_kind_and_option() {
    let docs = fs::read_to_string(root().join("docs/nodes.md")).unwrap();
    for kind in nodes::KINDS {
        let section = docs
            .split("\n## ")
            .find(|s| s.lines().next() == Some(kind.name));
        let section =
            section.unwrap_or_else(|| panic!("docs/nodes.md has no heading `## {}`", kind.name));
        let schema = (kind.schema)();
        let options = schema["properties"].as_object();
        for option in options.into_iter().flatten().map(|(name, _)| name) {
            assert!(
                section.contains(&format!("`{option}`")),
                "docs/nodes.md: `{}` has an option `{option}`",
                kind.name
            );
        }
    }
}

/// A run that resumes knows files by their contents, so each kind must name its options that are
/// paths; the tables of the docs say which are.
#[test]
fn kinds_name_their_options_that_are_paths() {
    let docs = fs::read_to_string(root().join("docs/nodes.md")).unwrap();
    let mut paths = BTreeSet::new();
    for section in docs.split("\n## ") {
        let kind = section.lines().next().unwrap_or_default();
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let is_path = cells[2].split([' ', ',']).any(|word| word == "path");
            // The cache is the program's to fill, and may be another one.
            if is_path
                && cells[1] != "`cache`"
                && nodes::KINDS.iter().any(|known| known.name == kind)
            {
                paths.insert(format!("{kind}.{}", cells[1].trim_matches('`')));
            }
        }
    }
    let mut named = BTreeSet::new();
    for kind in nodes::KINDS {
        named.extend(
            kind.files
                .iter()
                .map(|o| format!("{}.{}", kind.name, o.name)),
        );
    }
    assert!(paths.len() > 8);
    assert_eq!(named, paths);
}

#[test]
fn drawings_hold_every_node() {
    for (format, begin) in [
        ("dot", "digraph"),
        ("svg", "<svg"),
        ("mermaid", "flowchart"),
    ] {
        let output = call(
            root(),
            &["show", "graphs/dphubert.json", "--format", format],
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.starts_with(begin), "{text}");
        for node in [
            "speech", "teacher", "gates", "student", "heads", "match", "step", "log",
        ] {
            assert!(
                text.matches(node).count() >= 2,
                "{format} draws {node} in both phases"
            );
        }
    }
}
