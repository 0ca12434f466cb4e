//! Units that a gate can close, and the groups that share a gate vector.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What can be pruned. Each has a gate vector by layer, named `conv.0`, `head.3`, `ffn.11`,
/// `attention-layer.3`, `ffn-layer.11`; the last two have one gate, on all that the sub-layer adds,
/// its output bias too.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Output channels of each convolution.
    Conv,
    /// Attention heads of each layer.
    Head,
    /// Inner units of each feed-forward.
    Ffn,
    /// The attention of each layer as a whole.
    AttentionLayer,
    /// The feed-forward of each layer as a whole.
    FfnLayer,
}

impl Unit {
    pub const ALL: [Unit; 5] = [
        Unit::Conv,
        Unit::Head,
        Unit::Ffn,
        Unit::AttentionLayer,
        Unit::FfnLayer,
    ];

    /// Returns the name that options and gate vectors use.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Conv => "conv",
            Unit::Head => "head",
            Unit::Ffn => "ffn",
            Unit::AttentionLayer => "attention-layer",
            Unit::FfnLayer => "ffn-layer",
        }
    }
}

/// The units of one kind in one convolution or layer. They share a gate vector, whose name is the
/// group's text: `conv.0`, `head.3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitGroup {
    pub unit: Unit,
    /// Number of the convolution or layer, from 0.
    pub index: usize,
}

impl UnitGroup {
    pub fn new(unit: Unit, index: usize) -> UnitGroup {
        UnitGroup { unit, index }
    }

    /// Returns the group whose one gate closes the sub-layer that these units are in.
    pub fn sub_layer(self) -> Option<UnitGroup> {
        match self.unit {
            Unit::Head => Some(UnitGroup::new(Unit::AttentionLayer, self.index)),
            Unit::Ffn => Some(UnitGroup::new(Unit::FfnLayer, self.index)),
            Unit::Conv | Unit::AttentionLayer | Unit::FfnLayer => None,
        }
    }
}

impl fmt::Display for UnitGroup {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{}", self.unit.name(), self.index)
    }
}
