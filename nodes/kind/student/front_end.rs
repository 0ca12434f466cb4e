//! What a student reads: waveforms, or log-mel frames with the statistics that normalise them.
use super::{FEATURES_IN, IN, Options};
use crate::Result;
use crate::data::column;
use crate::data::column::{FEATURES, ID, SAMPLES};
use crate::model::{Architecture, CMVN_FILE, Cmvn, Model, has_statistics};
use crate::node::model_option::PlannedModel;
use crate::node::port::{Shape, Shapes, shape_of};
use crate::node::step::Step;
use crate::node::{Artifact, NodeContext, OptionError, PhaseOutputs, artifact_owner, folder_owner};
use arrow::array::StringArray;
use arrow::record_batch::RecordBatch;
use std::path::Path;

/// Values of the option `cmvn` that are no path.
const OF_MODEL: &str = "model";
const NONE: &str = "none";

pub(super) fn of_model() -> String {
    OF_MODEL.into()
}

impl Options {
    /// Checks the inputs and options of the front end.
    pub(super) fn front_end_errors(
        &self,
        planned: &PlannedModel,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Vec<OptionError> {
        let architecture = &planned.architecture;
        let mut errors = input_errors(architecture, inputs);
        if !architecture.is_fbank() {
            errors.extend(OptionError::unless(
                self.cmvn == OF_MODEL,
                "cmvn",
                "is for log-mel frames, but the model reads waveforms",
            ));
            errors.extend(OptionError::unless(
                self.spec_augment.is_none(),
                "spec_augment",
                "is for log-mel frames, but the model reads waveforms",
            ));
            return errors;
        }
        errors.extend(OptionError::unless(
            self.normalize != Some(true),
            "normalize",
            "is for waveforms, but the model reads log-mel frames; `cmvn` normalises these",
        ));
        errors.extend(self.spec_augment.into_iter().flat_map(|s| s.errors()));
        let problem = self.statistics_problem(architecture, phase_outputs);
        errors.extend(problem.map(|problem| OptionError::option("cmvn", problem)));
        errors
    }

    /// Returns why there will be no statistics, if that is known.
    fn statistics_problem(
        &self,
        architecture: &Architecture,
        phase_outputs: &PhaseOutputs,
    ) -> Option<String> {
        let bins = architecture.fbank_bins;
        match self.cmvn.as_str() {
            NONE => None,
            OF_MODEL => self.model_statistics_problem(phase_outputs),
            path if path.starts_with("$OUT/") => {
                let owner = artifact_owner(path, CMVN_FILE);
                match owner.and_then(|owner| phase_outputs.0.get(owner)) {
                    Some(Artifact::Cmvn { bins: written }) => (*written != bins).then(|| {
                        format!("`{path}` is of {written} bins, but the model reads {bins}")
                    }),
                    _ => Some(format!(
                        "no node `cmvn` of an earlier phase writes `{path}`"
                    )),
                }
            }
            path if Path::new(path).exists() => Cmvn::load(Path::new(path), bins)
                .err()
                .map(|error| error.to_string()),
            _ => None,
        }
    }

    /// Returns why the model that the student begins with has no statistics, if that is known.
    fn model_statistics_problem(&self, phase_outputs: &PhaseOutputs) -> Option<String> {
        let missing = "the student begins without statistics: name a file that a node `cmvn` wrote, \
                       or say \"none\"";
        let has_them = match self.init.as_deref() {
            None => false,
            Some(init) => match folder_owner(init) {
                // It was told to have statistics, or to do without.
                Some(earlier) => phase_outputs
                    .model(earlier)
                    .is_none_or(|(written, _)| written.is_fbank()),
                None => {
                    let folder = Path::new(init);
                    !folder.exists() || has_statistics(folder, self.model_option().unknown_keys)
                }
            },
        };
        (!has_them).then(|| missing.to_owned())
    }

    /// Returns the path of the statistics that must exist when the graph runs.
    pub(super) fn statistics_file(&self) -> Option<String> {
        let is_path = ![OF_MODEL, NONE].contains(&self.cmvn.as_str());
        (is_path && !self.cmvn.starts_with("$OUT/")).then(|| self.cmvn.clone())
    }

    /// Gives a model of log-mel frames the statistics that the option `cmvn` names.
    pub(super) fn set_statistics(&self, model: &mut Model, context: &NodeContext) -> Result<()> {
        if !model.architecture.is_fbank() {
            return Ok(());
        }
        match self.cmvn.as_str() {
            NONE => model.cmvn = None,
            OF_MODEL => {
                let earlier = self
                    .init
                    .as_ref()
                    .is_some_and(|init| init.starts_with("$OUT/"));
                if model.cmvn.is_none() && !earlier && !context.run.bench {
                    let init = self.init.as_deref().unwrap_or_default();
                    return Err(format!(
                        "`{init}` holds no {CMVN_FILE}; let the option `cmvn` name one, or say \
                         \"none\""
                    )
                    .into());
                }
            }
            path => {
                let path = context.path(path);
                let drawn = context.run.bench && !path.exists();
                model.cmvn = (!drawn)
                    .then(|| Cmvn::load(&path, model.architecture.fbank_bins))
                    .transpose()?;
            }
        }
        Ok(())
    }
}

/// Checks that the input is what the model's front end reads.
fn input_errors(architecture: &Architecture, inputs: &Shapes) -> Vec<OptionError> {
    let (reads, other, what) = if architecture.is_fbank() {
        (FEATURES_IN, IN, "log-mel frames")
    } else {
        (IN, FEATURES_IN, "waveforms")
    };
    let mut errors = vec![];
    if inputs.contains_key(other) {
        let message = format!("the model reads {what}: feed `{reads}` instead");
        errors.push(OptionError::input(other, message));
    } else if !inputs.contains_key(reads) {
        errors.push(OptionError::at(
            "",
            format!("nothing feeds input `{reads}`"),
        ));
    }
    let bins = architecture.fbank_bins;
    if let Some(Shape::Features { width }) = shape_of(inputs, FEATURES_IN)
        && architecture.is_fbank()
        && *width != bins
    {
        let message = format!("frames have {width} numbers, but the model reads {bins} bins");
        errors.push(OptionError::input(FEATURES_IN, message));
    }
    errors
}

/// The batch that a student reads in a step.
pub(super) enum InputBatch {
    Speech(RecordBatch),
    Features(RecordBatch),
}

/// The input rows of a step, as the model's front end reads them.
pub(super) enum InputRows<'a> {
    Samples(Vec<&'a [f32]>),
    /// Normalised log-mel frames, (frames, bins).
    LogMel(Vec<Vec<f32>>),
}

impl InputBatch {
    /// Takes the batch that the model reads.
    pub(super) fn take(step: &mut Step, model: &Model) -> Result<InputBatch> {
        if model.architecture.is_fbank() {
            step.batch(FEATURES_IN).map(InputBatch::Features)
        } else {
            step.batch(IN).map(InputBatch::Speech)
        }
    }

