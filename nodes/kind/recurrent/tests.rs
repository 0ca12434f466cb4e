//! The layers and their gradients against PyTorch's.
use super::*;
use crate::model::parity::{close, load, values};
use compute::op::mean_square;
use compute::tensor::{Spans, backward, hidden, param, read};

/// tests/golden/sequence_heads.py
#[test]
fn layers_and_their_gradients_are_pytorchs() {
    let golden = load("sequence_heads.safetensors");
    let theirs = |name: &str| values(&golden, &format!("recurrent/{name}"));
    let options: Options =
        serde_json::from_value(serde_json::json!({ "width": 6 })).expect("options");
    let specs = options.tensors(5);
    let mut weights = vec![];
    for spec in &specs {
        assert_eq!(golden[&format!("recurrent/{}", spec.name)].0, spec.shape());
        weights.push(param(theirs(&spec.name).to_vec()));
    }
    let x = hidden(theirs("x").to_vec(), 5, Spans::new([7, 1, 4]));
    let y = options.apply(x.on(&Tape::default()), &weights, None);
    close("y", &read(&y.values), theirs("y"));
    let loss = mean_square(y);
    close("loss", &read(&loss), theirs("loss"));
    let mut gradients = backward(loss, 1.0);
    close("x", &read(&gradients.of(&x.values)), theirs("grad/x"));
    for (spec, weight) in specs.iter().zip(&weights) {
        let name = format!("grad/{}", spec.name);
        close(&name, &read(&gradients.of(weight)), theirs(&name));
    }
}

#[test]
fn counts_follow_from_the_tensors() {
    let json = serde_json::json!({ "layers": 3, "width": 4, "bidirectional": false });
    let options: Options = serde_json::from_value(json).expect("options");
    let weights: u64 = options
        .tensors(5)
        .iter()
        .filter(|spec| spec.name.starts_with("weight"))
        .map(TensorSpec::parameters)
        .sum();
    assert_eq!(options.macs(5), weights);
    assert_eq!(options.tensors(5).len(), 12);
}
