//! Forms of a model folder that other programs write: each gives the hidden states of the plain one.
use crate::program::{Folder, call, last_line, read_json, stderr, stdout_json};
use crate::sample::{run, sample};
use nodes::data::file::{self, Loaded};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const WEIGHTS: &str = "teacher/model.safetensors";
const INDEX: &str = "teacher/model.safetensors.index.json";

/// A tensor as bytes.
type Raw = (String, Dtype, Vec<usize>, Vec<u8>);

/// Returns the tensors as f32.
fn raw(tensors: &Loaded) -> Vec<Raw> {
    let tensors = tensors.iter();
    tensors
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name.clone(), Dtype::F32, shape.clone(), bytes)
        })
        .collect()
}

/// Writes a file without a checksum.
fn write(path: &Path, tensors: &[Raw]) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// Extracts all layers of the teacher and returns the file.
fn extract(folder: &Folder) -> Result<Vec<u8>, String> {
    let out = folder.path().join("out.parquet");
    let arguments = [
        "extract",
        "teacher",
        "0.wav",
        "--layers",
        "0,1,2",
        "--out",
        "out.parquet",
    ];
    let output = call(folder.path(), &arguments);
    if output.status.success() {
        Ok(fs::read(out).unwrap())
    } else {
        Err(last_line(&output))
    }
}

#[test]
fn types_and_prefixes_of_other_programs() {
    let folder = sample("forms");
    let weights = folder.path().join(WEIGHTS);
    let tensors = file::load(&weights).unwrap();
    let expected = extract(&folder).unwrap();

    let mut doubles = raw(&tensors);
    for (name, dtype, _, bytes) in &mut doubles {
        let values = tensors[name].1.iter();
        *dtype = Dtype::F64;
        *bytes = values.flat_map(|x| f64::from(*x).to_le_bytes()).collect();
    }
    write(&weights, &doubles);
    assert!(extract(&folder).unwrap() == expected, "F64");

    for prefix in ["hubert.", "model.hubert.", "module.w2v_encoder.w2v_model."] {
        let mut prefixed = raw(&tensors);
        for (name, ..) in &mut prefixed {
            name.insert_str(0, prefix);
        }
        let count = (0i64.to_le_bytes()).to_vec();
        prefixed.push(("classifier.steps".into(), Dtype::I64, vec![], count));
        // A head may have parts that are called as the encoder's.
        let bias = 1f32.to_le_bytes().to_vec();
        prefixed.push(("encoder.head.bias".into(), Dtype::F32, vec![1], bias));
        write(&weights, &prefixed);
        assert!(extract(&folder).unwrap() == expected, "{prefix}");
    }

    let mut integer = raw(&tensors);
    let position = integer
        .iter()
        .position(|(name, ..)| name == "encoder.layer_norm.bias");
    let (_, dtype, _, _) = &mut integer[position.unwrap()];
    *dtype = Dtype::I32;
    write(&weights, &integer);
    let error = extract(&folder).unwrap_err();
    assert!(
        error.contains("`encoder.layer_norm.bias` is I32"),
        "{error}"
    );
}

#[test]
fn shards_are_read() {
    let folder = sample("shards");
    let weights = folder.path().join(WEIGHTS);
    let tensors = raw(&file::load(&weights).unwrap());
    let expected = extract(&folder).unwrap();
    let cached = [
        "--steps",
        "2",
        "--set",
        "teacher.cache=c",
        "--set",
        "teacher.model=teacher",
    ];
    assert!(run(&folder, "whole", &cached).status.success());

    fs::remove_file(&weights).unwrap();
    let half = tensors.len() / 2;
    let mut map = BTreeMap::new();
    for (number, part) in [(1, &tensors[..half]), (2, &tensors[half..])] {
        let name = format!("model-0000{number}-of-00002.safetensors");
        write(&folder.path().join("teacher").join(&name), part);
        map.extend(
            part.iter()
                .map(|(tensor, ..)| (tensor.clone(), name.clone())),
        );
    }
    let write_index = |map: &BTreeMap<String, String>| {
        let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
        fs::write(folder.path().join(INDEX), index.to_string()).unwrap();
    };
    write_index(&map);
    assert!(extract(&folder).unwrap() == expected);
    assert!(run(&folder, "sharded", &cached).status.success());
    let arguments = ["cache", "list", "c", "--format", "json"];
    let listed = stdout_json(folder.path(), &arguments);
    assert_eq!(
        listed.as_array().unwrap().len(),
        2,
        "the files are other ones"
    );

    let mut outside = map.clone();
    let tensor = outside.keys().next().unwrap().clone();
    outside.insert(tensor, "../model.safetensors".to_owned());
    write_index(&outside);
    let error = extract(&folder).unwrap_err();
    assert!(error.contains("which is no file of this folder"), "{error}");

    write_index(&map);
    let second = "teacher/model-00002-of-00002.safetensors";
    fs::remove_file(folder.path().join(second)).unwrap();
    let error = extract(&folder).unwrap_err();
    assert!(error.starts_with(second), "{error}");
    let output = run(&folder, "missing", &[]);
    assert_eq!(output.status.code(), Some(1));
    let line = format!("node `teacher`: there is no `{second}`");
    assert!(stderr(&output).contains(&line), "{}", stderr(&output));
}

/// Only masking needs a mask embedding.
#[test]
fn a_folder_without_a_mask_embedding() {
    let folder = sample("no-embedding");
    let weights = folder.path().join(WEIGHTS);
    let mut tensors = file::load(&weights).unwrap();
    let expected = extract(&folder).unwrap();
    assert!(tensors.remove("masked_spec_embed").is_some());
    write(&weights, &raw(&tensors));
    assert!(extract(&folder).unwrap() == expected);

    let output = run(&folder, "out", &["--steps", "2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let student = folder.path().join("out/prune/student/model.safetensors");
    assert!(
        !file::load(&student)
            .unwrap()
            .contains_key("masked_spec_embed")
    );
    let inspect = ["inspect", "out/prune/student", "--format", "json"];
    let inspected = stdout_json(folder.path(), &inspect);
    assert!(stderr(&output).contains(&format!(" to {} parameters", inspected["parameters"])));

    let mut graph = read_json(&folder.path().join("g.json"));
    let nodes = &mut graph["phases"][0]["nodes"];
    nodes["mask"] = json!({ "kind": "mask", "inputs": { "speech": "speech.speech" } });
    nodes["student"]["inputs"]["mask"] = Value::from("mask.mask");
    fs::write(folder.path().join("g.json"), graph.to_string()).unwrap();
    let output = run(&folder, "masked", &[]);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    assert!(text.contains("the model has no mask embedding"), "{text}");
}
