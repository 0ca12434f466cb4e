//! The file of an exported ONNX graph, read field by field: its version, ports and metadata, that
//! every operation reads what is there, and that tensors have as many bytes as their shapes say.
use crate::program::{Folder, call, root, stderr};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Fields of a message of protobuf by their number: bytes, or a number's.
type Fields = BTreeMap<u64, Vec<Vec<u8>>>;

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn fields(bytes: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let mut offset = 0;
    while offset < bytes.len() {
        let key = varint(bytes, &mut offset);
        let value = match key & 7 {
            0 => varint(bytes, &mut offset).to_le_bytes().to_vec(),
            2 => {
                let length = varint(bytes, &mut offset) as usize;
                offset += length;
                bytes[offset - length..offset].to_vec()
            }
            wire => panic!("wire type {wire}"),
        };
        fields.entry(key >> 3).or_default().push(value);
    }
    fields
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().unwrap())
}

fn texts(fields: &Fields, field: u64) -> Vec<String> {
    let values = fields.get(&field).into_iter().flatten();
    values
        .map(|text| String::from_utf8(text.clone()).unwrap())
        .collect()
}

/// Returns the names of the messages in a field, whose first field is their name.
fn names(graph: &Fields, field: u64) -> Vec<String> {
    let messages = graph.get(&field).into_iter().flatten();
    messages
        .flat_map(|message| texts(&fields(message), 1))
        .collect()
}

/// Exports a golden model and returns the file's fields.
fn export(folder: &Folder, model: &str, out: &str, options: &[&str]) -> Fields {
    let model = root().join("tests/golden").join(model);
    let model = model.to_str().unwrap();
    let arguments = ["export", model, "--format", "onnx", "--out", out];
    let output = call(folder.path(), &[&arguments, options].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("evaluated in f64"));
    fields(&fs::read(folder.path().join(out).join("model.onnx")).unwrap())
}

/// Asserts that operations are in order, and returns how many there are of each.
fn check_graph(graph: &Fields) -> BTreeMap<String, usize> {
    let mut known: BTreeSet<String> = names(graph, 11).into_iter().collect();
    known.insert(String::new());
    for tensor in &graph[&5] {
        let tensor = fields(tensor);
        let sizes = tensor.get(&1).into_iter().flatten();
        let count: u64 = sizes.map(|size| number(size)).product();
        let bytes = match number(&tensor[&2][0]) {
            1 => 4,
            2 => 1,
            7 | 11 => 8,
            10 => 2,
            element => panic!("type {element}"),
        };
        assert_eq!(tensor[&9][0].len() as u64, count * bytes);
        known.extend(texts(&tensor, 8));
    }
    let mut operations = BTreeMap::new();
    for node in &graph[&1] {
        let node = fields(node);
        for input in texts(&node, 1) {
            assert!(known.contains(&input), "`{input}` is not there yet");
        }
        known.extend(texts(&node, 2));
        *operations.entry(texts(&node, 4).remove(0)).or_default() += 1;
    }
    assert!(names(graph, 12).iter().all(|name| known.contains(name)));
    operations
}

#[test]
fn a_graph_has_ports_and_metadata() {
    let folder = Folder::new("onnx-ports");
    for (model, layers, outputs, normalize) in [
        (
            "base",
            "all",
            vec!["layer_0", "layer_1", "layer_2"],
            "false",
        ),
        ("large", "-1,0", vec!["layer_0", "layer_2"], "true"),
        ("fbank_front", "1", vec!["layer_1"], "false"),
    ] {
        let file = export(&folder, model, model, &["--layers", layers]);
        assert_eq!(number(&file[&1][0]), 7);
        assert_eq!(number(&fields(&file[&8][0])[&2][0]), 14);
        let graph = fields(&file[&7][0]);
        assert_eq!(names(&graph, 11), ["waveform"]);
        assert_eq!(names(&graph, 12), outputs);
        check_graph(&graph);
        let pairs = file[&14].iter().map(|pair| {
            let pair = fields(pair);
            (texts(&pair, 1).remove(0), texts(&pair, 2).remove(0))
        });
        let metadata: BTreeMap<String, String> = pairs.collect();
        assert_eq!(metadata["normalize"], normalize);
        assert_eq!(metadata["convention"], "hf");
        assert_eq!(metadata["sample_rate"], "16000");
        let layers = outputs.iter().map(|name| name.trim_start_matches("layer_"));
        assert_eq!(
            metadata["layers"],
            format!("[{}]", layers.collect::<Vec<_>>().join(","))
        );
    }
}

#[test]
fn linear_maps_alone_become_integers() {
    let folder = Folder::new("onnx-precision");
    let exact = export(&folder, "wavlm", "exact", &[]);
    let exact = check_graph(&fields(&exact[&7][0]));
    let integers = export(&folder, "wavlm", "int8", &["--int8"]);
    let integers = check_graph(&fields(&integers[&7][0]));
    // Two layers of six maps, and the feature projection.
    assert_eq!(integers["MatMulInteger"], 13);
    assert_eq!(exact["MatMul"], integers["MatMul"] + 13);
    assert_eq!(exact["Conv"], integers["Conv"]);
    let half = export(&folder, "wavlm", "fp16", &["--fp16"]);
    let half = check_graph(&fields(&half[&7][0]));
    assert!(half["Cast"] > 20 && !exact.contains_key("Cast"));
}
