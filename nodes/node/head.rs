//! Trained tensors of a head, from their description: drawn before training, or read from the folder
//! of an earlier phase.
use crate::Result;
use crate::data::file::FileMetadata;
use crate::model::{TensorSpec, draw};
use crate::node::head_file::{HEAD_FILE, HeadTensors, check_head_init, load_head, save_head};
use crate::node::step::Step;
use crate::node::{Artifact, NodeContext, NodeInfo, OptionError, Parameter, PhaseOutputs};
use compute::tensor::{Param, param};

/// The tensors of a head, in the order of their description.
pub struct Head {
    specs: Vec<TensorSpec>,
    weights: Vec<Param>,
}

/// Returns names and shapes.
fn head_tensors(specs: &[TensorSpec]) -> HeadTensors {
    let tensors = specs.iter().map(|spec| (spec.name.clone(), spec.shape()));
    tensors.collect()
}

impl Head {
    /// Checks the option `init` of a head with these tensors, and returns what a plan learns of the
    /// head: its parameters, what it leaves, and what must exist when the graph runs.
    ///
    /// # Errors
    /// As [`check_head_init`].
    pub fn info(
        init: Option<&str>,
        specs: &[TensorSpec],
        earlier: &PhaseOutputs,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let tensors = head_tensors(specs);
        let reads = check_head_init(init, &tensors, earlier).map_err(|error| vec![error])?;
        Ok(NodeInfo {
            parameters: Some(specs.iter().map(TensorSpec::parameters).sum()),
            writes: Some(Artifact::Head { tensors }),
            reads: reads.into_iter().collect(),
            ..NodeInfo::default()
        })
    }

    /// Reads the head from the folder `init`, or draws it as its description says.
    ///
    /// # Errors
    /// As [`load_head`].
    pub fn build(
        init: Option<&str>,
        specs: Vec<TensorSpec>,
        context: &NodeContext,
    ) -> Result<Head> {
        Head::build_or(init, specs, context, |specs| {
            let key = context.key("head");
            let sites = (0..).zip(specs);
            sites
                .map(|(site, spec)| draw(spec.initial, spec.parameters() as usize, key, site))
                .collect()
        })
    }

    /// Reads the head from the folder `init`, or takes the values that `draw` returns, a list for
    /// each tensor.
    ///
    /// # Errors
    /// As [`load_head`].
    pub fn build_or(
        init: Option<&str>,
        specs: Vec<TensorSpec>,
        context: &NodeContext,
        draw: impl FnOnce(&[TensorSpec]) -> Vec<Vec<f32>>,
    ) -> Result<Head> {
        let stored = load_head(init, &head_tensors(&specs), context)?;
        let values = stored.unwrap_or_else(|| draw(&specs));
        Ok(Head::new(specs, values))
    }

    /// Builds the head of the values of each tensor.
    pub fn new(specs: Vec<TensorSpec>, values: Vec<Vec<f32>>) -> Head {
        Head {
            weights: values.into_iter().map(param).collect(),
            specs,
        }
    }

    /// Returns all tensors in the order of the description.
    pub fn weights(&self) -> &[Param] {
        &self.weights
    }

    /// Lends the tensors to the optimizer.
    pub fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let tensors = self.specs.iter().zip(&mut self.weights);
        tensors
            .map(|(spec, weight)| Parameter {
                name: spec.name.clone(),
                shape: spec.shape(),
                weight,
                sign: 1.0,
            })
            .collect()
    }

    /// Writes the head into the node's folder, in a phase that trains.
    ///
    /// # Errors
    /// As [`save_head`].
    pub fn save(&mut self, step: &Step) -> Result<()> {
        save_head(HEAD_FILE, &self.parameters(), FileMetadata::new(), step)
    }
}
