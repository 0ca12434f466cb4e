//! Which frames of a batch count in a loss.
use crate::data::column;
use crate::{Batch, Result};
use compute::op::select_frames;
use compute::tensor::{Hidden, Spans, Track};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Frames {
    #[default]
    All,
    Masked,
    Unmasked,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum MeanOver {
    #[default]
    Chosen,
    All,
}

/// The frames of a step that count.
pub(super) struct ChosenFrames {
    /// Of each frame of the target, whether the student has it.
    of_target: Vec<bool>,
    /// Of each frame of the student, whether it counts; `None` if all do.
    of_student: Option<Vec<bool>>,
    /// Frames of the student.
    pub(super) total: usize,
    /// Those of them that count.
    pub(super) chosen: usize,
}

impl ChosenFrames {
    /// Chooses frames, for rows of a student and of its target.
    ///
    /// A student whose frames were joined and split again lacks the last ones of some rows, fewer
    /// than `joined`: they count neither in its target nor in the mask.
    ///
    /// # Errors
    /// The rows of student, target and masks are of other frames.
    pub(super) fn new(
        student: &Spans,
        target: &Spans,
        joined: usize,
        frames: Frames,
        masks: Option<&[Vec<bool>]>,
    ) -> Result<ChosenFrames> {
        let rows = student.rows();
        if target.rows() != rows || masks.is_some_and(|masks| masks.len() != rows) {
            return Err("student, target and mask are of other rows".into());
        }
        let mut of_target = vec![];
        let mut of_student = vec![];
        for (row, (frames_here, target_frames)) in
            student.lengths().zip(target.lengths()).enumerate()
        {
            if frames_here > target_frames || target_frames - frames_here >= joined {
                return Err(format!(
                    "row {row} has {frames_here} frames in the student, {target_frames} in the \
                     target"
                )
                .into());
            }
            of_target.extend((0..target_frames).map(|t| t < frames_here));
            if let Some(masks) = masks {
                let mask = &masks[row];
                if mask.len() != target_frames {
                    return Err(format!(
                        "row {row} has {target_frames} frames, its mask {}",
                        mask.len()
                    )
                    .into());
                }
                let counted = frames == Frames::Masked;
                of_student.extend(mask[..frames_here].iter().map(|masked| *masked == counted));
            }
        }
        let total = student.total();
        let of_student = (frames != Frames::All).then_some(of_student);
        let chosen = match &of_student {
            Some(flags) => flags.iter().filter(|chosen| **chosen).count(),
            None => total,
        };
        Ok(ChosenFrames {
            of_target,
            of_student,
            total,
            chosen,
        })
    }

    /// Returns the frames of a target that the student has.
    pub(super) fn trimmed(&self, target: &Hidden) -> Hidden {
        select_frames(target.clone(), &self.of_target)
    }

    /// Returns the class of each frame that the student has.
    ///
    /// # Errors
    /// A row has other frames than its labels.
    pub(super) fn trimmed_labels(&self, labels: &Batch) -> Result<Vec<usize>> {
        let rows = column::labels_by_row(labels, column::LABEL)?;
        let classes = rows.concat();
        if classes.len() != self.of_target.len() {
            return Err(format!(
                "the rows have {} frames, but {} labels",
                self.of_target.len(),
                classes.len()
            )
            .into());
        }
        let kept = classes
            .iter()
            .zip(&self.of_target)
            .filter(|(_, kept)| **kept);
        Ok(kept.map(|(class, _)| *class as usize).collect())
    }

    /// Returns the labels of the frames that count.
    pub(super) fn counted_labels(&self, labels: &[usize]) -> Vec<usize> {
        match &self.of_student {
            Some(flags) => {
                let counted = labels.iter().zip(flags).filter(|(_, counts)| **counts);
                counted.map(|(class, _)| *class).collect()
            }
            None => labels.to_vec(),
        }
    }

    /// Returns the frames that count, of a student or of a trimmed target.
    pub(super) fn counted<T: Track>(&self, x: Hidden<T>) -> Hidden<T> {
        match &self.of_student {
            Some(flags) => select_frames(x, flags),
            None => x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(frames: Frames, student: &[usize], joined: usize) -> [usize; 2] {
        let spans = |lengths: &[usize]| Spans::new(lengths.iter().copied());
        let target = [5, 4];
        let masks = target.map(|n| (0..n).map(|t| t % 2 == 0).collect::<Vec<_>>());
        let chosen = ChosenFrames::new(
            &spans(student),
            &spans(&target),
            joined,
            frames,
            Some(&masks),
        )
        .expect("frames that fit");
        [chosen.chosen, chosen.total]
    }

    #[test]
    fn frames_are_chosen_by_the_mask() {
        assert_eq!(counts(Frames::All, &[5, 4], 1), [9, 9]);
        assert_eq!(counts(Frames::Masked, &[5, 4], 1), [5, 9]);
        assert_eq!(counts(Frames::Unmasked, &[5, 4], 1), [4, 9]);
        // The odd last frame, which is masked, is left out.
        assert_eq!(counts(Frames::Masked, &[4, 4], 2), [4, 8]);
    }

    #[test]
    fn frames_that_do_not_fit_are_an_error() {
        let refused = |student: usize, joined: usize| {
            let student = Spans::new([student]);
            let chosen = ChosenFrames::new(&student, &Spans::new([5]), joined, Frames::All, None);
            chosen.err().expect("an error").to_string()
        };
        let sentence = "row 0 has 4 frames in the student, 5 in the target";
        assert_eq!(refused(4, 1), sentence);
        assert!(refused(6, 2).starts_with("row 0 has 6 frames"));
        assert!(refused(3, 2).starts_with("row 0 has 3 frames"));
    }
}
