//! Checks the hidden states that a loss compares: layers, widths and steps of both sides.
use super::{Options, STUDENT, TARGET};
use crate::node::port::{Content, FrameStep, Shapes};
use crate::node::{HiddenInput, OptionError};

impl Options {
    /// Checks student and target against each other.
    pub(super) fn hiddens_errors(&self, inputs: &Shapes) -> Vec<OptionError> {
        let mut errors = vec![];
        let student = HiddenInput::find(STUDENT, inputs);
        if let (Some(student), Some(target)) = (&student, HiddenInput::find(TARGET, inputs)) {
            let layers = student.layers.len();
            let target_layers = target.layers.len();
            if layers != target_layers {
                errors.push(OptionError::at(
                    "inputs",
                    format!(
                        "`{STUDENT}` has {layers} layers, `{TARGET}` {target_layers}: they are \
                         paired one by one"
                    ),
                ));
            }
            errors.extend(self.width_error(student, &target));
            if self.has_logits() {
                errors.extend(
                    student
                        .content
                        .numbering_error(STUDENT, target.content, TARGET),
                );
            }
            errors.extend(step_error(student.step, target.step));
        }
        if let (Some(weights), Some(student)) = (&self.layer_weights, student)
            && weights.len() != student.layers.len()
        {
            errors.push(OptionError::option(
                "layer_weights",
                format!(
                    "{} numbers for {} layers",
                    weights.len(),
                    student.layers.len()
                ),
            ));
        }
        errors
    }

    /// Checks that student and target are as wide as each other, if a term needs it.
    fn width_error(&self, student: &HiddenInput, target: &HiddenInput) -> Option<OptionError> {
        if student.width == target.width {
            return None;
        }
        let widths = format!(
            "`{STUDENT}` is {} wide, `{TARGET}` {}",
            student.width, target.width
        );
        let message = if self.has_logits() {
            format!(
                "`{STUDENT}` has {} classes, `{TARGET}` {}",
                student.width, target.width
            )
        } else if !self.has(|term| term.distance().is_some()) {
            return None;
        } else {
            match (student.content, target.content) {
                (Content::Layers, Content::Layers) => format!("{widths}: put a `project` between"),
                (Content::Projections, Content::Layers) => format!(
                    "{widths}: give the `project` before it the option `width` {}",
                    target.width
                ),
                _ => {
                    format!("{widths}: logits are compared with logits, hidden states with others")
                }
            }
        };
        Some(OptionError::at("inputs", message))
    }
}

/// Returns what is wrong if the frames of student and target stand for other times.
fn step_error(student: FrameStep, target: FrameStep) -> Option<OptionError> {
    if student.pooled != target.pooled {
        let message = format!(
            "`{TARGET}` is the mean of a row, `{STUDENT}` has a frame every few milliseconds: leave \
             out the option `pool` of the teacher"
        );
        return Some(OptionError::at("inputs", message));
    }
    let message = step_message([STUDENT, TARGET], [student, target])?;
    Some(OptionError::at("inputs", message))
}

/// Says how the frames of two inputs lie otherwise, if they do.
pub(super) fn step_message(ports: [&str; 2], steps: [FrameStep; 2]) -> Option<String> {
    let [first_port, second_port] = ports;
    let [first, second] = steps.map(FrameStep::milliseconds);
    if first != second {
        let message = format!(
            "`{first_port}` has a frame every {first} ms, `{second_port}` every {second} ms"
        );
        return Some(
            match steps[0].joined > steps[1].joined && first_port == STUDENT {
                true => format!("{message}: a `project` of the type \"upsample\" makes two of one"),
                false => message,
            },
        );
    }
    // Where frames were joined, fewer than those are missing at a row's end, and left out.
    let [first, second] = steps.map(|step| [step.window, step.hop]);
    let is_alike = first == second || steps[0].pooled || steps[0].joined > 1;
    (!is_alike).then(|| {
        format!(
            "a frame of `{first_port}` spans {} samples every {}, one of `{second_port}` {} every {}, so \
             their rows have other numbers of frames",
            first[0], first[1], second[0], second[1]
        )
    })
}
