//! FitHuBERT's time reduction and heads, and DistilHuBERT's heads, against ARMHuBERT's code, which
//! has them too (tests/golden/distil.py).
use super::forms::{Form, Head, HeadSizes, HeadTensor};
use crate::data::file::Loaded;
use crate::model::parity::{close, golden, load, values};
use crate::model::{Convention, Forward, Model, OPEN, UnknownKeys};
use compute::gemm::Precision;
use compute::tensor::{Spans, Tape, hidden, param, read};

/// Reads a head's tensors, whose names in the file begin with `prefix`.
fn head(theirs: &Loaded, prefix: &str, form: Form, group: usize, sizes: HeadSizes) -> Head {
    let mut tensors = vec![];
    for plan in form.tensors(group, sizes) {
        let name = format!("{prefix}{}", plan.name);
        assert_eq!(theirs[&name].0, plan.shape, "{name}");
        let weight = param(values(theirs, &name).to_vec());
        tensors.push(HeadTensor { plan, weight });
    }
    Head {
        layers: vec![group + 1],
        tensors,
    }
}

#[test]
fn layers_of_half_the_frames_and_their_heads() {
    let theirs = load("fit.safetensors");
    let model = Model::load(&golden("fit"), None, UnknownKeys::REFUSE).expect("fit");
    let sizes = HeadSizes {
        from: 16,
        to: 24,
        targets: 1,
    };
    let tape = Tape::default();
    for row in ["a", "b"] {
        let audio = values(&theirs, &format!("audio/{row}"));
        let pass = Forward::frozen(&model, OPEN, Precision::F32);
        let hiddens = pass.hiddens(&[audio], &[0, 1, 2, 3, 4], Convention::Hf);
        let frames = hiddens[0].spans.total();
        assert_eq!(frames, model.architecture.layer_frames(0, audio.len()));
        for (l, layer) in hiddens[1..].iter().enumerate() {
            assert_eq!(layer.spans.total(), frames / 2);
            let head = head(&theirs, "heads/", Form::Upsample, l, sizes);
            let ours = Form::Upsample.apply(&head, layer.on(&tape), Precision::F32, &tape);
            let name = format!("projection/{row}/{}", l + 1);
            close(&name, &read(&ours[0].values), values(&theirs, &name));
        }
    }
}

#[test]
fn a_layer_that_is_expanded() {
    let theirs = load("fit.safetensors");
    let sizes = HeadSizes {
        from: 16,
        to: 24,
        targets: 3,
    };
    let head = head(&theirs, "expand/", Form::Expand, 0, sizes);
    let tape = Tape::default();
    let x = hidden(
        values(&theirs, "expand/input").to_vec(),
        16,
        Spans::new([4, 5]),
    );
    let ours = Form::Expand.apply(&head, x.on(&tape), Precision::F32, &tape);
    assert_eq!(ours.len(), 3);
    for (i, ours) in ours.iter().enumerate() {
        let name = format!("expand/output/{i}");
        close(&name, &read(&ours.values), values(&theirs, &name));
    }
}
