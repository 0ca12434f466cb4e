//! The loss and its gradients against PyTorch's.
use super::*;
use crate::model::parity::{close, load, values};
use compute::tensor::{Spans, backward, param};

/// tests/golden/sequence_heads.py
#[test]
fn the_loss_and_its_gradients_are_pytorchs() {
    let golden = load("sequence_heads.safetensors");
    let theirs = |name: &str| values(&golden, &format!("margin/{name}"));
    let labels: Vec<u32> = theirs("labels").iter().map(|label| *label as u32).collect();
    let options: Options =
        serde_json::from_value(serde_json::json!({ "classes": 4 })).expect("options");
    let x = hidden(
        theirs("x").to_vec(),
        6,
        Spans::new(labels.iter().map(|_| 1)),
    );
    let weight = param(theirs("classes.weight").to_vec());
    let tape = Tape::default();
    let loss = options.loss(options.logits(x.on(&tape), &weight), &labels, &tape);
    close("loss", &read(&loss), theirs("loss"));
    let mut gradients = backward(loss, 1.0);
    close("x", &read(&gradients.of(&x.values)), theirs("grad/x"));
    let ours = gradients.of(&weight);
    close("weight", &read(&ours), theirs("grad/classes.weight"));
}
