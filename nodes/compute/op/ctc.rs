//! Connectionist temporal classification (Graves et al. 2006): minus the logarithm of the probability
//! that the frames of a row spell its labels. A path gives each frame a label or the blank, class 0,
//! and spells what is left of it once repeats are merged and blanks removed. With
//! ln p_t = x_t - ln Σ_c exp x_tc, and l' the L labels with a blank between and around them:
//!   α_t(s) = p_t(l'_s) (α_{t-1}(s) + α_{t-1}(s-1) + α_{t-1}(s-2)), the last only if l'_s is neither
//!            the blank nor l'_{s-2}
//!   β_t(s) = the same sum over s, s+1 and s+2 of β_{t+1} p_{t+1}, from the last frame
//!   P = Σ_s α_t(s) β_t(s) at any t
//!   y = mean over rows of -ln P / max(L, 1)
//!   dx_tc = (p_t(c) - Σ_{s: l'_s = c} α_t(s) β_t(s) / P) / (rows · max(L, 1))
//! x (frames, classes). This is PyTorch's CTCLoss with blank 0, reduction "mean" and zero_infinity: a
//! row with too few frames for its labels has P = 0, and adds 0 to y and to dx.
//!
//! α and β are logarithms in f64, computed on the CPU wherever tensors lie. From a GPU the logits are
//! copied, and the gradient is uploaded.
mod lattice;
use super::given::{GivenDevice, given_number};
use crate::parallel::map;
use crate::tensor::{Hidden, Number, Track};
use lattice::Lattice;

/// Returns the mean over rows of -ln of the probability of the row's labels, divided by their number.
///
/// The labels of each row are classes from 1; class 0 is the blank. A row that is too short for its
/// labels ([`ctc_frames`]) adds nothing to the sum.
///
/// # Panics
/// If there is not one list of labels for each row, or if a label is no class or the blank.
pub fn ctc<T: Track<D>, D: GivenDevice>(logits: Hidden<T, D>, labels: &[&[u32]]) -> Number<T, D> {
    let (x, tape) = logits.split();
    let classes = x.width();
    assert_eq!(labels.len(), x.spans.rows(), "labels are a list a row");
    let spans: Vec<_> = x.spans.iter().collect();
    let numbers = D::numbers(&x.values);
    let rows = map(labels.len(), |row| {
        let span = &spans[row];
        let frames = &numbers[span.start * classes..span.end * classes];
        let mean = 1.0 / (labels.len() * labels[row].len().max(1)) as f64;
        let lattice = Lattice::new(frames, classes, labels[row]);
        let Some(log_probability) = lattice.log_probability() else {
            return (0.0, vec![0.0; frames.len()]);
        };
        let slopes = if T::OWNS_TAPE {
            lattice.slopes(mean)
        } else {
            vec![]
        };
        (-mean * log_probability, slopes)
    });
    drop(numbers);
    let value: f64 = rows.iter().map(|(value, _)| value).sum();
    let slopes = rows.into_iter().flat_map(|(_, slopes)| slopes).collect();
    given_number(value as f32, vec![(x.values, slopes)], tape)
}

/// Counts the frames that labels need: one each, and a blank between equal neighbours.
pub fn ctc_frames(labels: &[u32]) -> usize {
    let repeats = labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
    labels.len() + repeats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, check_op, close};
    use crate::tensor::Spans;
    use crate::tensor::cpu::{Tape, backward, hidden, read};

    /// Returns what a path spells.
    fn spelled(path: &[usize]) -> Vec<u32> {
        let mut labels = vec![];
        for (t, &class) in path.iter().enumerate() {
            if class != 0 && (t == 0 || path[t - 1] != class) {
                labels.push(class as u32);
            }
        }
        labels
    }

    /// Sums the probabilities of all paths over `frames` that spell `labels`.
    fn probability(frames: &[f64], classes: usize, labels: &[u32]) -> f64 {
        let count = frames.len() / classes;
        let paths = classes.pow(count as u32);
        let mut sum = 0.0;
        for number in 0..paths {
            let class = |t: usize| number / classes.pow(t as u32) % classes;
            let path: Vec<usize> = (0..count).map(class).collect();
            if spelled(&path) == labels {
                let one = |(frame, class): (&[f64], &usize)| {
                    frame[*class].exp() / frame.iter().map(|x| x.exp()).sum::<f64>()
                };
                sum += frames.chunks(classes).zip(&path).map(one).product::<f64>();
            }
        }
        sum
    }

    /// Rows that repeat labels, fill all frames, have no label, no frame, too few frames, or neither
    /// frames nor labels.
    const ROWS: [usize; 8] = [5, 4, 3, 6, 2, 0, 0, 1];
    const LABELS: [&[u32]; 8] = [&[1, 2], &[2, 2], &[], &[1, 2, 1], &[1, 1], &[1], &[], &[2]];

    #[test]
    fn ctc_sums_over_all_paths_and_has_its_gradient() {
        for classes in [3, 4] {
            let case = Case::new(&ROWS, classes, &[]);
            let x = case.frames();
            let mut sum = 0.0;
            for (row, labels) in case.x.spans.iter().zip(LABELS) {
                let p = probability(&x[row.start * classes..row.end * classes], classes, labels);
                if p > 0.0 {
                    sum -= p.ln() / labels.len().max(1) as f64;
                }
            }
            let y = ctc(case.x.clone(), &LABELS);
            close(read(&y), &[sum / ROWS.len() as f64], 1e-6);
            check_op!(case, |x, _, _, _| ctc(x, &LABELS));
        }
    }

    #[test]
    fn the_frames_that_labels_need_are_the_fewest_that_spell_them() {
        for labels in LABELS {
            let needed = ctc_frames(labels);
            let p = |frames: usize| probability(&vec![0.0; 3 * frames], 3, labels);
            assert!(p(needed) > 0.0);
            assert!(needed == 0 || p(needed - 1) == 0.0);
        }
    }

    /// Logits so far apart that no probability in f32 holds the way that is left.
    #[test]
    fn large_logits_do_not_vanish() {
        let frame = [1e3, 0.0, -1e3];
        let x = hidden(frame.repeat(4), 3, Spans::new([4]));
        let loss = ctc(x.on(&Tape::default()), &[&[2, 2]]);
        // Two frames are 2: the first and third, the first and fourth, or the second and fourth.
        close(read(&loss), &[(4e3 - 3f64.ln()) / 2.0], 1e-7);
        let dx = backward(loss, 1.0).take(&x.values);
        close(&dx[..3], &[1.0 / 3.0, 0.0, -1.0 / 3.0], 1e-6);
    }

    #[test]
    fn a_batch_without_rows_is_zero() {
        let none = hidden(vec![], 3, Spans::new([]));
        assert_eq!(read(&ctc(none, &[])), [0.0]);
    }

    #[test]
    #[should_panic(expected = "label 3 of 3 classes")]
    fn a_label_beyond_the_classes() {
        ctc(hidden(vec![0.0; 3], 3, Spans::new([1])), &[&[3]]);
    }
}
