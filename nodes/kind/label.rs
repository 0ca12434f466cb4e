//! Labels every 20 ms frame with its nearest centroid ([`crate::kmeans`]), or with the class of the
//! largest logit.
//!
//! Of features every 10 ms it labels the first, third, ...: those that begin where HuBERT's frames
//! do and are as long (fairseq's `feat2tar_ratio` 2).
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABELS};
use crate::data::labels;
use crate::kmeans::Centroids;
use crate::model::Numbering;
use crate::node::contents::FileOption;
use crate::node::frames;
use crate::node::port::{
    Carries, Content, LabelledUnit, Port, Ports, Shape, Shapes, Value, shape_of,
};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError,
    PhaseOutputs, artifact_owner, shapes,
};
use compute::op::argmax;
use compute::tensor::{Spans, hidden};
use schemars::JsonSchema;
use serde::Deserialize;

/// Labels frames by the nearest centroid, or logits by their largest.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// File that a `cluster` writes (`$OUT/phase/node/centroids.safetensors`), or an `.npy` of
    /// (clusters, width); null: the input is logits, and the largest is the label.
    #[serde(default)]
    centroids: Option<String>,
}

const OUT: &str = "labels";

impl Options {
    /// Returns the clusters and the width of centroids that an earlier phase of the file writes.
    fn earlier(&self, phase_outputs: &PhaseOutputs) -> Option<(usize, usize)> {
        let owner = artifact_owner(self.centroids.as_deref()?, "centroids.safetensors")?;
        match phase_outputs.0.get(owner)? {
            Artifact::Centroids { clusters, width } => Some((*clusters, *width)),
            _ => None,
        }
    }

    /// Returns the clusters that an earlier phase of the file writes, for features of this width.
    fn planned_clusters(
        &self,
        path: &str,
        phase_outputs: &PhaseOutputs,
        input_width: Option<usize>,
    ) -> Result<usize, OptionError> {
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

    fn check_extension(path: &str) -> Result<(), OptionError> {
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
    fn open(&self, path: &str, context: &NodeContext) -> Result<Centroids> {
        let path = context.path(path);
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
    const FILES: &[FileOption] = &[FileOption::files("centroids")];
}

impl Config for Options {
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let input_width = frames::width(inputs).map_err(|error| vec![error])?;
        let Some(centroids) = &self.centroids else {
            let labels = match shape_of(inputs, frames::PORT.name) {
                Some(Shape::Features { .. }) => {
                    return Err(vec![OptionError::at(
                        "",
                        "needs the option `centroids`, since `features` are no logits",
                    )]);
                }
                Some(shape) => input_width.map(|classes| Shape::Labels {
                    classes: Some(classes),
                    of: labelled(inputs),
                    numbering: match shape {
                        Shape::Hiddens {
                            content: Content::Logits(numbering),
                            ..
                        } => *numbering,
                        _ => Numbering::Learned,
                    },
                }),
                None => None,
            };
            let labels = labels.into_iter().map(|labels| (OUT, vec![labels]));
            return Ok(NodeInfo {
                outputs: labels.collect(),
                ..NodeInfo::default()
            });
        };
        if centroids.starts_with("$OUT/") {
            let classes = self
                .planned_clusters(centroids, phase_outputs, input_width)
                .map_err(|error| vec![error])?;
            return Ok(NodeInfo {
                outputs: shapes([(OUT, labels_of_clusters(Some(classes), inputs))]),
                ..NodeInfo::default()
            });
        }
        Options::check_extension(centroids).map_err(|error| vec![error])?;
        Ok(NodeInfo {
            outputs: shapes([(OUT, labels_of_clusters(None, inputs))]),
            reads: vec![centroids.clone()],
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let input_width = frames::known_width(&context.inputs)?;
        let Some(path) = &self.centroids else {
            return Ok(Box::new(LargestLogit {
                classes: input_width,
            }));
        };
        let centroids = self.open(path, context)?;
        if centroids.width != input_width {
            return Err(format!(
                "`{path}` is {} wide, `features` {input_width}",
                centroids.width
            )
            .into());
        }
        Ok(Box::new(Label { centroids }))
    }
}

/// Returns the shape of labels by centroids.
fn labels_of_clusters(classes: Option<usize>, inputs: &Shapes) -> Shape {
    Shape::Labels {
        classes,
        numbering: Numbering::Clusters,
        of: labelled(inputs),
    }
}

/// Returns what gets a label: each frame of hidden states; of features one each 20 ms.
fn labelled(inputs: &Shapes) -> LabelledUnit {
    let hiddens = HiddenInput::find(frames::PORT.name, inputs);
    hiddens.map_or(LabelledUnit::FRAME, |hiddens| {
        LabelledUnit::of_step(hiddens.step)
    })
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

struct LargestLogit {
    classes: usize,
}

impl Node for LargestLogit {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(frames::PORT.name)?;
        let input = frames::rows(&batch)?;
        let counts: Vec<usize> = input
            .rows
            .iter()
            .map(|row| row.len() / self.classes)
            .collect();
        let spans = Spans::new(counts.iter().copied());
        let logits = hidden(input.rows.concat(), self.classes, spans);
        let labels = argmax(&logits).into_iter().map(|class| class as u32);
        let ids = column::get(&batch, ID)?.clone();
        let batch = labels::batch(ids, labels.collect(), &counts)?;
        step.send(OUT, Value::Batch(batch));
        Ok(())
    }
}
