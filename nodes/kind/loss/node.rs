//! The loss as it runs.
use super::check::hiddens;
use super::frames::{ChosenFrames, Frames, MeanOver};
use super::terms::{Term, TermType};
use super::{ALL_TERMS, LABELS, OUT, Options, Reduce, STUDENT, STUDENT_MAPS, TARGET, TARGET_MAPS};
use crate::Batch;
use crate::Result;
use crate::data::column;
use crate::data::column::{FRAMES, MAP};
use crate::node::Node;
use crate::node::port::{Maps, Scalar, Value};
use crate::node::step::Step;
use compute::op::{argmax, gram_distance, logit_divergence, map_divergence, pairs};
use compute::random::Key;
use compute::tensor::{Hidden, Number, Spans, Tape, hidden, plus, read_all, scaled};

pub(super) struct Loss {
    pub(super) options: Options,
    /// The draws of the layers that count.
    pub(super) layer_draws: Key,
}

/// A layer of the student beside its target, of the same frames.
struct Pair {
    student: Hidden<Tape>,
    target: Hidden,
    /// The target class of each frame; `None` if no label says it.
    classes: Option<Vec<usize>>,
}

/// A number of a term, with its factor in the sum over layers.
struct Part {
    value: Number<Tape>,
    factor: f64,
}

/// The layers of a step, and which of them and of their frames count.
struct Compared {
    /// (layers)
    pairs: Vec<Pair>,
    /// The factor of each layer in the sum over layers; 0 for one that does not count.
    factors: Vec<f64>,
    frames: ChosenFrames,
}

impl Loss {
    /// Returns whether each of `layers` layers counts: the last one, and as many others as are drawn
    /// in an epoch.
    fn counts(&self, layers: usize, step: &Step) -> Vec<bool> {
        let Some(drawn) = self.options.random_layers.filter(|_| step.trains()) else {
            return vec![true; layers];
        };
        let mut others: Vec<usize> = (0..layers.saturating_sub(1)).collect();
        self.layer_draws.shuffle(step.info.epoch, &mut others);
        let mut counts = vec![false; layers];
        for &layer in others.iter().take(drawn).chain(&[layers - 1]) {
            counts[layer] = true;
        }
        counts
    }

    /// Returns the factor of each layer in the sum over layers.
    fn factors(&self, counts: &[bool]) -> Vec<f64> {
        let counted = counts.iter().filter(|counts| **counts).count();
        let share = match self.options.reduce {
            Reduce::Mean => 1.0 / counted as f64,
            Reduce::Sum => 1.0,
        };
        let weight = |layer: usize| match &self.options.layer_weights {
            Some(weights) => weights[layer],
            None => 1.0,
        };
        let factor = |(layer, counts): (usize, &bool)| match counts {
            true => share * weight(layer),
            false => 0.0,
        };
        counts.iter().enumerate().map(factor).collect()
    }

    /// Takes student and target of a step.
    fn compared(&self, step: &mut Step) -> Result<Compared> {
        let shape = hiddens(&step.context.inputs, STUDENT);
        let joined = shape.map_or(1, |shape| shape.step.joined);
        let masks = step.masks()?;
        let masks = masks.filter(|_| self.options.frames != Frames::All);
        let student = step.hiddens(STUDENT)?.layers;
        let targets = step.targets(TARGET)?;
        let targets = targets.layers();
        let none = Spans::new([]);
        let student_spans = student.first().map_or(&none, |(_, x)| &x.spans);
        let target_spans = targets.first().map_or(&none, |x| &x.spans);
        let frames = ChosenFrames::new(
            student_spans,
            target_spans,
            joined,
            self.options.frames,
            masks.as_deref(),
        )?;
        let student_spans = student_spans.clone();
        let target_spans = target_spans.clone();
        let classes = match step.optional_batch(LABELS) {
            Some(labels) => Some(frames.trimmed_labels(&labels)?),
            None => None,
        };
        let width = student.first().map_or(0, |(_, x)| x.width());
        if let Some(class) = classes.iter().flatten().find(|class| **class >= width) {
            return Err(
                format!("a frame has the label {class}, but there are {width} classes").into(),
            );
        }
        let mut pairs = vec![];
        for ((layer, student), target) in student.into_iter().zip(targets) {
            if student.spans != student_spans || target.spans != target_spans {
                let message = format!("layer {layer} has other frames than the layer before it");
                return Err(message.into());
            }
            let target = frames.trimmed(target);
            let classes = classes.clone();
            pairs.push(Pair {
                student,
                target,
                classes,
            });
        }
        let counts = self.counts(pairs.len(), step);
        Ok(Compared {
            factors: self.factors(&counts),
            pairs,
            frames,
        })
    }

