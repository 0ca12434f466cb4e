//! Labels frames by the nearest centroid ([`crate::kmeans`]), every 20 ms: the frames of HuBERT. Of features every 10 ms it
//! labels the first, third, ...: those that begin where HuBERT's frames do, and are as long (fairseq's feat2tar_ratio 2).
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
    /// What a `cluster` wrote (`$OUT/phase/node/centroids.safetensors`), or an `.npy` of (clusters, width).
    centroids: String,
}

const OUT: &str = "labels";

impl Options {
    /// Returns the clusters and the width of centroids that an earlier phase of the file leaves.
    fn earlier(&self, phase_outputs: &PhaseOutputs) -> Option<(usize, usize)> {
        let owner = artifact_owner(&self.centroids, "centroids.safetensors")?;
        match phase_outputs.0.get(owner)? {
            Artifact::Centroids { clusters, width } => Some((*clusters, *width)),
            _ => None,
        }
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
        let wrong = |says: String| {
            Err(vec![OptionError::at(
                "centroids",
                format!("option `centroids`: {says}"),
            )])
        };
        let comes = frames::width(inputs).map_err(|w| vec![w])?;
        let path = &self.centroids;
        if path.starts_with("$OUT/") {
            let Some((clusters, width)) = self.earlier(phase_outputs) else {
                return wrong(format!("no `cluster` of an earlier phase writes `{path}`"));
            };
            if comes.is_some_and(|comes| comes != width) {
                return wrong(format!(
                    "`{path}` is {width} wide, `features` {}",
                    comes.unwrap_or(0)
                ));
            }
            return Ok(NodeInfo {
                outputs: shapes([(OUT, Shape::Labels { classes: clusters })]),
                ..NodeInfo::default()
            });
        }
        if [".pt", ".bin", ".pkl", ".joblib"]
            .iter()
            .any(|end| path.ends_with(end))
        {
            let convert = "numpy.save(\"centroids.npy\", joblib.load(FILE).cluster_centers_)";
            return wrong(format!(
                "`{path}` is scikit-learn's; write its centroids in Python first: {convert}"
            ));
        }
        if ![".safetensors", ".npy"]
            .iter()
            .any(|end| path.ends_with(end))
        {
            return wrong(format!(
                "`{path}` is no path of a .safetensors or .npy file"
            ));
        }
        let outputs = shapes([(OUT, Shape::Plain)]);
        Ok(NodeInfo {
            outputs,
            reads: vec![path.clone()],
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let width = frames::width(&context.inputs)
            .map_err(|w| w.message)?
            .ok_or("does not know what comes in")?;
        let path = context.path(&self.centroids);
        let centroids = match self
            .earlier(&context.run.phase_outputs)
            .filter(|_| context.run.bench && !path.exists())
        {
            Some((count, width)) => {
                let key = context.key("centroids");
                Centroids {
                    values: (0..count * width)
                        .map(|i| key.normal(0, i as u64))
                        .collect(),
                    width,
                }
            }
            None => Centroids::load(&path)?,
        };
        if centroids.width != width {
            return Err(format!(
                "`{}` is {} wide, `features` {width}",
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
        let (batch, width) = (step.batch(frames::PORT.name)?, self.centroids.width);
        let (rows, every) = frames::rows(&batch)?;
        let row = |row: &&[f32]| {
            row.chunks_exact(width)
                .step_by(every)
                .flatten()
                .copied()
                .collect::<Vec<f32>>()
        };
        let kept: Vec<Vec<f32>> = rows.iter().map(row).collect();
        let near: Vec<u32> = self
            .centroids
            .nearest(&kept.concat())
            .into_iter()
            .map(|near| near.centroid)
            .collect();
        let counts: Vec<usize> = kept.iter().map(|row| row.len() / width).collect();
        step.send(
            OUT,
            Value::Batch(labels::batch(
                column::get(&batch, ID)?.clone(),
                near,
                &counts,
            )?),
        );
        Ok(())
    }
}
