//! Hidden states and heads of FitHuBERT and DistilHuBERT against their own code
//! (tests/golden/baselines.py).
use super::forms::{Form, Head, HeadSizes, HeadTensor};
use crate::data::file::Loaded;
use crate::model::parity::{close, golden, load, values};
use crate::model::{Convention, Forward, Model, OPEN, UnknownKeys};
use compute::gemm::Precision;
use compute::tensor::{Tape, param, read};

/// Takes the tensors of the head of a group.
fn head(theirs: &Loaded, form: Form, group: usize, sizes: HeadSizes) -> Head {
    let mut tensors = vec![];
    for plan in form.tensors(group, sizes) {
        assert_eq!(theirs[&plan.name].0, plan.shape, "{}", plan.name);
        let weight = param(values(theirs, &plan.name).to_vec());
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
    let heads = load("fit/heads.safetensors");
    let model = Model::load(&golden("fit"), UnknownKeys::REFUSE).expect("fit");
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
            let name = format!("hidden/{row}/{}", l + 1);
            close(&name, &read(&layer.values), values(&theirs, &name));
            let head = head(&heads, Form::Upsample, l, sizes);
            let ours = Form::Upsample.apply(&head, layer.on(&tape), Precision::F32, &tape);
            let name = format!("projection/{row}/{}", l + 1);
            close(&name, &read(&ours[0].values), values(&theirs, &name));
        }
    }
}

#[test]
fn a_layer_that_is_expanded() {
    let theirs = load("distilhubert.safetensors");
    let model = Model::load(&golden("distilhubert"), UnknownKeys::REFUSE).expect("distilhubert");
    let sizes = HeadSizes {
        from: 16,
        to: 24,
        targets: 3,
    };
    let heads = load("distilhubert/heads.safetensors");
    let head = head(&heads, Form::Expand, 0, sizes);
    let tape = Tape::default();
    for row in ["a", "b"] {
        let audio = values(&theirs, &format!("audio/{row}"));
        let pass = Forward::frozen(&model, OPEN, Precision::F32);
        let hiddens = pass.hiddens(&[audio], &[1, 2], Convention::Hf);
        for (l, layer) in hiddens.iter().enumerate() {
            let name = format!("hidden/{row}/{}", l + 1);
            close(&name, &read(&layer.values), values(&theirs, &name));
        }
        let ours = Form::Expand.apply(&head, hiddens[1].on(&tape), Precision::F32, &tape);
        assert_eq!(ours.len(), 3);
        for (i, ours) in ours.iter().enumerate() {
            let name = format!("projection/{row}/{i}");
            close(&name, &read(&ours.values), values(&theirs, &name));
        }
    }
}
