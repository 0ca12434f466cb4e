//! x-vectors and their gradients against PyTorch's.
use super::Options;
use super::maps::{CONTEXTS, MIN_FRAMES};
use crate::model::TensorSpec;
use crate::model::parity::{close, load, values};
use compute::op::mean_square;
use compute::tensor::{Spans, Tape, backward, hidden, param, plus, read};

/// tests/golden/sequence_heads.py
#[test]
fn vectors_and_their_gradients_are_pytorchs() {
    let golden = load("sequence_heads.safetensors");
    let theirs = |name: &str| values(&golden, &format!("x_vector/{name}"));
    let json = serde_json::json!({ "width": 6, "pooled": 5 });
    let options: Options = serde_json::from_value(json).expect("options");
    let specs = options.tensors(4);
    let mut weights = vec![];
    for spec in &specs {
        assert_eq!(golden[&format!("x_vector/{}", spec.name)].0, spec.shape());
        weights.push(param(theirs(&spec.name).to_vec()));
    }
    let x = hidden(theirs("x").to_vec(), 4, Spans::new([20, 16, 31]));
    let [embeddings, hiddens] = options.apply(x.on(&Tape::default()), &weights);
    close(
        "embeddings",
        &read(&embeddings.values),
        theirs("embeddings"),
    );
    close("hiddens", &read(&hiddens.values), theirs("hiddens"));
    let loss = plus(mean_square(embeddings), mean_square(hiddens));
    close("loss", &read(&loss), theirs("loss"));
    let mut gradients = backward(loss, 1.0);
    close("x", &read(&gradients.of(&x.values)), theirs("grad/x"));
    for (spec, weight) in specs.iter().zip(&weights) {
        let name = format!("grad/{}", spec.name);
        close(&name, &read(&gradients.of(weight)), theirs(&name));
    }
}

#[test]
fn the_contexts_need_as_many_frames_as_is_checked() {
    let lost: usize = CONTEXTS.iter().map(|context| context.lost()).sum();
    assert_eq!(lost + 1, MIN_FRAMES);
}

/// s3prl's model for 512-wide frames: 5 maps over frames, and two behind the statistics.
#[test]
fn parameters_are_those_of_s3prl() {
    let options: Options = serde_json::from_str("{}").expect("options");
    let parameters: u64 = options
        .tensors(512)
        .iter()
        .map(TensorSpec::parameters)
        .sum();
    let maps = [
        [5 * 512, 512],
        [3 * 512, 512],
        [3 * 512, 512],
        [512, 512],
        [512, 1500],
        [3000, 512],
        [512, 512],
    ];
    let expected: u64 = maps.iter().map(|[from, to]| (from + 1) * to).sum();
    assert_eq!(parameters, expected);
}
