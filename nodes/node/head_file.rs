//! The weights of a head that trains, as a file in its node's folder: a later phase names the folder
//! in the option `init`, `$OUT/<phase>/<node>`, to begin with them or to measure them.
use crate::Result;
use crate::data::file::{self, FileMetadata};
use crate::node::step::Step;
use crate::node::{
    Artifact, NodeContext, OptionError, Parameter, PhaseOutputs, check_finite, folder_owner,
};
use compute::tensor::read;
use std::path::Path;

/// The file in the node's folder.
pub const HEAD_FILE: &str = "weights.safetensors";

/// Names and shapes of the tensors of a head, in the order of [`Node::parameters`].
///
/// [`Node::parameters`]: crate::node::Node::parameters
pub type HeadTensors = Vec<(String, Vec<usize>)>;

/// Checks that the folder that `init` names has these tensors, as far as a plan can tell. Returns
/// the file that must exist when the graph runs.
///
/// # Errors
/// No earlier phase writes the folder, or what it writes are other tensors.
pub fn check_head_init(
    init: Option<&str>,
    tensors: &HeadTensors,
    phase_outputs: &PhaseOutputs,
) -> Result<Option<String>, OptionError> {
    let Some(folder) = init else {
        return Ok(None);
    };
    let Some(owner) = folder_owner(folder) else {
        let file = Path::new(folder).join(HEAD_FILE);
        return Ok(Some(file.to_string_lossy().into_owned()));
    };
    match phase_outputs.0.get(owner) {
        Some(Artifact::Head { tensors: written }) if written == tensors => Ok(None),
        Some(Artifact::Head { tensors: written }) => {
            let differs = |tensor: &&(String, Vec<usize>)| !written.contains(*tensor);
            let message = match tensors.iter().find(differs) {
                Some((name, shape)) => format!("`{folder}` has no `{name}` of {shape:?}"),
                None => format!("`{folder}` has more tensors than this head"),
            };
            Err(OptionError::option("init", message))
        }
        _ => {
            let message = format!("no node of an earlier phase writes `{folder}`");
            Err(OptionError::option("init", message))
        }
    }
}

/// Reads the tensors of a head from the folder that `init` names; `None` without the option, or in a
/// benchmark whose earlier phases have not run.
///
/// # Errors
/// The file cannot be read, or a tensor is missing or has another shape; they name the file.
pub fn load_head(
    init: Option<&str>,
    tensors: &HeadTensors,
    context: &NodeContext,
) -> Result<Option<Vec<Vec<f32>>>> {
    let Some(folder) = init else {
        return Ok(None);
    };
    let path = context.path(folder).join(HEAD_FILE);
    if context.run.bench && !path.exists() {
        return Ok(None);
    }
    let mut stored = file::Tensors::read(&path)?;
    let mut values = vec![];
    for (name, shape) in tensors {
        values.push(stored.take(name, shape)?);
    }
    Ok(Some(values))
}

/// Writes the tensors of a head into a file of its node's folder, in a phase that trains.
///
/// # Errors
/// A number is not finite, or the file cannot be written.
pub fn save_head(
    file_name: &str,
    parameters: &[Parameter],
    metadata: FileMetadata,
    step: &Step,
) -> Result<()> {
    if !step.context.run.has_optimizer {
        return Ok(());
    }
    check_finite(parameters.iter().map(|p| (p.name.as_str(), &*p.weight)))?;
    let tensors: Vec<_> = parameters
        .iter()
        .map(|p| (p.name.clone(), p.shape.clone(), read(&*p.weight)))
        .collect();
    let path = step.context.folder().join(file_name);
    file::save(&path, &tensors, metadata)
}
