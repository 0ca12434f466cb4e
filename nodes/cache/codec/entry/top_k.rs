//! The largest logits of a frame, and what the others have together.
//!
//! Of a frame with logits z over n classes, k are kept: with S = Σ over kept classes of exp(z), and R
//! the same over the others, `rest` = R / (S + R) is the probability of these. They come back alike,
//! each as ln(S · rest / (1 - rest) / (n - k)): softmax then gives the kept classes and the rest what
//! they had. Of equal logits the class with the lower number is kept.
//!
//! ```text
//! a row: k u32 for each frame, the classes by falling logits; k f32, their logits; 1 f32, the rest
//! ```
use crate::data::entry::Entry;
use std::cmp::Ordering;

/// Returns the number of bytes that a row takes: of the classes, of their logits, and of the rests.
/// `None` if they are more than can be counted.
pub(super) fn sections(frames: u32, width: u32, k: u32) -> Option<[u64; 3]> {
    let frames = u64::from(frames);
    let kept = frames.checked_mul(kept_classes(width, k) as u64)?;
    Some([kept.checked_mul(4)?, kept.checked_mul(4)?, frames * 4])
}

/// Returns how many classes of a frame are kept.
fn kept_classes(width: u32, k: u32) -> usize {
    width.min(k) as usize
}

/// Encodes logits.
pub(super) fn encode(entry: &Entry, width: u32, k: u32) -> Vec<u8> {
    let kept = kept_classes(width, k);
    let frames = entry.frames as usize;
    if entry.values.is_empty() {
        return vec![0; 4 * frames];
    }
    let mut classes = Vec::with_capacity(4 * kept * frames);
    let mut logits = Vec::with_capacity(4 * kept * frames);
    let mut rests = Vec::with_capacity(4 * frames);
    let mut order: Vec<u32> = vec![];
    for frame in entry.values.chunks_exact(width.max(1) as usize) {
        let larger_first = |a: &u32, b: &u32| -> Ordering {
            let logit = |class: &u32| frame[*class as usize];
            logit(b).total_cmp(&logit(a)).then(a.cmp(b))
        };
        order.clear();
        order.extend((0..frame.len()).map(|class| class as u32));
        if kept < order.len() {
            order.select_nth_unstable_by(kept, larger_first);
        }
        let (top, others) = order.split_at_mut(kept);
        top.sort_unstable_by(larger_first);
        others.sort_unstable(); // so that their sum has one order
        for class in &*top {
            classes.extend(class.to_le_bytes());
            logits.extend(frame[*class as usize].to_le_bytes());
        }
        let greatest = f64::from(frame[top[0] as usize]);
        let mass = |part: &[u32]| -> f64 {
            let logit = |class: &u32| f64::from(frame[*class as usize]);
            part.iter()
                .map(|class| (logit(class) - greatest).exp())
                .sum()
        };
        let rest = mass(others);
        rests.extend(((rest / (mass(top) + rest)) as f32).to_le_bytes());
    }
    [classes, logits, rests].concat()
}

/// Decodes the bytes of a row.
pub(super) fn decode(bytes: &[u8], frames: u32, width: u32, k: u32) -> Vec<f32> {
    let kept = kept_classes(width, k);
    let width = width as usize;
    let (classes, bytes) = bytes.split_at(4 * kept * frames as usize);
    let (logits, rests) = bytes.split_at(4 * kept * frames as usize);
    let (classes, _) = classes.as_chunks::<4>();
    let (logits, _) = logits.as_chunks::<4>();
    let (rests, _) = rests.as_chunks::<4>();
    let mut values = vec![0.0; width * frames as usize];
    for (frame, values) in values.chunks_exact_mut(width.max(1)).enumerate() {
        let of_frame = frame * kept..(frame + 1) * kept;
        let top: Vec<f32> = logits[of_frame.clone()]
            .iter()
            .map(|x| f32::from_le_bytes(*x))
            .collect();
        values.fill(other_logit(
            &top,
            f32::from_le_bytes(rests[frame]),
            width - kept,
        ));
        for (place, logit) in of_frame.zip(top) {
            // A part whose hash is right has no class beyond the width.
            let class = u32::from_le_bytes(classes[place]) as usize;
            if let Some(value) = values.get_mut(class) {
                *value = logit;
            }
        }
    }
    values
}

/// Returns the logit of each of `others` classes that are not kept.
fn other_logit(top: &[f32], rest: f32, others: usize) -> f32 {
    let greatest = f64::from(top[0]);
    let mass: f64 = top.iter().map(|x| (f64::from(*x) - greatest).exp()).sum();
    // A rest of 0 is one below what f32 tells from 0.
    let rest = f64::from(rest.max(f32::MIN_POSITIVE));
    let share = mass * rest / (1.0 - rest) / others.max(1) as f64;
    ((greatest + share.ln()) as f32).min(top[top.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use compute::random::noise;

    fn probabilities(logits: &[f32]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        logits.iter().map(|&x| f64::from(x).exp() / sum).collect()
    }

    #[test]
    fn kept_classes_and_the_rest_have_the_probabilities_that_they_had() {
        let frames = 5;
        let width = 11;
        let logits = noise("logits", frames * width).into_iter().map(|x| 3.0 * x);
        let entry = Entry {
            frames: frames as u32,
            values: logits.collect(),
        };
        for k in [1, 4, 10, 11, 50] {
            let bytes = encode(&entry, width as u32, k);
            let sections = sections(frames as u32, width as u32, k).unwrap();
            assert_eq!(bytes.len() as u64, sections.iter().sum::<u64>());
            let decoded = decode(&bytes, frames as u32, width as u32, k);
            let again = Entry {
                frames: frames as u32,
                values: decoded.clone(),
            };
            let again = decode(
                &encode(&again, width as u32, k),
                frames as u32,
                width as u32,
                k,
            );
            for frame in 0..frames {
                let range = frame * width..(frame + 1) * width;
                let before = probabilities(&entry.values[range.clone()]);
                let after = probabilities(&decoded[range.clone()]);
                let mut order: Vec<usize> = (0..width).collect();
                order.sort_by(|a, b| before[*b].total_cmp(&before[*a]));
                let (top, others) = order.split_at(width.min(k as usize));
                for &class in top {
                    assert_eq!(
                        decoded[range.start + class],
                        entry.values[range.start + class]
                    );
                    assert!((before[class] - after[class]).abs() < 1e-6);
                }
                for &class in others {
                    let mean = others.iter().map(|&o| before[o]).sum::<f64>() / others.len() as f64;
                    assert!((after[class] - mean).abs() < 1e-6, "{k}");
                    assert_eq!(
                        decoded[range.start + class],
                        decoded[range.start + others[0]]
                    );
                }
                let drift = decoded[range.clone()].iter().zip(&again[range]);
                assert!(drift.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-5);
            }
        }
    }

    #[test]
    fn a_rest_of_nothing_and_equal_logits_are_stored() {
        let entry = Entry {
            frames: 2,
            values: vec![1e4, -1e4, 0.0, 7.0, 7.0, 7.0],
        };
        let bytes = encode(&entry, 3, 1);
        assert_eq!(bytes[..4], [0, 0, 0, 0], "the first of equal ones");
        let decoded = decode(&bytes, 2, 3, 1);
        assert_eq!(decoded[0], 1e4);
        assert!(
            decoded[1] > 9.9e3 - 100.0 && decoded[1] < 1e4 - 80.0,
            "{decoded:?}"
        );
        assert_eq!(decoded[3..], [7.0, 7.0, 7.0]);
    }
}
