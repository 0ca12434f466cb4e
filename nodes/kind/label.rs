//! Labels every 20 ms frame with its nearest centroid ([`crate::kmeans`]).
//!
//! Of features every 10 ms it labels the first, third, ...: those that begin where HuBERT's frames
//! do and are as long (fairseq's `feat2tar_ratio` 2).
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABELS};
use crate::data::labels;
use crate::kmeans::Centroids;
use crate::node::frames;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
    artifact_owner, shapes,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Labels frames by the nearest centroid.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// File that a `cluster` writes (`$OUT/phase/node/centroids.safetensors`), or an `.npy` of
    /// (clusters, width).
    centroids: String,
}

const OUT: &str = "labels";

impl Options {
    /// Returns the clusters and the width of centroids that an earlier phase of the file writes.
    fn earlier(&self, phase_outputs: &PhaseOutputs) -> Option<(usize, usize)> {
        let owner = artifact_owner(&self.centroids, "centroids.safetensors")?;
        match phase_outputs.0.get(owner)? {
            Artifact::Centroids { clusters, width } => Some((*clusters, *width)),
            _ => None,
        }
    }

    /// Returns the clusters that an earlier phase of the file writes, for features of this width.
    fn planned_clusters(
        &self,
        phase_outputs: &PhaseOutputs,
        input_width: Option<usize>,
    ) -> Result<usize, OptionError> {
        let path = &self.centroids;
        let Some((clusters, width)) = self.earlier(phase_outputs) else {
            return Err(OptionError::option(
                "centroids",
                format!("no `cluster` of an earlier phase writes `{path}`"),
            ));
        };
        match input_width {
            Some(input_width) if input_width != width => Err(OptionError::option(
                "centroids",
                format!("`{path}` is {width} wide, `features` {input_width}"),
            )),
            _ => Ok(clusters),
        }
    }

    fn check_extension(&self) -> Result<(), OptionError> {
        let path = &self.centroids;
        let ends_with = |extensions: &[&str]| extensions.iter().any(|end| path.ends_with(end));
        if ends_with(&[".pt", ".bin", ".pkl", ".joblib"]) {
            let convert = "numpy.save(\"centroids.npy\", joblib.load(FILE).cluster_centers_)";
            return Err(OptionError::option(
                "centroids",
                format!(
                    "`{path}` is scikit-learn's; write its centroids in Python first: {convert}"
                ),
            ));
        }
        if !ends_with(&[".safetensors", ".npy"]) {
            return Err(OptionError::option(
                "centroids",
                format!("`{path}` is no path of a .safetensors or .npy file"),
            ));
        }
        Ok(())
    }

    /// Reads the centroids; draws them in a benchmark whose earlier phases have not run.
    fn open(&self, context: &NodeContext) -> Result<Centroids> {
        let path = context.path(&self.centroids);
        if context.run.bench
            && !path.exists()
            && let Some((clusters, width)) = self.earlier(&context.run.phase_outputs)
        {
            let key = context.key("centroids");
            let values = (0..clusters * width).map(|i| key.normal(0, i as u64));
            return Ok(Centroids {
                values: values.collect(),
                width,
            });
        }
        Centroids::load(&path)
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[frames::PORT],
        outputs: &[Port::new(OUT, Carries::Batch(LABELS))],
    };
}

impl Config for Options {
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let input_width = frames::width(inputs).map_err(|error| vec![error])?;
        if self.centroids.starts_with("$OUT/") {
            let classes = self
                .planned_clusters(phase_outputs, input_width)
                .map_err(|error| vec![error])?;
            return Ok(NodeInfo {
                outputs: shapes([(OUT, Shape::Labels { classes })]),
                ..NodeInfo::default()
            });
        }
        self.check_extension().map_err(|error| vec![error])?;
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::Plain)]),
            reads: vec![self.centroids.clone()],
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let input_width = frames::known_width(&context.inputs)?;
        let centroids = self.open(context)?;
        if centroids.width != input_width {
            return Err(format!(
                "`{}` is {} wide, `features` {input_width}",
                self.centroids, centroids.width
            )
            .into());
        }
        Ok(Box::new(Label { centroids }))
    }
}

struct Label {
    centroids: Centroids,
}

impl Node for Label {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(frames::PORT.name)?;
        let width = self.centroids.width;
        let input = frames::rows(&batch)?;
        let mut frames: Vec<f32> = vec![];
        let mut counts = vec![];
        for row in input.rows {
            let kept = row.chunks_exact(width).step_by(input.per_label);
            counts.push(kept.len());
            frames.extend(kept.flatten());
        }
        let nearest = self.centroids.nearest(&frames).into_iter();
        let labels = nearest.map(|nearest| nearest.centroid).collect();
        let ids = column::get(&batch, ID)?.clone();
        step.send(OUT, Value::Batch(labels::batch(ids, labels, &counts)?));
        Ok(())
    }
}
