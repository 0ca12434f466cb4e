//! Finds clusters of frames ([`crate::kmeans`]): gathers a sample of all that come, fits when its phase ends, and writes
//! `centroids.safetensors`. Dev rows are left out.
use crate::Result;
use crate::data::column;
use crate::data::subsample::Sample;
use crate::kmeans::{FitOptions, fit};
use crate::node::frames;
use crate::node::port::{Ports, Shapes};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Finds clusters of features, or of a teacher's hiddens, by k-means.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// How many.
    clusters: usize,
    /// Frames that are kept to fit on; of more that come a sample, each with the same chance.
    #[serde(default = "most")]
    frames: usize,
    /// Frames of a mini-batch.
    #[serde(default = "batch")]
    batch: usize,
    /// Over all frames, in mini-batches.
    #[serde(default = "passes")]
    passes: usize,
}

fn most() -> usize {
    500_000
}

fn batch() -> usize {
    10_000
}

fn passes() -> usize {
    10
}

const MOST_CLUSTERS: usize = 1 << 16;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[frames::PORT],
        outputs: &[],
    };
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let (fewest, most) = (self.clusters.clamp(1, MOST_CLUSTERS), u32::MAX as usize);
        let mut wrong = vec![];
        wrong.extend(OptionError::outside(
            "clusters",
            self.clusters,
            1..=MOST_CLUSTERS,
        ));
        wrong.extend(OptionError::outside("frames", self.frames, fewest..=most));
        wrong.extend(OptionError::outside("batch", self.batch, 1..=most));
        wrong.extend(OptionError::outside("passes", self.passes, 0..=10_000));
        let width = frames::width(inputs).unwrap_or_else(|says| {
            wrong.push(says);
            None
        });
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(NodeInfo {
            writes: width.map(|width| Artifact::Centroids {
                clusters: self.clusters,
                width,
            }),
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let width = frames::width(&context.inputs)
            .map_err(|w| w.message)?
            .ok_or("does not know what comes in")?;
        let sample = Sample::new(width, self.frames, context.key("sample"));
        Ok(Box::new(Cluster {
            options: *self,
            sample,
        }))
    }
}

struct Cluster {
    options: Options,
    sample: Sample,
}

impl Node for Cluster {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(frames::PORT.name)?;
        if !step.trains() {
            return Ok(());
        }
        let ids = column::texts(&batch, column::ID)?;
        for (row, frames) in frames::rows(&batch)?.0.into_iter().enumerate() {
            if !frames.iter().all(|x| x.is_finite()) {
                return Err(format!("a frame of `{}` is not finite", ids.value(row)).into());
            }
            for frame in frames.chunks_exact(self.sample.width) {
                self.sample.add(frame);
            }
        }
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let (
            Options {
                clusters,
                batch,
                passes,
                ..
            },
            width,
        ) = (self.options, self.sample.width);
        let frames = std::mem::take(&mut self.sample.frames);
        let (n, seen) = (frames.len() / width, self.sample.seen);
        if n < clusters {
            return Err(format!("{clusters} clusters need as many frames, but {n} came").into());
        }
        let how = FitOptions {
            clusters,
            batch,
            passes,
            key: step.context.key("fit"),
        };
        let (centroids, distance) = fit(&frames, width, &how);
        let of = if n as u64 == seen {
            String::new()
        } else {
            format!(" of {seen}")
        };
        step.context.say(format!(
            "{clusters} clusters of {n}{of} frames, mean squared distance {distance:.4}"
        ));
        centroids.save(&step.context.folder().join("centroids.safetensors"))
    }
}