    /// Returns the ids of the rows.
    pub(super) fn ids(&self) -> Result<&StringArray> {
        let (InputBatch::Speech(batch) | InputBatch::Features(batch)) = self;
        column::texts(batch, ID)
    }

    /// Returns the rows, log-mel frames normalised.
    pub(super) fn rows(&self, model: &Model) -> Result<InputRows<'_>> {
        match self {
            InputBatch::Speech(batch) => {
                Ok(InputRows::Samples(column::floats_by_row(batch, SAMPLES)?))
            }
            InputBatch::Features(batch) => {
                let rows = column::floats_by_row(batch, FEATURES)?.into_iter();
                let normalized = rows.map(|row| model.normalized_log_mel(row.to_vec()));
                Ok(InputRows::LogMel(normalized.collect()))
            }
        }
    }
}

impl InputRows<'_> {
    /// Returns the samples of each row, the fewest that give its log-mel frames.
    pub(super) fn lengths(&self, architecture: &Architecture) -> Vec<usize> {
        match self {
            InputRows::Samples(rows) => rows.iter().map(|row| row.len()).collect(),
            InputRows::LogMel(rows) => rows
                .iter()
                .map(|row| crate::data::mel::samples(row.len() / architecture.fbank_bins))
                .collect(),
        }
    }
}
