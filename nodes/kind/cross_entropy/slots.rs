//! Utterances with a label for each of several slots, such as action, object and location of a
//! command: the logits of the slots lie side by side, the loss is the sum of the slots' cross
//! entropies, and an utterance is right if all of its labels are.
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL};
use crate::data::printable::printable;
use crate::node::OptionError;
use crate::node::outcomes::{Outcome, Outcomes, Rule};
use compute::gemm::Precision;
use compute::op::{argmax, cross_entropy, linear};
use compute::tensor::{Hidden, Number, Param, Tape, param, plus};

/// The slots of all utterances.
pub(super) struct Slots(Vec<Slot>);

struct Slot {
    classes: usize,
    /// (classes, classes of all slots): copies the slot's logits.
    selection: Param,
    /// (classes)
    zeros: Param,
}

/// Returns what is wrong with the numbers of classes of slots, of logits that are `width` wide.
pub(super) fn size_error(sizes: &[usize], width: usize) -> Option<OptionError> {
    let total: usize = sizes.iter().fold(0, |sum, size| sum.saturating_add(*size));
    let message = format!("the slots have {total} classes, the logits {width}");
    let holds = total == width && !sizes.contains(&0);
    OptionError::unless(holds, "slots", message)
}

impl Slots {
    /// Prepares slots of these numbers of classes.
    pub(super) fn new(sizes: &[usize]) -> Slots {
        let width: usize = sizes.iter().sum();
        let mut first = 0;
        let mut slots = vec![];
        for &classes in sizes {
            let mut selection = vec![0.0; classes * width];
            for class in 0..classes {
                selection[class * width + first + class] = 1.0;
            }
            slots.push(Slot {
                classes,
                selection: param(selection),
                zeros: param(vec![0.0; classes]),
            });
            first += classes;
        }
        Slots(slots)
    }

    /// Returns the sum of the slots' cross entropies, each a mean over rows, and which rows are
    /// right.
    ///
    /// # Errors
    /// A row has another number of labels than there are slots, or a label that no class of its slot
    /// has.
    pub(super) fn loss(
        &self,
        logits: &Hidden<Tape>,
        labels: &crate::Batch,
        metric: &str,
    ) -> Result<(Number<Tape>, Outcomes)> {
        let ids = column::texts(labels, ID)?;
        let rows = column::labels_by_row(labels, LABEL)?;
        for (i, row) in rows.iter().enumerate() {
            self.check(row)
                .map_err(|message| format!("`{}` {message}", printable(ids.value(i))))?;
        }
        let mut right = vec![true; rows.len()];
        let mut total: Option<Number<Tape>> = None;
        for (s, slot) in self.0.iter().enumerate() {
            let labels: Vec<u32> = rows.iter().map(|row| row[s]).collect();
            let part = linear(logits.clone(), &slot.selection, &slot.zeros, Precision::F32);
            for (right, (predicted, label)) in
                right.iter_mut().zip(argmax(&part).iter().zip(&labels))
            {
                *right &= *predicted == *label as usize;
            }
            let loss = cross_entropy(part, &labels, None);
            total = Some(match total {
                Some(total) => plus(total, loss),
                None => loss,
            });
        }
        let rows = right.into_iter().enumerate().map(|(i, right)| Outcome {
            id: ids.value(i).to_owned(),
            numbers: [f64::from(u8::from(right)), 1.0],
        });
        let outcomes = Outcomes {
            metric: metric.to_owned(),
            rule: Rule::Ratio,
            rows: rows.collect(),
        };
        Ok((total.ok_or("there is no slot")?, outcomes))
    }

    fn check(&self, labels: &[u32]) -> Result<(), String> {
        if labels.len() != self.0.len() {
            return Err(format!(
                "has {} labels for {} slots",
                labels.len(),
                self.0.len()
            ));
        }
        for (label, slot) in labels.iter().zip(&self.0) {
            if *label as usize >= slot.classes {
                let classes = slot.classes;
                return Err(format!(
                    "has the label {label} in a slot of {classes} classes"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::labels;
    use compute::tensor::{Spans, backward, hidden, read};

    /// Two rows, slots of 2 and 3 classes.
    const LOGITS: [f32; 10] = [2.0, 0.0, 0.0, 1.0, 3.0, 0.0, 2.0, 5.0, 1.0, 0.0];

    fn softmax_loss(logits: &[f32], label: usize) -> f64 {
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        sum.ln() - f64::from(logits[label])
    }

    #[test]
    fn a_row_is_right_if_all_slots_are() {
        let slots = Slots::new(&[2, 3]);
        let tape = Tape::default();
        let x = hidden(LOGITS.to_vec(), 5, Spans::new([1, 1]));
        let rows = [("a", &[0, 2][..]), ("b", &[1, 1])];
        let batch = labels::rows(rows.into_iter()).expect("a batch");
        let (loss, outcomes) = slots
            .loss(&x.on(&tape), &batch, "accuracy")
            .expect("a loss");
        let expected = (softmax_loss(&LOGITS[..2], 0)
            + softmax_loss(&LOGITS[5..7], 1)
            + softmax_loss(&LOGITS[2..5], 2)
            + softmax_loss(&LOGITS[7..], 1))
            / 2.0;
        assert!((f64::from(read(&loss)[0]) - expected).abs() < 1e-6);
        let numbers: Vec<[f64; 2]> = outcomes.rows.iter().map(|row| row.numbers).collect();
        assert_eq!(numbers, [[1.0, 1.0], [0.0, 1.0]]);
        // The gradient of a slot's logits sums to 0.
        let mut gradients = backward(loss, 1.0);
        let gradient = read(&gradients.of(&x.values)).to_vec();
        for row in gradient.chunks(5) {
            assert!(row[..2].iter().sum::<f32>().abs() < 1e-6);
            assert!(row[2..].iter().sum::<f32>().abs() < 1e-6 && row[2] != 0.0);
        }
    }

    #[test]
    fn labels_that_fit_no_slot_are_errors() {
        let slots = Slots::new(&[2, 3]);
        let x = hidden(LOGITS[..5].to_vec(), 5, Spans::new([1]));
        let error = |labels: &[u32]| {
            let batch = labels::rows([("a", labels)].into_iter()).expect("a batch");
            let x = x.on(&Tape::default());
            let error = slots
                .loss(&x, &batch, "accuracy")
                .err()
                .expect("no such label");
            error.to_string()
        };
        assert_eq!(error(&[1]), "`a` has 1 labels for 2 slots");
        assert_eq!(error(&[0, 3]), "`a` has the label 3 in a slot of 3 classes");
    }

    #[test]
    fn slots_have_the_classes_of_the_logits() {
        assert!(size_error(&[2, 3], 5).is_none());
        let error = size_error(&[2, 3], 6).expect("6 classes");
        assert_eq!(
            error.message,
            "option `slots`: the slots have 5 classes, the logits 6"
        );
        assert!(size_error(&[5, 0], 5).is_some());
    }
}
