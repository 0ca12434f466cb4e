//! The hidden states that come in on a port, as a plan knows them.
use crate::Result;
use crate::node::OptionError;
use crate::node::port::{Content, FrameStep, Shape, Shapes, shape_of};

/// The hidden states of an input port.
#[derive(Clone, Copy)]
pub struct HiddenInput<'a> {
    pub layers: &'a [usize],
    pub width: usize,
    pub step: FrameStep,
    pub content: Content,
}

impl<'a> HiddenInput<'a> {
    /// Returns the hidden states of a port; `None` if an error upstream leaves them unknown.
    pub fn find(port: &str, inputs: &'a Shapes) -> Option<HiddenInput<'a>> {
        match shape_of(inputs, port)? {
            Shape::Hiddens {
                layers,
                width,
                step,
                content,
            } => Some(HiddenInput {
                layers,
                width: *width,
                step: *step,
                content: *content,
            }),
            _ => None,
        }
    }

    /// Returns the hidden states of a port of a node that is being built.
    ///
    /// # Errors
    /// They are unknown.
    pub fn known(port: &str, inputs: &'a Shapes) -> Result<HiddenInput<'a>> {
        let found = HiddenInput::find(port, inputs);
        Ok(found.ok_or_else(|| format!("the width of `{port}` is unknown"))?)
    }

    /// Returns an error of the port unless one layer comes in.
    pub fn error_unless_one_layer(&self, port: &'static str) -> Option<OptionError> {
        let layers = self.layers;
        let message = || format!("takes one layer, not layers {layers:?}");
        (layers.len() != 1).then(|| OptionError::input(port, message()))
    }
}
