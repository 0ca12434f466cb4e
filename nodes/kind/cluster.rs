//! Finds clusters of frames by k-means ([`crate::kmeans`]).
//!
//! The node samples the frames of all train rows, fits when its phase ends, and writes
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
    /// The number of clusters.
    clusters: usize,
    /// The most frames to fit on; of more, a uniform random sample is used.
    #[serde(default = "default_frames")]
    frames: usize,
    /// Frames of a mini-batch.
    #[serde(default = "default_batch")]
    batch: usize,
    /// Passes over all frames, in mini-batches.
    #[serde(default = "default_passes")]
    passes: usize,
}

fn default_frames() -> usize {
    500_000
}

fn default_batch() -> usize {
    10_000
}

fn default_passes() -> usize {
    10
}

const MAX_CLUSTERS: usize = 1 << 16;
const MAX_FRAMES: usize = u32::MAX as usize;
const MAX_PASSES: usize = 10_000;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[frames::PORT],
        outputs: &[],
    };
    const NEEDS_ALL_ROWS: bool = true;
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let min_frames = self.clusters.clamp(1, MAX_CLUSTERS);
        let ranges = [
            ("clusters", self.clusters, 1..=MAX_CLUSTERS),
            ("frames", self.frames, min_frames..=MAX_FRAMES),
            ("batch", self.batch, 1..=MAX_FRAMES),
            ("passes", self.passes, 0..=MAX_PASSES),
        ];
        let mut errors = vec![];
        for (option, value, range) in ranges {
            errors.extend(OptionError::outside(option, value, range));
        }
        let width = frames::width(inputs).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        OptionError::fail_if_any(errors)?;
        Ok(NodeInfo {
            writes: width.map(|width| Artifact::Centroids {
                clusters: self.clusters,
                width,
            }),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let width = frames::known_width(&context.inputs)?;
        Ok(Box::new(Cluster {
            options: *self,
            sample: Sample::new(width, self.frames, context.key("sample")),
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
        if step.info.dev {
            return Ok(());
        }
        let ids = column::texts(&batch, column::ID)?;
        for (row, frames) in frames::rows(&batch)?.rows.into_iter().enumerate() {
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
        let clusters = self.options.clusters;
        let width = self.sample.width;
        let frames = std::mem::take(&mut self.sample.frames);
        let count = frames.len() / width;
        if count < clusters {
            return Err(
                format!("{clusters} clusters need as many frames, but {count} came").into(),
            );
        }
        let fit_options = FitOptions {
            clusters,
            batch: self.options.batch,
            passes: self.options.passes,
            key: step.context.key("fit"),
        };
        let (centroids, distance) = fit(&frames, width, &fit_options);
        let seen = self.sample.seen;
        let total = if count as u64 == seen {
            String::new()
        } else {
            format!(" of {seen}")
        };
        step.context.say(format!(
            "{clusters} clusters of {count}{total} frames, mean squared distance {distance:.4}"
        ));
        centroids.save(&step.context.folder().join("centroids.safetensors"))
    }
}
