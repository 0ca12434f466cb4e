//! Every student of a shipped graph leaves in the formats that hold any model. The plan of a graph
//! says what its student is; here it has few units and layers, of the same kinds.
use crate::program::{Folder, root};
use compute::random::Key;
use compute::tensor::{len, param, read};
use nodes::model::{Architecture, Cmvn, Model};
use nodes::tool::export::{ExportFormat, ExportOptions, OnnxPrecision, export};
use nodes::tool::layers::LayerChoice;
use nodes::tool::model_options::ModelOptions;
use pipeline::graph::plan::{Plan, plan};
use pipeline::graph::problem::Problems;
use pipeline::graph::spec;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Folders of graphs with students.
const FOLDERS: [&str; 3] = ["graphs", "graphs/wang", "graphs/librispeech"];
/// The most channels of a convolution, units of a layer's feed-forward and of an LSTM.
const CHANNELS: usize = 6;
const UNITS: usize = 12;

/// Plans a graph, which has no problems.
pub(crate) fn planned(path: &Path) -> Plan {
    let mut problems = Problems::default();
    let text = fs::read_to_string(path).unwrap();
    let graph = spec::read(&text, &[], &mut problems).expect("a graph");
    plan(graph, &mut problems).unwrap_or_else(|| panic!("{} has problems", path.display()))
}

/// Returns the models that the phases of shipped graphs write, each once, with the node that does.
fn students() -> BTreeMap<String, (String, Architecture)> {
    let mut students = BTreeMap::new();
    for folder in FOLDERS {
        let files = fs::read_dir(root().join(folder)).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|e| e == "json"));
        files.sort();
        for file in files {
            let graph = planned(&file);
            let mut found = false;
            for phase in &graph.phases {
                for node in &phase.nodes {
                    let Some(architecture) = node.info.model() else {
                        continue;
                    };
                    found = true;
                    let small = small(architecture);
                    let name = format!("{} {}/{}", graph.name, phase.name, node.name());
                    let key = small.to_config().to_string();
                    students.entry(key).or_insert((name, small));
                }
            }
            let trains = graph.phases.iter().any(|phase| phase.optimizer().is_some());
            assert_eq!(found, trains, "{}", file.display());
        }
    }
    students
}

/// Returns the least common multiple.
fn common_multiple(a: usize, b: usize) -> usize {
    (1..=b)
        .map(|i| a * i)
        .find(|n| n.is_multiple_of(b))
        .unwrap()
}

/// Returns the first two and the last two of a list with an entry a layer.
fn ends<T: Clone>(layers: &[T]) -> Vec<T> {
    let kept = |i: &usize| *i < 2 || i + 2 >= layers.len();
    let kept = (0..layers.len()).filter(kept);
    kept.map(|i| layers[i].clone()).collect()
}

/// Makes an architecture small. What has no units still has none, and what was cut stays cut.
fn small(whole: &Architecture) -> Architecture {
    let mut a = whole.clone();
    let heads = a.hidden_size / a.head_dim();
    a.hidden_size = common_multiple(heads, a.num_conv_pos_embedding_groups);
    a.encoder_head_dim = a.encoder_head_dim.map(|_| a.hidden_size / heads);
    a.conv_dim = a.conv_dim.iter().map(|n| *n.min(&CHANNELS)).collect();
    if !a.feature_projection && !a.is_lstm() {
        *a.conv_dim.last_mut().unwrap() = a.hidden_size;
    }
    a.feature_norm_width = a.feature_norm_width.map(|_| a.channels() + 1);
    a.num_hidden_layers = a.num_hidden_layers.min(4);
    a.encoder_num_heads = a.encoder_num_heads.as_deref().map(ends);
    a.encoder_remaining_heads = a.encoder_remaining_heads.as_deref().map(ends);
    a.encoder_reuse_attention = a.encoder_reuse_attention.as_deref().map(ends);
    a.intermediate_size = UNITS + 1;
    let units = a.encoder_ff_interm_features.as_deref().map(ends);
    a.encoder_ff_interm_features = units.map(|mut units| {
        units.iter_mut().for_each(|n| *n = UNITS.min(*n));
        units
    });
    a.lstm_hidden_size = a.lstm_hidden_size.map(|_| UNITS);
    a.num_conv_pos_embeddings = 8 + a.num_conv_pos_embeddings % 2;
    a
}

/// Draws a model no tensor of which is all ones or zeros, as trained ones are.
fn drawn(architecture: &Architecture) -> Model {
    let key = Key::new(5, &["students"]);
    let mut model = Model::random(architecture, key);
    for (site, tensor) in model.weights.0.values_mut().enumerate() {
        let site = 1000 + site as u64;
        let noise = (0..len(tensor) as u64).map(|i| 0.05 * key.normal(site, i));
        let values = read(tensor).iter().zip(noise).map(|(x, e)| x + e).collect();
        *tensor = param(values);
    }
    if architecture.is_fbank() {
        let bins = architecture.fbank_bins;
        let (mean, std) = (vec![-7.0; bins], vec![3.0; bins]);
        model.cmvn = Some(Cmvn { mean, std });
    }
    model
}

#[test]
fn every_student_leaves() {
    let folder = Folder::new("students");
    let students = students();
    assert!(students.len() > 10, "{}", students.len());
    let layers = LayerChoice::all();
    for (i, (name, architecture)) in students.values().enumerate() {
        let model = folder.path().join(format!("model{i}"));
        drawn(architecture).save(&model).unwrap();
        for (format, within) in [
            (ExportFormat::Onnx(OnnxPrecision::F32), 1e-4),
            (ExportFormat::S3prl, 0.0),
            (ExportFormat::HuggingFaceCode, 0.0),
        ] {
            let options = ExportOptions {
                format,
                model: ModelOptions::default(),
                layers: &layers,
                heads: None,
            };
            let out = folder.path().join(format!("{i}-{format:?}"));
            let said = export(&model, &options, &out, |_| {});
            let said = said.unwrap_or_else(|error| panic!("{name} {format:?}: {error}"));
            let difference = said.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok());
            let difference = difference.unwrap_or_else(|| panic!("{name} {format:?}: {said}"));
            assert!(difference <= within, "{name} {format:?}: {said}");
        }
    }
}
