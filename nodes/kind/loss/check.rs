//! Checks the options of a loss against what comes in.
use super::frames::Frames;
use super::hiddens::step_message;
use super::terms::TermType;
use super::{ALL_TERMS, LABELS, OUT, Options, STUDENT, STUDENT_MAPS, TARGET, TARGET_MAPS};
use crate::Result;
use crate::node::port::{self, Content, FrameStep, LabelledUnit, Shape, Shapes, shape_of};
use crate::node::{HiddenInput, NodeInfo, OptionError, shapes};

impl Options {
    /// Returns what the plan learns, or everything that is wrong.
    pub(super) fn checked(&self, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = self.term_errors();
        errors.extend(self.connection_errors(inputs));
        errors.extend(self.hiddens_errors(inputs));
        errors.extend(self.label_errors(inputs));
        errors.extend(self.map_errors(inputs));
        errors.extend(self.choice_errors(inputs));
        OptionError::fail_if_any(errors)?;
        let terms = self.terms.iter().map(|term| term.r#type.metric());
        let metrics: Vec<&str> = std::iter::once(ALL_TERMS).chain(terms).collect();
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::loss(&metrics))]),
            warnings: self.gap_warning(inputs).into_iter().collect(),
            ..NodeInfo::default()
        })
    }

    /// Returns whether a term is of such a type.
    pub(super) fn has(&self, wanted: impl Fn(TermType) -> bool) -> bool {
        self.terms.iter().any(|term| wanted(term.r#type))
    }

    fn term_errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        if self.terms.is_empty() {
            errors.push(OptionError::option("terms", "names nothing to measure"));
        }
        for (i, term) in self.terms.iter().enumerate() {
            errors.extend(term.errors(i));
        }
        let mut logged = std::collections::BTreeSet::new();
        for (i, term) in self.terms.iter().enumerate() {
            let metric = term.r#type.metric();
            if !logged.insert(metric) {
                errors.push(OptionError::element(
                    &format!("terms.{i}"),
                    &format!("terms[{i}]"),
                    format!("a term before it is logged as `{metric}` already"),
                ));
            }
        }
        errors
    }

    /// Checks that the terms get what they measure.
    fn connection_errors(&self, inputs: &Shapes) -> Vec<OptionError> {
        let reads_maps = self.has(|term| term == TermType::MapKl);
        let reads_hiddens = self.has(|term| term != TermType::MapKl) || self.terms.is_empty();
        let mut errors = vec![];
        for (port, is_read) in [
            (STUDENT, reads_hiddens),
            (TARGET, reads_hiddens),
            (STUDENT_MAPS, reads_maps),
            (TARGET_MAPS, reads_maps),
        ] {
            let fed = inputs.contains_key(port);
            if is_read && !fed {
                errors.push(OptionError::at("", format!("nothing feeds input `{port}`")));
            }
            if fed && !is_read {
                errors.push(OptionError::input(port, "no term reads it"));
            }
        }
        errors
    }

    pub(super) fn has_logits(&self) -> bool {
        self.has(|term| term.logits().is_some())
    }

    /// Checks the labels that name target classes.
    fn label_errors(&self, inputs: &Shapes) -> Vec<OptionError> {
        let mut errors = vec![];
        if !inputs.contains_key(LABELS) {
            return errors;
        }
        let decoupled = [TermType::TargetClass, TermType::OtherClasses];
        if !self.has(|term| decoupled.contains(&term)) {
            errors.push(OptionError::input(
                LABELS,
                "no term reads it: it is for \"target-class\" and \"other-classes\"",
            ));
        }
        let (
            Some(Shape::Labels {
                classes,
                numbering,
                of,
            }),
            Some(student),
        ) = (shape_of(inputs, LABELS), HiddenInput::find(STUDENT, inputs))
        else {
            return errors;
        };
        errors.extend(of.error_unless(LabelledUnit::of_step(student.step), LABELS));
        if let Some(classes) = classes.filter(|classes| *classes > student.width) {
            errors.push(OptionError::at(
                "inputs",
                format!(
                    "`{LABELS}` are of {classes} classes, `{STUDENT}` of {}",
                    student.width
                ),
            ));
        }
        let labels = Content::Logits(*numbering);
        errors.extend(labels.numbering_error(LABELS, student.content, STUDENT));
        errors
    }

    fn map_errors(&self, inputs: &Shapes) -> Option<OptionError> {
        let (student, student_step) = mapped(inputs, STUDENT_MAPS)?;
        let (target, target_step) = mapped(inputs, TARGET_MAPS)?;
        let message = if student != target {
            format!(
                "`{STUDENT_MAPS}` has {student} maps, `{TARGET_MAPS}` {target}: they are paired \
                 one by one"
            )
        } else {
            step_message([STUDENT_MAPS, TARGET_MAPS], [student_step, target_step])?
        };
        Some(OptionError::at("inputs", message))
    }

    /// Checks the options that choose frames and layers.
    fn choice_errors(&self, inputs: &Shapes) -> Vec<OptionError> {
        let mut errors = vec![];
        let is_masked = inputs.contains_key(port::MASK.name);
        if self.frames != Frames::All && !is_masked {
            errors.push(OptionError::option(
                "frames",
                "chooses by the input `mask`, which nothing feeds",
            ));
        }
        if self.frames == Frames::All && is_masked {
            errors.push(OptionError::input(
                port::MASK.name,
                "`frames` is \"all\", so no frame is chosen by it",
            ));
        }
        if let Some(student) = HiddenInput::find(STUDENT, inputs)
            && student.layers.len() < 2
            && self.has(|term| term == TermType::GramBetween)
        {
            errors.push(OptionError::option(
                "terms",
                "\"gram-between\" relates neighbours, and only one layer comes in",
            ));
        }
        if let Some(student) = HiddenInput::find(STUDENT, inputs).filter(|_| is_masked) {
            errors.extend(student.step.mask_error(STUDENT));
        }
        let relates_frames = self.has(TermType::relates_frames);
        if self.frames != Frames::All && relates_frames {
            errors.push(OptionError::option(
                "frames",
                "a term relates all frames of a row to each other; put it into a `loss` of its own",
            ));
        }
        let Some(counted) = self.random_layers else {
            return errors;
        };
        if relates_frames {
            errors.push(OptionError::option(
                "random_layers",
                "is for distances of frames; put the other terms into a `loss` of their own",
            ));
        }
        if let Some(student) = HiddenInput::find(STUDENT, inputs) {
            let most = student.layers.len().saturating_sub(1);
            errors.extend(OptionError::outside("random_layers", counted, 0..=most));
        }
        errors
    }

    /// Warns if relations are taken between layers that are no neighbours.
    fn gap_warning(&self, inputs: &Shapes) -> Option<String> {
        let student = HiddenInput::find(STUDENT, inputs)?;
        let gap = student
            .layers
            .windows(2)
            .find(|pair| pair[0].abs_diff(pair[1]) != 1)?;
        self.has(|term| term == TermType::GramBetween).then(|| {
            format!(
                "\"gram-between\" relates layers {} and {}, which are no neighbours",
                gap[0], gap[1]
            )
        })
    }
}

/// Returns the number of attention maps of a port and the step of their frames.
fn mapped(inputs: &Shapes, port: &str) -> Option<(usize, FrameStep)> {
    match shape_of(inputs, port)? {
        Shape::Maps { layers, step } => Some((layers.len(), *step)),
        _ => None,
    }
}
