//! The forms of a head. x (frames, in), y (frames, out), biases b, c:
//!
//! ```text
//! linear    y = x Wᵀ + b
//! expand    z = GELU(x Wᵀ + b), (frames, targets · in); y_i = z_i V_iᵀ + c_i for target i
//!           (DistilHuBERT, Chang et al. 2022; s3prl's "expand-last")
//! upsample  z[2 t + p] = x[t] U_pᵀ + c, p < 2; y = z Wᵀ + b: a transposed convolution of width 2
//!           and stride 2, then a linear map (FitHuBERT, Lee et al. 2022)
//! ```
use crate::node::NodeContext;
use crate::node::port::FrameStep;
use compute::gemm::Precision;
use compute::math::Dropout;
use compute::op::{broadcast, gelu_gate, linear, linear_start, residual, select_frames};
use compute::tensor::{Hidden, Param, Tape, param, regrouped};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    #[default]
    Linear,
    Expand,
    Upsample,
}

/// Frames that "upsample" makes of one.
const TAPS: usize = 2;

/// The head of a group of layers.
pub(super) struct Head {
    pub(super) layers: Vec<usize>,
    /// As [`Form::tensors`] lists them.
    pub(super) tensors: Vec<HeadTensor>,
}

pub(super) struct HeadTensor {
    pub(super) plan: TensorPlan,
    pub(super) weight: Param,
}

/// Name and shape of a tensor.
pub(super) struct TensorPlan {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
}

impl TensorPlan {
    fn new(group: usize, name: &str, shape: &[usize]) -> TensorPlan {
        TensorPlan {
            name: format!("{group}.{name}"),
            shape: shape.to_vec(),
        }
    }

    pub(super) fn parameters(&self) -> u64 {
        self.shape.iter().map(|n| *n as u64).product()
    }
}

/// Widths of a head, and the number of its targets.
#[derive(Clone, Copy)]
pub(super) struct HeadSizes {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) targets: usize,
}

impl Form {
    /// Lists the tensors of the head of a group.
    pub(super) fn tensors(self, group: usize, sizes: HeadSizes) -> Vec<TensorPlan> {
        let HeadSizes { from, to, targets } = sizes;
        let tensor = |name: &str, shape: &[usize]| TensorPlan::new(group, name, shape);
        match self {
            Form::Linear => vec![tensor("weight", &[to, from]), tensor("bias", &[to])],
            Form::Expand => {
                let wide = targets * from;
                let mut tensors = vec![
                    tensor("expand.weight", &[wide, from]),
                    tensor("expand.bias", &[wide]),
                ];
                for target in 0..targets {
                    tensors.push(tensor(&format!("targets.{target}.weight"), &[to, from]));
                    tensors.push(tensor(&format!("targets.{target}.bias"), &[to]));
                }
                tensors
            }
            Form::Upsample => vec![
                tensor("upsample.weight", &[TAPS, from, from]),
                tensor("upsample.bias", &[from]),
                tensor("weight", &[to, from]),
                tensor("bias", &[to]),
            ],
        }
    }

    /// Draws values of these tensors, as PyTorch's Linear and ConvTranspose1d begin.
    pub(super) fn draw(
        self,
        group: usize,
        sizes: HeadSizes,
        context: &NodeContext,
    ) -> Vec<Vec<f32>> {
        let HeadSizes { from, to, targets } = sizes;
        let counter = group as u64;
        match self {
            Form::Linear => linear_start(context.key("maps"), counter, from, to).to_vec(),
            Form::Expand => {
                let wide = targets * from;
                let mut values = linear_start(context.key("expand"), counter, from, wide).to_vec();
                for target in 0..targets {
                    let key = context.key("targets");
                    values.extend(linear_start(key, target as u64, from, to));
                }
                values
            }
            Form::Upsample => {
                // Every input of the convolution reaches `from` outputs by each of its taps.
                let reached = TAPS * from;
                let mut values =
                    linear_start(context.key("upsample"), counter, reached, from).to_vec();
                values.extend(linear_start(context.key("maps"), counter, from, to));
                values
            }
        }
    }

    /// Counts the multiply-accumulates of a head for each of its input's frames.
    pub(super) fn macs(self, sizes: HeadSizes) -> u64 {
        let HeadSizes { from, to, targets } = sizes;
        let products = match self {
            Form::Linear => from * to,
            Form::Expand => targets * from * (from + to),
            Form::Upsample => TAPS * from * (from + to),
        };
        products as u64
    }

    /// Returns the numbers of the layers that a head makes of these.
    pub(super) fn layers(self, layers: &[usize], sizes: HeadSizes) -> Vec<usize> {
        match self {
            Form::Linear | Form::Upsample => layers.to_vec(),
            Form::Expand => (0..sizes.targets).collect(),
        }
    }

    /// Returns how the frames of a head's outputs lie.
    pub(super) fn step(self, input: FrameStep) -> FrameStep {
        match self {
            Form::Linear | Form::Expand => input,
            Form::Upsample => FrameStep {
                split: TAPS * input.split,
                ..input
            },
        }
    }

    /// Applies a head to a layer.
    pub(super) fn apply(
        self,
        head: &Head,
        x: Hidden<Tape>,
        precision: Precision,
        tape: &Tape,
    ) -> Vec<Hidden<Tape>> {
        let weight = |i: usize| &head.tensors[i].weight;
        match self {
            Form::Linear => vec![linear(x, weight(0), weight(1), precision)],
            Form::Expand => {
                let width = x.width();
                let targets = head.tensors.len() / 2 - 1;
                let wide = linear(x, weight(0), weight(1), precision);
                let parts = regrouped(gelu_gate(wide, None, None), width);
                let part = |i: usize| {
                    let is_its_own: Vec<bool> =
                        (0..parts.spans.total()).map(|t| t % targets == i).collect();
                    select_frames(parts.clone(), &is_its_own)
                };
                let map =
                    |i: usize| linear(part(i), weight(2 + 2 * i), weight(3 + 2 * i), precision);
                (0..targets).map(map).collect()
            }
            Form::Upsample => {
                let width = x.width();
                let zeros = param(vec![0.0; TAPS * width]);
                let z = regrouped(linear(x, weight(0), &zeros, precision), width);
                let bias = broadcast(weight(1), z.spans.clone(), tape.clone());
                let z = residual(z, bias, Dropout::NONE);
                vec![linear(z, weight(2), weight(3), precision)]
            }
        }
    }
}
