//! The loss as it runs.
use super::compared::Pair;
use super::frames::MeanOver;
use super::terms::TermType;
use super::{ALL_TERMS, Loss, OUT, STUDENT};
use crate::Result;
use crate::node::Node;
use crate::node::port::{Scalar, Value};
use crate::node::step::Step;
use compute::tensor::{plus, read_all, scaled};

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
            counted.push(frames.filter(|_| *factor != 0.0).map(|frames| {
                Pair {
                    student: frames.counted(pair.student.clone()),
                    target: frames.counted(pair.target.clone()),
                    classes: pair
                        .classes
                        .as_ref()
                        .map(|classes| frames.counted_labels(classes)),
                }
            }));
        }

        let mut rows = 0;
        let mut parts_by_term = vec![];
        for term in &self.options.terms {
            parts_by_term.push(match (&compared, term.r#type) {
                (_, TermType::MapKl) => {
                    let parts;
                    (parts, rows) = self.map_parts(step)?;
                    parts
                }
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
            (Some(compared), MeanOver::All) => compared.frames.total,
            (None, _) => rows,
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
