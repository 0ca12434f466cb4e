//! Tensors as a description knows them: a name, dimensions, and values before training.
use crate::model::UnitGroup;

/// One dimension of a tensor: a block of `size` entries for each of its units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dim {
    pub units: usize,
    pub size: usize,
    /// The units that gates can close; `None` for a dimension that no gate changes.
    pub group: Option<UnitGroup>,
    /// Whether a cut multiplies the gates of the remaining units into this dimension: it is then
    /// the input side, which reads the units.
    pub takes_gates: bool,
}

impl Dim {
    /// Builds a dimension that no gate changes.
    pub fn fixed(size: usize) -> Dim {
        Dim {
            units: 1,
            size,
            group: None,
            takes_gates: false,
        }
    }

    /// Builds a dimension with a block of `size` entries for each unit of `group`.
    pub fn units(group: UnitGroup, units: usize, size: usize) -> Dim {
        Dim {
            units,
            size,
            group: Some(group),
            takes_gates: false,
        }
    }

    /// Marks the dimension as the one that takes the gates of its units.
    pub fn taking_gates(self) -> Dim {
        Dim {
            takes_gates: true,
            ..self
        }
    }

    pub fn len(&self) -> usize {
        self.units * self.size
    }
}

/// Values of a tensor before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    Ones,
    Zeros,
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform in [0, 1).
    Uniform,
    /// Uniform between minus and plus this bound.
    Within(f64),
    /// The norm of each tap of the weight-normed convolution's `weight_v`.
    TapNorms,
}

/// Values of linear maps before training.
pub(super) const LINEAR: Initial = Initial::Normal(0.02);

/// One tensor of a component.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Hugging Face name, without prefix.
    pub name: String,
    pub dims: Vec<Dim>,
    pub initial: Initial,
    /// The group whose one gate a cut multiplies into the tensor.
    pub scaled_by: Option<UnitGroup>,
    /// Whether the model's safetensors holds it.
    pub stored: bool,
    /// Whether DPHuBERT's count of expected parameters includes it.
    pub expected: bool,
}

impl TensorSpec {
    /// Builds a tensor that is stored and counted.
    pub fn new(name: String, dims: &[Dim], initial: Initial) -> TensorSpec {
        TensorSpec {
            name,
            dims: dims.to_vec(),
            initial,
            scaled_by: None,
            stored: true,
            expected: true,
        }
    }

    /// Leaves the tensor out of the count of expected parameters.
    pub fn not_expected(self) -> TensorSpec {
        TensorSpec {
            expected: false,
            ..self
        }
    }

    pub fn stored_if(self, stored: bool) -> TensorSpec {
        TensorSpec { stored, ..self }
    }

    pub fn shape(&self) -> Vec<usize> {
        self.dims.iter().map(Dim::len).collect()
    }

    /// Counts the elements of the tensor.
    pub fn parameters(&self) -> u64 {
        self.dims.iter().map(|dim| dim.len() as u64).product()
    }
}

/// Describes a linear map: weight (outputs, inputs) and bias.
pub(super) fn linear(prefix: &str, outputs: Dim, inputs: Dim) -> Vec<TensorSpec> {
    vec![
        TensorSpec::new(format!("{prefix}weight"), &[outputs, inputs], LINEAR),
        TensorSpec::new(format!("{prefix}bias"), &[outputs], Initial::Zeros),
    ]
}

/// Describes an affine norm over `width`.
pub(super) fn norm(prefix: &str, width: Dim) -> Vec<TensorSpec> {
    vec![
        TensorSpec::new(format!("{prefix}weight"), &[width], Initial::Ones),
        TensorSpec::new(format!("{prefix}bias"), &[width], Initial::Zeros),
    ]
}
