//! The loss and its gradients compared with fairseq's, and the alignment of labels.
use super::*;
use crate::data::labels;
use crate::model::parity::{close, load, values};
use crate::node::outcomes::Outcomes;
use arrow::array::StringArray;
use compute::gemm::Precision;
use compute::op::{cosine_logits, linear, mean_square};
use compute::tensor::{Hidden, Spans, Tape, backward, hidden, param, plus, read, scaled};
use std::sync::Arc;

/// tests/golden/hubert.py
#[test]
fn logits_loss_and_accuracies_are_fairseqs() {
    let golden = load("hubert.safetensors");
    let theirs = |name: &str| values(&golden, name).to_vec();
    let tape = Tape::default();
    let x = hidden(theirs("x"), 12, Spans::new([40]));
    let features = hidden(theirs("features"), 5, Spans::new([40]));
    let weight = param(theirs("weight"));
    let bias = param(theirs("bias"));
    let embeddings = param(theirs("embeddings"));
    let z = linear(x.on(&tape), &weight, &bias, Precision::F32);
    let logits = cosine_logits(z, &embeddings, 0.1);
    close("logits", &read(&logits.values), &theirs("logits"));
    let frames = LabelledFrames {
        ids: vec!["a.wav".into()],
        labels: theirs("labels").iter().map(|l| Some(*l as u32)).collect(),
        masked: theirs("mask").iter().map(|m| *m == 1.0).collect(),
    };
    let weights = Weights::ByMask {
        masked: 1.0,
        unmasked: 0.5,
    };
    let loss = weights.loss(logits, &frames, false);
    close("loss", &read(&loss.value), &theirs("loss"));
    let mut metrics = vec![loss.parts[0].1];
    metrics.extend(accuracies(&loss).into_iter().map(|(_, value)| value));
    let their_metrics = [theirs("loss"), theirs("accuracies")].concat();
    close("metrics", &metrics, &their_metrics);
    let penalty = mean_square(features.on(&tape));
    close("penalty", &read(&penalty), &theirs("penalty"));
    let total = plus(loss.value, scaled(penalty, 10.0));
    close("total", &read(&total), &theirs("total"));
    let mut gradients = backward(total, 1.0);
    let ours = [
        ("x", gradients.of(&x.values)),
        ("features", gradients.of(&features.values)),
    ];
    for (name, gradient) in ours {
        close(name, &read(&gradient), &theirs(&format!("grad/{name}")));
    }
    let parameters = [
        ("weight", &weight),
        ("bias", &bias),
        ("embeddings", &embeddings),
    ];
    for (name, parameter) in parameters {
        let gradient = gradients.of(parameter);
        close(name, &read(&gradient), &theirs(&format!("grad/{name}")));
    }
}

/// Returns the metrics of what became of the rows.
fn accuracies(loss: &Scalar) -> Vec<(String, f32)> {
    let mut accuracies = vec![];
    for Outcomes { metric, rule, rows } in &loss.outcomes {
        let numbers: Vec<[f64; 2]> = rows.iter().map(|row| row.numbers).collect();
        let accuracy = rule.metric(&numbers).expect("a frame with a label");
        accuracies.push((metric.clone(), accuracy as f32));
    }
    accuracies
}

/// Logits of one row: 3 frames, 2 classes.
fn three_frames() -> Hidden<Tape> {
    let values = vec![2.0, 0.0, 0.0, 2.0, 5.0, 5.0];
    hidden(values, 2, Spans::new([3])).on(&Tape::default())
}

#[test]
fn labels_are_aligned_with_frames() {
    let align = |labels: &[u32]| {
        let ids = Arc::new(StringArray::from(vec!["a.wav"]));
        let batch = labels::batch(ids, labels.to_vec(), &[labels.len()]).expect("a batch");
        aligned_labels(&batch, &three_frames()).map_err(|e| e.to_string())
    };
    assert_eq!(align(&[0, 1]), Ok(vec![Some(0), Some(1), None]));
    let cut = align(&[0, 1, 1, 0, 1]);
    assert_eq!(cut, Ok(vec![Some(0), Some(1), Some(1)]));
    let error = "`a.wav` has 3 frames, but 6 labels";
    assert_eq!(align(&[0; 6]), Err(error.into()));
    let error = "`a.wav` has the label 2, but there are 2 classes";
    assert_eq!(align(&[0, 2]), Err(error.into()));
}

/// Padding gives a row of frames another label or two, and an utterance none.
#[test]
fn an_utterance_of_several_labels_needs_slots() {
    let align = |labels: &[u32]| {
        let ids = Arc::new(StringArray::from(vec!["a.wav"]));
        let batch = labels::batch(ids, labels.to_vec(), &[labels.len()]).expect("a batch");
        let logits = hidden(vec![2.0, 0.0], 2, Spans::new([1])).on(&Tape::default());
        aligned_labels(&batch, &logits).map_err(|e| e.to_string())
    };
    assert_eq!(align(&[1]), Ok(vec![Some(1)]));
    assert_eq!(align(&[]), Ok(vec![None]));
    let error = "`a.wav` has 1 frames, but 2 labels; `slots` names the classes of each";
    assert_eq!(align(&[0, 1]), Err(error.into()));
}

#[test]
fn frames_without_a_label_do_not_count() {
    let frames = LabelledFrames {
        ids: vec!["a.wav".into()],
        labels: vec![Some(0), Some(0), None],
        masked: vec![true, false, true],
    };
    let weights = Weights::ByMask {
        masked: 1.0,
        unmasked: 0.0,
    };
    let loss = weights.loss(three_frames(), &frames, false);
    let expected = (1.0 + (-2f32).exp()).ln();
    assert!((loss.parts[0].1 - expected).abs() < 1e-6);
    assert_eq!(loss.weight, 1.0);
    let expected = [
        ("accuracy_masked".to_owned(), 1.0),
        ("accuracy_unmasked".to_owned(), 0.0),
    ];
    assert_eq!(accuracies(&loss), expected);
}

/// Without a mask every labelled frame has the same weight.
#[test]
fn all_frames_count_alike_without_a_mask() {
    let frames = LabelledFrames {
        ids: vec!["a.wav".into()],
        labels: vec![Some(0), Some(1), None],
        masked: vec![false; 3],
    };
    let loss = |weight: f64| Weights::Alike(weight).loss(three_frames(), &frames, false);
    let once = loss(1.0);
    let twice = loss(2.0);
    assert_eq!(once.weight, 2.0);
    assert_eq!(2.0 * once.parts[0].1, twice.parts[0].1);
    assert_eq!(once.outcomes[0].metric, "accuracy");
}

/// A student whose frames were joined and split again lacks the odd last frame of a row.
#[test]
fn a_mask_is_cut_to_the_frames_of_the_logits() {
    let masks = [vec![true, false, true], vec![false, true]];
    let logits = Spans::new([2, 2]);
    let aligned = aligned_masks(&masks, &logits, 2).unwrap();
    assert_eq!(aligned, [true, false, false, true]);
    for (frames, joined) in [([2, 2], 1), ([1, 2], 2), ([3, 3], 2)] {
        let error = aligned_masks(&masks, &Spans::new(frames), joined).unwrap_err();
        assert!(error.to_string().contains("its mask"), "{error}");
    }
    assert!(aligned_masks(&masks[..1], &logits, 2).is_err());
}
