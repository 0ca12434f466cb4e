//! A whole training of phone recognition on random features against s3prl's own downstream model
//! (tests/golden/pr_training.py): a mix of two layers, two linear maps, CTC and Adam.
use super::*;
use crate::data::file::Loaded;
use crate::model::parity::{load, values};
use compute::adamw::{self, AdamW, Form, Moments};
use compute::gemm::Precision;
use compute::op::{layer_mix, linear, linear_start};
use compute::random::Key;
use compute::tensor::{NoneTape, Param, Spans, backward, hidden, len, param, scaled};

const LAYERS: usize = 2;
const WIDTH: usize = 8;
const PROJECTED: usize = 256;
const TRAIN_ROWS: usize = 64;
const BATCH: usize = 16;
/// Batches of an update.
const ACCUMULATE: usize = 2;

/// The rows of the golden file.
struct Data {
    /// (rows)(layers), (frames, width)
    features: Vec<Vec<Vec<f32>>>,
    labels: Vec<Vec<u32>>,
}

impl Data {
    fn read(golden: &Loaded) -> Data {
        let frames = integers(golden, "frames");
        let layers: Vec<&[f32]> = (0..LAYERS)
            .map(|layer| values(golden, &format!("layers/{layer}")))
            .collect();
        let spans = Spans::new(frames.iter().copied());
        let features = spans.iter().map(|row| {
            let numbers = row.start * WIDTH..row.end * WIDTH;
            layers.iter().map(|x| x[numbers.clone()].to_vec()).collect()
        });
        let phones = integers(golden, "labels");
        let rows = Spans::new(integers(golden, "label_lengths"));
        let labels = rows.iter().map(|row| {
            // The first phone is class 3, behind <eos> and <unk>; each row ends with <eos>.
            let phones = phones[row].iter().map(|phone| *phone as u32 + 2);
            phones.chain([1]).collect()
        });
        Data {
            features: features.collect(),
            labels: labels.collect(),
        }
    }

    fn layers(&self, rows: &[usize]) -> Vec<Hidden<NoneTape>> {
        let mut layers = vec![];
        for layer in 0..LAYERS {
            let of_rows: Vec<&[f32]> = rows
                .iter()
                .map(|row| &self.features[*row][layer][..])
                .collect();
            let spans = Spans::new(of_rows.iter().map(|x| x.len() / WIDTH));
            layers.push(hidden(of_rows.concat(), WIDTH, spans));
        }
        layers
    }

    fn labels(&self, rows: &[usize]) -> Vec<&[u32]> {
        rows.iter().map(|row| &self.labels[*row][..]).collect()
    }
}

fn integers(golden: &Loaded, name: &str) -> Vec<usize> {
    values(golden, name).iter().map(|x| *x as usize).collect()
}

/// Mix, connector and logits.
fn drawn_weights(classes: usize, seed: u64) -> Vec<Param> {
    let key = Key::new(seed, &["training"]);
    let mut weights = vec![vec![0.0; LAYERS]];
    weights.extend(linear_start(key, 0, WIDTH, PROJECTED));
    weights.extend(linear_start(key, 1, PROJECTED, classes));
    weights.into_iter().map(param).collect()
}

fn logits(data: &Data, rows: &[usize], weights: &[Param]) -> Hidden<Tape> {
    let mixed = layer_mix(data.layers(rows), &weights[0], Tape::default());
    let projected = linear(mixed, &weights[1], &weights[2], Precision::F32);
    linear(projected, &weights[3], &weights[4], Precision::F32)
}

/// Steps Adam at 1e-2 with gradients that are clipped to a norm of 1.
fn step(weights: &mut [Param], moments: &mut [Moments], gradients: &[Param], update: u64) {
    let adam = AdamW {
        form: Form::Adamw,
        rate: 1e-2,
        betas: [0.9, 0.999],
        eps: 1e-8,
        decay: 0.0,
        update,
    };
    let clip = adamw::clip_factor(adamw::norm(gradients.iter()), Some(1.0));
    let parameters = weights.iter_mut().zip(moments).zip(gradients);
    for ((weight, moments), gradient) in parameters {
        adamw::step(&adam, weight, moments, gradient, clip);
    }
}

/// Trains on the rows of `order`, and returns the phone error rate of the other rows.
fn error_rate(data: &Data, order: &[usize], node: &Ctc, seed: u64) -> f64 {
    let mut weights = drawn_weights(node.vocabulary.classes(), seed);
    let mut moments: Vec<Moments> = weights.iter().map(|w| Moments::zeros(len(w))).collect();
    for (update, rows) in (1..).zip(order.chunks_exact(ACCUMULATE * BATCH)) {
        let mut sums: Vec<Param> = vec![];
        for rows in rows.chunks_exact(BATCH) {
            let loss = ctc(logits(data, rows, &weights), &data.labels(rows));
            let mut gradients = backward(scaled(loss, 1.0 / ACCUMULATE as f32), 1.0);
            let gradients: Vec<Param> = weights.iter().map(|w| gradients.of(w)).collect();
            if sums.is_empty() {
                sums = gradients;
            } else {
                let pairs = sums.iter_mut().zip(&gradients);
                pairs.for_each(|(sum, gradient)| adamw::add(sum, gradient));
            }
        }
        step(&mut weights, &mut moments, &sums, update);
    }
    let dev: Vec<usize> = (TRAIN_ROWS..data.labels.len()).collect();
    let ids = vec![String::new(); dev.len()];
    let outcomes = node.outcomes(&ids, &data.labels(&dev), &logits(data, &dev, &weights));
    let numbers: Vec<[f64; 2]> = outcomes[0].rows.iter().map(|row| row.numbers).collect();
    Rule::Ratio.metric(&numbers).expect("a rate")
}

#[test]
fn training_ends_at_s3prls_error_rate() {
    let golden = load("pr_training.safetensors");
    let data = Data::read(&golden);
    let order = integers(&golden, "order");
    let names = ["<eos>", "<unk>"].into_iter().map(String::from);
    let phones = (0..8).map(|phone| format!("P{phone}"));
    let vocabulary: Vec<String> = names.chain(phones).collect();
    let node = Ctc {
        options: Options {
            zero_infinity: true,
        },
        vocabulary: Vocabulary::new(Units::Phones, &vocabulary),
    };
    let theirs = values(&golden, "per");
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    let theirs: Vec<f64> = theirs.iter().map(|rate| f64::from(*rate)).collect();
    let squares: Vec<f64> = theirs.iter().map(|r| (r - mean(&theirs)).powi(2)).collect();
    // One error more or less in 141 phones is the least that seeds can differ by.
    let deviation = mean(&squares).sqrt().max(1.0 / 141.0);
    let ours = [1, 2].map(|seed| error_rate(&data, &order, &node, seed));
    for rate in ours {
        let distance = (rate - mean(&theirs)).abs() / deviation;
        assert!(distance < 4.0, "{ours:?} are not {theirs:?}");
    }
}
