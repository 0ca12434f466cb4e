//! What a plan knows about the values of a port.
use super::MASK;
use crate::data::transcripts::Vocabulary;
use crate::model::Numbering;
use crate::node::OptionError;
use crate::prune::Pruning;
use std::collections::HashMap;

/// What a plan knows about the values of a port.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Rows or a number, with no property that a plan checks.
    Plain,
    /// Hidden states of these layers, with `width` values per frame.
    Hiddens {
        layers: Vec<usize>,
        width: usize,
        step: FrameStep,
        content: Content,
    },
    /// Attention maps of these layers, from 1, between frames of this step.
    Maps { layers: Vec<usize>, step: FrameStep },
    /// Frames of 10 ms, with `width` values each.
    Features { width: usize },
    /// Labels, below `classes` if that is known.
    Labels {
        classes: Option<usize>,
        numbering: Numbering,
        of: LabelledUnit,
    },
    /// What is said in each utterance, in numbers of units.
    Sequences { vocabulary: Vocabulary },
    /// One gate for each of these units.
    Gates(Box<Pruning>),
    /// A loss or a penalty, with the names of the metrics that it has in a dev pass.
    Loss {
        metrics: Vec<String>,
        /// Whether it is a penalty, whose metrics never have the node's name in front.
        is_penalty: bool,
    },
}

impl Shape {
    /// Returns hidden states with other content; other shapes as they are.
    pub fn with_content(self, content: Content) -> Shape {
        match self {
            Shape::Hiddens {
                layers,
                width,
                step,
                ..
            } => Shape::Hiddens {
                layers,
                width,
                step,
                content,
            },
            other => other,
        }
    }

    /// Returns a loss with these metrics in a dev pass.
    pub fn loss(metrics: &[&str]) -> Shape {
        Shape::Loss {
            metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
            is_penalty: false,
        }
    }

    /// Returns a penalty with these metrics in a dev pass.
    pub fn penalty(metrics: &[&str]) -> Shape {
        Shape::Loss {
            metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
            is_penalty: true,
        }
    }

    /// Returns the number of layers and the width of hidden states.
    pub fn hiddens(&self) -> Option<(usize, usize)> {
        match self {
            Shape::Hiddens { layers, width, .. } => Some((layers.len(), *width)),
            _ => None,
        }
    }
}

/// What the values of hidden states are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Content {
    /// Outputs of a model's layers.
    #[default]
    Layers,
    /// Outputs of projection heads.
    Projections,
    /// Logits of classes.
    Logits(Numbering),
}

impl Content {
    /// Returns the error that what comes on two inputs of one node numbers classes in two ways.
    pub fn numbering_error(
        self,
        port: &str,
        other: Content,
        other_port: &str,
    ) -> Option<OptionError> {
        let (Content::Logits(numbering), Content::Logits(other)) = (self, other) else {
            return None;
        };
        (!numbering.agrees_with(other)).then(|| {
            let message = format!(
                "classes of `{port}` are numbered {numbering}, those of `{other_port}` {other}: give \
                 both the same `classes`"
            );
            OptionError::at("inputs", message)
        })
    }
}

/// What has a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LabelledUnit {
    /// Each frame. Of two steps only the times between frames are compared, since label files are made
    /// with other paddings.
    Frame(FrameStep),
    /// The utterance, or each slot of it.
    Utterance,
}

impl LabelledUnit {
    /// Each frame of 20 ms.
    pub const FRAME: LabelledUnit = LabelledUnit::Frame(FrameStep::PLAIN);

    /// Returns what has a label where each frame of this step gets one.
    pub fn of_step(step: FrameStep) -> LabelledUnit {
        match step.pooled {
            true => LabelledUnit::Utterance,
            false => LabelledUnit::Frame(step),
        }
    }

    /// Returns the error that a node takes labels of another unit on `port`.
    pub fn error_unless(self, wanted: LabelledUnit, port: &str) -> Option<OptionError> {
        use LabelledUnit::{Frame, Utterance};
        let message = match (wanted, self) {
            (Frame(wanted), Frame(step)) => {
                let [wanted, step] = [wanted, step].map(FrameStep::milliseconds);
                (wanted != step)
                    .then(|| format!("takes a label every {wanted} ms, not every {step} ms"))
            }
            (Utterance, Utterance) => None,
            (Frame(_), Utterance) => Some("takes labels of frames, not of utterances".to_owned()),
            (Utterance, Frame(_)) => Some("takes labels of utterances, not of frames".to_owned()),
        };
        message.map(|message| OptionError::input(port, message))
    }
}

const SAMPLES_PER_MILLISECOND: f64 = 16.0;

/// How the frames of hidden states lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameStep {
    /// Samples that a frame spans before any are joined.
    pub window: usize,
    /// Samples from one such frame to the next.
    pub hop: usize,
    /// Frames that are joined to one, except in layer 0. What is left of a row is dropped.
    pub joined: usize,
    /// Frames that each of them was split into again.
    pub split: usize,
    /// Whether a row is one frame, the mean of all.
    pub pooled: bool,
}

impl FrameStep {
    /// The step of 20 ms.
    const PLAIN: FrameStep = FrameStep {
        window: 400,
        hop: 320,
        joined: 1,
        split: 1,
        pooled: false,
    };

    /// Returns the time between two frames; of a mean of all frames, between those.
    pub fn milliseconds(self) -> f64 {
        let between = self.hop as f64 / SAMPLES_PER_MILLISECOND;
        between * self.joined as f64 / self.split as f64
    }

    /// Returns the error that a mask, which has a flag every 20 ms, does not fit the frames of
    /// `port`.
    pub fn mask_error(self, port: &str) -> Option<OptionError> {
        let plain = FrameStep::PLAIN;
        let message = if self.pooled {
            format!("has a flag every 20 ms, `{port}` one frame a row")
        } else if self.milliseconds() != plain.milliseconds() {
            let step = self.milliseconds();
            format!("has a flag every 20 ms, `{port}` a frame every {step} ms")
        } else if self.window != plain.window {
            let (window, flags) = (self.window, plain.window);
            format!("has flags of {flags} samples, a frame of `{port}` spans {window}")
        } else {
            return None;
        };
        Some(OptionError::input(MASK.name, message))
    }
}

impl Default for FrameStep {
    /// Returns the step of 20 ms.
    fn default() -> Self {
        FrameStep::PLAIN
    }
}

/// Shapes by port, one for each edge. A port that is not connected is absent. One whose shape an
/// error upstream leaves unknown has none.
pub type Shapes = HashMap<&'static str, Vec<Shape>>;

/// Returns the shape of a port that has one edge at most, if it is known.
pub fn shape_of<'a>(shapes: &'a Shapes, port: &str) -> Option<&'a Shape> {
    shapes.get(port)?.first()
}
