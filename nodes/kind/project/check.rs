//! Checks the options of heads against what comes in.
use super::forms::Form;
use super::{FILE, GROUPS, Groups, IDENTITY, MAX_TARGETS, Options, PORT};
use crate::Result;
use crate::node::port::FrameStep;
use crate::node::{Artifact, OptionError, PhaseOutputs, artifact_owner};

impl Options {
    /// Returns the groups, after a check against the layers of the input.
    pub(super) fn groups(&self, layers: &[usize]) -> Result<Groups, OptionError> {
        let Some(groups) = &self.groups else {
            return Ok(layers.iter().map(|&layer| vec![layer]).collect());
        };
        for (g, group) in groups.iter().enumerate() {
            if group.is_empty() {
                let path = format!("groups.{g}");
                return Err(OptionError::element(&path, GROUPS, "names no layer"));
            }
            for (i, layer) in group.iter().enumerate() {
                let path = format!("groups.{g}.{i}");
                if !layers.contains(layer) {
                    return Err(OptionError::element(
                        &path,
                        GROUPS,
                        format!("layer {layer} does not come in; layers {layers:?} do"),
                    ));
                }
                if groups.iter().flatten().filter(|l| *l == layer).count() > 1 {
                    return Err(OptionError::element(
                        &path,
                        GROUPS,
                        format!("layer {layer} stands in it twice"),
                    ));
                }
            }
        }
        for layer in layers {
            if !groups.iter().flatten().any(|grouped| grouped == layer) {
                return Err(OptionError::option(
                    GROUPS,
                    format!("layer {layer} is in no group"),
                ));
            }
        }
        Ok(groups.clone())
    }

    /// Checks the option `init` and returns the file that must exist when the graph runs, if any.
    pub(super) fn check_init(
        &self,
        phase_outputs: &PhaseOutputs,
        input_width: usize,
        groups: &Groups,
    ) -> Result<Option<String>, OptionError> {
        let init = &self.init;
        let width = self.width;
        if init == IDENTITY && self.r#type != Form::Linear {
            return Err(OptionError::option(
                "init",
                "\"identity\" is for heads of the type \"linear\"",
            ));
        }
        if init == IDENTITY && width != input_width {
            return Err(OptionError::option(
                "init",
                format!("an identity from width {input_width} to width {width} does not exist"),
            ));
        }
        if init.starts_with("$OUT/") {
            self.check_earlier(phase_outputs, input_width, groups)?;
            return Ok(None);
        }
        if self.draws() {
            return Ok(None);
        }
        if !init.ends_with(".safetensors") {
            return Err(OptionError::option(
                "init",
                format!(
                    "`{init}` is not \"default\", \"identity\" or the path of a heads.safetensors"
                ),
            ));
        }
        Ok(Some(init.clone()))
    }

    /// Checks that an earlier phase of the file writes such heads for the same groups.
    fn check_earlier(
        &self,
        phase_outputs: &PhaseOutputs,
        input_width: usize,
        groups: &Groups,
    ) -> Result<(), OptionError> {
        let init = &self.init;
        let owner = artifact_owner(init, FILE);
        let Some(Artifact::Heads {
            groups: written_groups,
            tensors: written,
        }) = owner.and_then(|owner| phase_outputs.0.get(owner))
        else {
            return Err(OptionError::option(
                "init",
                format!("no `project` of an earlier phase writes `{init}`"),
            ));
        };
        if written_groups != groups {
            return Err(OptionError::option(
                "init",
                format!("`{init}` has maps for the groups {written_groups:?}, not {groups:?}"),
            ));
        }
        let planned = self.planned_tensors(groups, input_width);
        for tensor in planned {
            let name = &tensor.name;
            let shape = &tensor.shape;
            match written.iter().find(|(written, _)| written == name) {
                Some((_, written)) if written == shape => {}
                Some((_, written)) => {
                    return Err(OptionError::option(
                        "init",
                        format!("`{name}` of `{init}` will be {written:?}, not {shape:?}"),
                    ));
                }
                None => {
                    return Err(OptionError::option(
                        "init",
                        format!("`{init}` will have no tensor `{name}`: it is of another `type`"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks the options of a form against the layers that come in.
    pub(super) fn check_form(&self, layers: &[usize], step: FrameStep) -> Vec<OptionError> {
        let mut errors = vec![];
        let expands = self.r#type == Form::Expand;
        match self.targets {
            Some(targets) if expands => {
                errors.extend(OptionError::outside("targets", targets, 1..=MAX_TARGETS));
            }
            Some(_) => errors.push(OptionError::option(
                "targets",
                "is for heads of the type \"expand\"",
            )),
            None if expands => errors.push(OptionError::at(
                "",
                "the type \"expand\" needs the option `targets`",
            )),
            None => {}
        }
        if expands && layers.len() != 1 {
            errors.push(OptionError::input(
                PORT,
                format!("\"expand\" takes one layer, not layers {layers:?}"),
            ));
        }
        if self.r#type == Form::Upsample && step.joined > 1 && layers.contains(&0) {
            errors.push(OptionError::input(
                PORT,
                "layer 0 has all frames already; \"upsample\" takes layers from 1",
            ));
        }
        errors
    }
}