    /// Returns the parts of a term that compares hidden states.
    fn parts(&self, term: &Term, compared: &Compared, counted: &[Option<Pair>]) -> Vec<Part> {
        match term.r#type {
            TermType::Gram => within_layers(compared),
            TermType::GramBetween => self.between_layers(&compared.pairs),
            _ => self.distances(term, compared, counted),
        }
    }

    fn distances(&self, term: &Term, compared: &Compared, counted: &[Option<Pair>]) -> Vec<Part> {
        let frames = &compared.frames;
        let share = match self.options.mean_over {
            MeanOver::Chosen => 1.0,
            MeanOver::All => frames.chosen as f64 / frames.all.max(1) as f64,
        };
        let mut parts = vec![];
        for (pair, factor) in counted.iter().zip(&compared.factors) {
            let value = pair.as_ref().and_then(|pair| pair.measure(term));
            if let Some(value) = value {
                parts.push(Part {
                    value,
                    factor: factor * share,
                });
            }
        }
        parts
    }

    /// Relates each layer to the one before it.
    fn between_layers(&self, pairs: &[Pair]) -> Vec<Part> {
        let share = match self.options.reduce {
            Reduce::Mean => 1.0 / pairs.len().saturating_sub(1).max(1) as f64,
            Reduce::Sum => 1.0,
        };
        let weights = self.options.layer_weights.as_ref();
        let mut parts = vec![];
        for (l, neighbours) in pairs.windows(2).enumerate() {
            let [before, after] = neighbours else {
                continue;
            };
            let value = gram_distance(
                before.student.clone(),
                after.student.clone(),
                &before.target,
                &after.target,
            );
            let weight = weights.map_or(1.0, |weights| weights[l + 1]);
            parts.push(Part {
                value,
                factor: share * weight,
            });
        }
        parts
    }

    /// Compares averaged attention maps.
    fn map_parts(&self, step: &mut Step) -> Result<Vec<Part>> {
        let Maps { layers } = step.maps(STUDENT_MAPS)?;
        let targets = step.batch(TARGET_MAPS)?;
        let share = match self.options.reduce {
            Reduce::Mean => 1.0 / layers.len().max(1) as f64,
            Reduce::Sum => 1.0,
        };
        let mut parts = vec![];
        for (l, (number, map)) in layers.into_iter().enumerate() {
            let target = target_map(&targets, l)?;
            if target.spans != pairs(&map.spans) {
                let message = format!("the map of layer {number} has other frames than its target");
                return Err(message.into());
            }
            parts.push(Part {
                value: map_divergence(map, &target),
                factor: share,
            });
        }
        Ok(parts)
    }
}

impl Pair {
    /// Returns a distance of frames or a divergence of logits.
    fn measure(&self, term: &Term) -> Option<Number<Tape>> {
        if let Some(distance) = term.r#type.distance() {
            return Some(distance(self.student.clone(), &self.target));
        }
        let compared = term.r#type.logits()?;
        // Of all classes together no target is told apart.
        let classes = self.classes.clone().unwrap_or_else(|| argmax(&self.target));
        Some(logit_divergence(
            compared,
            self.student.clone(),
            &self.target,
            classes,
            term.temperatures(),
        ))
    }
}

/// Relates the frames of each layer to each other.
fn within_layers(compared: &Compared) -> Vec<Part> {
    let pairs = compared.pairs.iter();
    pairs
        .zip(&compared.factors)
        .map(|(pair, factor)| Part {
            value: gram_distance(
                pair.student.clone(),
                pair.student.clone(),
                &pair.target,
                &pair.target,
            ),
            factor: *factor,
        })
        .collect()
}

/// Returns the maps of all rows at the place `layer` of a batch, as frames of width 1.
fn target_map(batch: &Batch, layer: usize) -> Result<Hidden> {
    let frames = column::u32s(batch, FRAMES)?;
    let mut numbers = vec![];
    for (row, &frames) in frames.iter().enumerate() {
        let map = column::floats_of_layer(batch, MAP, row, layer)?;
        if map.len() != frames as usize * frames as usize {
            return Err(format!("the map of row {row} is not {frames} x {frames}").into());
        }
        numbers.extend_from_slice(map);
    }
    let spans = Spans::new(frames.iter().map(|&frames| frames as usize));
    Ok(hidden(numbers, 1, pairs(&spans)))
}

impl Node for Loss {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let reads_hiddens = step.context.inputs.contains_key(STUDENT);
        let compared = if reads_hiddens {
            Some(self.compared(step)?)
        } else {
            None
        };
        let mut counted = vec![];
        for (pair, factor) in compared.iter().flat_map(|c| c.pairs.iter().zip(&c.factors)) {
            let frames = compared.as_ref().map(|compared| &compared.frames);
            counted.push(frames.filter(|_| *factor != 0.0).map(|frames| Pair {
                student: frames.counted(pair.student.clone()),
                target: frames.counted(pair.target.clone()),
                classes: pair.classes.as_ref().map(|all| frames.counted_labels(all)),
            }));
        }

        let mut parts_by_term = vec![];
        for term in &self.options.terms {
            parts_by_term.push(match (&compared, term.r#type) {
                (_, TermType::MapKl) => self.map_parts(step)?,
                (Some(compared), _) => self.parts(term, compared, &counted),
                (None, _) => vec![],
            });
        }

        let mut total = Scalar::zero(step.tape()).value;
        for (term, parts) in self.options.terms.iter().zip(&parts_by_term) {
            for part in parts {
                let factor = (part.factor * term.weight * term.square()) as f32;
                total = plus(total, scaled(part.value.clone(), factor));
            }
        }
        let values = parts_by_term.iter().flatten().map(|part| &part.value);
        let mut numbers = read_all(std::iter::once(&total).chain(values)).into_iter();
        let mut next = || numbers.next().map_or(0.0, |number| number[0]);
        let mut metrics = vec![(ALL_TERMS.to_owned(), next())];
        for (term, parts) in self.options.terms.iter().zip(&parts_by_term) {
            let sum: f64 = parts.iter().map(|part| next() as f64 * part.factor).sum();
            // A sum of nothing is -0.
            let value = (sum * term.square()) as f32 + 0.0;
            metrics.push((term.r#type.metric().into(), value));
        }

        let weight = match (&compared, self.options.mean_over) {
            (Some(compared), MeanOver::Chosen) => compared.frames.chosen,
            (Some(compared), MeanOver::All) => compared.frames.all,
            (None, _) => 1,
        };
        let loss = Scalar {
            value: total,
            parts: metrics,
            outcomes: vec![],
            weight: weight as f64,
            node: step.context.node.clone(),
        };
        step.send(OUT, Value::Scalar(loss));
        Ok(())
    }
}
