//! Fits codebooks to a teacher's layers by residual k-means ([`crate::kmeans::residual`]), for the
//! codec "multi-codebook" of a cache.
//!
//! The node samples the frames of all train rows, fits when its phase ends, and writes
//! `codebooks.safetensors`. Dev rows are left out.
use crate::Result;
use crate::data::column;
use crate::data::column::{HIDDEN, ID, TARGETS};
use crate::data::subsample::Sample;
use crate::kmeans::residual::{CODES, CodebookFile, CodebookOptions, Codebooks, FILE};
use crate::node::port::{Carries, Content, Port, Ports, Shape, Shapes};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Fits codebooks to a teacher's layers, by which a cache stores a frame in a few bytes.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Codebooks of 256 codewords, of which each takes a byte of a frame.
    #[serde(default = "default_books")]
    books: usize,
    /// The most frames of a layer to fit on; of more, a uniform random sample is used.
    #[serde(default = "default_frames")]
    frames: usize,
    /// Frames of a mini-batch.
    #[serde(default = "default_batch")]
    batch: usize,
    /// Passes over all frames for each codebook, in mini-batches.
    #[serde(default = "default_passes")]
    passes: usize,
}

fn default_books() -> usize {
    8
}

fn default_frames() -> usize {
    100_000
}

fn default_batch() -> usize {
    10_000
}

fn default_passes() -> usize {
    10
}

const IN: &str = "targets";
const MAX_BOOKS: usize = 64;
const MAX_FRAMES: usize = u32::MAX as usize;
const MAX_PASSES: usize = 10_000;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(TARGETS))],
        outputs: &[],
    };
    const FORGETS: bool = true;
    const NEEDS_ALL_ROWS: bool = true;
}

/// Returns layers and width of the targets; `None` if they are unknown.
fn layers_and_width(inputs: &Shapes) -> Option<(Vec<usize>, usize)> {
    match inputs.get(IN)?.first()? {
        Shape::Hiddens {
            layers,
            width,
            content: Content::Layers,
            ..
        } => Some((layers.clone(), *width)),
        _ => None,
    }
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let ranges = [
            ("books", self.books, 1..=MAX_BOOKS),
            ("frames", self.frames, CODES..=MAX_FRAMES),
            ("batch", self.batch, 1..=MAX_FRAMES),
            ("passes", self.passes, 0..=MAX_PASSES),
        ];
        let mut errors = vec![];
        for (option, value, range) in ranges {
            errors.extend(OptionError::outside(option, value, range));
        }
        let planned = layers_and_width(inputs);
        let is_fed = inputs.get(IN).is_some_and(|shapes| !shapes.is_empty());
        if planned.is_none() && is_fed {
            errors.push(OptionError::input(IN, "takes a teacher's `targets`"));
        }
        OptionError::fail_if_any(errors)?;
        Ok(NodeInfo {
            writes: planned.map(|(layers, width)| Artifact::Codebooks {
                layers,
                width,
                books: self.books,
            }),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let (layers, width) =
            layers_and_width(&context.inputs).ok_or("the layers of `targets` are unknown")?;
        let key = context.key("sample");
        let samples = layers
            .into_iter()
            .map(|layer| (layer, Sample::new(width, self.frames, key)))
            .collect();
        Ok(Box::new(Codebook {
            options: *self,
            samples,
        }))
    }
}

struct Codebook {
    options: Options,
    /// Frames by layer, in the order of the targets.
    samples: Vec<(usize, Sample)>,
}

impl Node for Codebook {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        if step.info.dev {
            return Ok(());
        }
        let ids = column::texts(&batch, ID)?;
        for row in 0..batch.num_rows() {
            for (index, (layer, sample)) in self.samples.iter_mut().enumerate() {
                let frames = column::floats_of_layer(&batch, HIDDEN, row, index)?;
                if !frames.iter().all(|x| x.is_finite()) {
                    let id = ids.value(row);
                    return Err(format!("layer {layer} of `{id}` is not finite").into());
                }
                for frame in frames.chunks_exact(sample.width) {
                    sample.add(frame);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let mut fitted = vec![];
        for (layer, sample) in &mut self.samples {
            let frames = std::mem::take(&mut sample.frames);
            let count = frames.len() / sample.width;
            if count < CODES {
                return Err(format!(
                    "a codebook has {CODES} codewords and needs as many frames, but {count} came"
                )
                .into());
            }
            let key = |book: usize| {
                let purpose = format!("fit layer {layer} book {book}");
                step.context.key(&purpose)
            };
            let options = CodebookOptions {
                books: self.options.books,
                batch: self.options.batch,
                passes: self.options.passes,
                key: &key,
            };
            let (codebooks, error) = Codebooks::fit(frames, sample.width, &options);
            step.context.say(format!(
                "layer {layer}: {} codebooks of {count} frames, relative error {error:.4}",
                self.options.books
            ));
            fitted.push((*layer, codebooks));
        }
        CodebookFile::new(fitted).save(&step.context.folder().join(FILE))
    }
}
