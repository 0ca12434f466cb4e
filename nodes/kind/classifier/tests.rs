//! The head compared with s3prl's: one update, and a training.
use super::*;
use crate::data::file::Loaded;
use crate::model::parity::{close_to, load, values};
use compute::adamw::{AdamW, Form, Moments, clip_factor, norm, step};
use compute::op::{argmax, cross_entropy, layer_mix};
use compute::random::Key;
use compute::tensor::{Param, Spans, backward, hidden, len, param, read};

/// Logits, loss and gradients of the head, on a weighted sum of layers: tests/golden/superb.py
#[test]
fn the_head_is_s3prls() {
    let golden = load("superb.safetensors");
    let theirs = |name: &str| values(&golden, name);
    let options: Options = serde_json::from_str(r#"{ "classes": 4, "width": 5 }"#).unwrap();
    let hidden_width = 6;
    let tensors = options.tensors(hidden_width);
    let names: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let start = |name: &str| theirs(&format!("start/{name}")).to_vec();
    let values = names.iter().map(|name| start(name)).collect();
    let classifier = Classifier {
        head: Head::new(tensors, values),
        layer: 2,
        precision: Precision::F32,
    };
    let spans = Spans::new(theirs("rows").iter().map(|frames| *frames as usize));
    let layers = theirs("layers").chunks(spans.total() * hidden_width);
    let layers = layers.map(|layer| hidden(layer.to_vec(), hidden_width, spans.clone()));
    let x = layer_mix(layers.collect(), &param(start("weights")), Tape::default());
    let logits = classifier.logits(x);
    close_to(
        "logits",
        &read(&logits.values),
        theirs("plain/logits"),
        1e-5,
    );
    let labels: Vec<u32> = theirs("labels").iter().map(|label| *label as u32).collect();
    let loss = cross_entropy(logits, &labels, None);
    close_to("loss", &read(&loss), theirs("plain/loss"), 1e-5);
    let mut gradients = backward(loss, 1.0);
    for (name, weight) in names.iter().zip(classifier.head.weights()) {
        let gradient = gradients.of(weight);
        let expected = theirs(&format!("plain/grad/{name}"));
        close_to(name, &read(&gradient), expected, 1e-5);
    }
}

/// Rows of frames of two layers, and the class of each row.
struct Rows {
    /// (rows)(layers): numbers of frames.
    layers: Vec<[Vec<f32>; 2]>,
    lengths: Vec<usize>,
    labels: Vec<u32>,
}

const WIDTH: usize = 8;

impl Rows {
    fn new(golden: &Loaded) -> Rows {
        let lengths = values(golden, "lengths").iter().map(|n| *n as usize);
        let lengths: Vec<usize> = lengths.collect();
        let mut frames = values(golden, "features").chunks(2 * WIDTH);
        let mut layers = vec![];
        for &length in &lengths {
            let mut row = [vec![], vec![]];
            for frame in frames.by_ref().take(length) {
                row[0].extend_from_slice(&frame[..WIDTH]);
                row[1].extend_from_slice(&frame[WIDTH..]);
            }
            layers.push(row);
        }
        let labels = values(golden, "labels").iter().map(|label| *label as u32);
        Rows {
            layers,
            lengths,
            labels: labels.collect(),
        }
    }

    /// Returns both layers of some rows, and the classes of these.
    fn batch(&self, rows: &[usize]) -> (Vec<Hidden>, Vec<u32>) {
        let spans = Spans::new(rows.iter().map(|&row| self.lengths[row]));
        let mut layers = vec![];
        for layer in 0..2 {
            let numbers = rows.iter().flat_map(|&row| self.layers[row][layer].clone());
            layers.push(hidden(numbers.collect(), WIDTH, spans.clone()));
        }
        let labels = rows.iter().map(|&row| self.labels[row]);
        (layers, labels.collect())
    }
}

/// A sum of layers and a head while they are trained.
struct Training {
    mix: Param,
    head: Classifier,
    moments: Vec<Moments>,
}

impl Training {
    fn new(seed: u64) -> Training {
        let options: Options = serde_json::from_str(r#"{ "classes": 6 }"#).unwrap();
        let key = |name| Key::new(seed, &[name]);
        let weights = [
            linear_start(key("projector"), 0, WIDTH, options.width),
            linear_start(key("linear"), 0, options.width, options.classes),
        ];
        let head = Classifier {
            head: Head::new(options.tensors(WIDTH), weights.concat()),
            layer: 0,
            precision: Precision::F32,
        };
        let mix = param(vec![0.0; 2]);
        let trained = std::iter::once(&mix).chain(head.head.weights());
        let moments = trained.map(|weight| Moments::zeros(len(weight)));
        let moments = moments.collect();
        Training { mix, head, moments }
    }

    fn logits(&self, layers: Vec<Hidden>) -> Hidden<Tape> {
        self.head
            .logits(layer_mix(layers, &self.mix, Tape::default()))
    }

    fn update(&mut self, (layers, labels): (Vec<Hidden>, Vec<u32>), update: u64) {
        let loss = cross_entropy(self.logits(layers), &labels, None);
        let mut gradients = backward(loss, 1.0);
        let mut weights = vec![&mut self.mix];
        weights.extend(self.head.parameters().into_iter().map(|p| p.weight));
        let gradients: Vec<Param> = weights.iter().map(|w| gradients.of(&**w)).collect();
        let clip = clip_factor(norm(&gradients), Some(1.0));
        let rule = AdamW {
            form: Form::Adamw,
            rate: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            decay: 0.0,
            update,
        };
        for ((weight, moments), gradient) in
            weights.iter_mut().zip(&mut self.moments).zip(&gradients)
        {
            step(&rule, weight, moments, gradient, clip);
        }
    }
}

/// Three deviations of the difference of two means over eight seeds; of one seed both numbers have a
/// deviation of 0.01.
const NOISE: f32 = 0.015;

/// Two hundred updates from eight seeds learn what s3prl's module learns of the same rows in the same
/// order, within the noise of its seeds: tests/golden/ks_training.py
#[test]
fn a_training_learns_what_s3prls_does() {
    let golden = load("ks_training.safetensors");
    let rows = Rows::new(&golden);
    let mean = |numbers: &[f32]| numbers.iter().sum::<f32>() / numbers.len() as f32;
    let mut accuracies = vec![];
    let mut losses = vec![];
    for seed in 0..8 {
        let mut training = Training::new(seed);
        for (update, order) in (1..).zip(values(&golden, "order").chunks(32)) {
            let order: Vec<usize> = order.iter().map(|row| *row as usize).collect();
            training.update(rows.batch(&order), update);
        }
        let dev: Vec<usize> = (96..rows.labels.len()).collect();
        let (layers, labels) = rows.batch(&dev);
        let logits = training.logits(layers);
        let found = argmax(&logits);
        let right = found
            .iter()
            .zip(&labels)
            .filter(|(a, b)| **a == **b as usize);
        accuracies.push(right.count() as f32 / labels.len() as f32);
        losses.push(read(&cross_entropy(logits, &labels, None))[0]);
    }
    for (name, ours) in [("accuracy", &accuracies), ("loss", &losses)] {
        let theirs = values(&golden, name);
        let difference = (mean(ours) - mean(theirs)).abs();
        assert!(
            difference < NOISE,
            "{name}: {ours:?} and s3prl's {theirs:?}"
        );
    }
}
