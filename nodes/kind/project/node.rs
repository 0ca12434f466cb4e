//! The heads as they run.
use super::file::groups_metadata;
use super::forms::{Form, Head, HeadSizes};
use super::{FILE, PORT};
use crate::Result;
use crate::node::head_file::save_head;
use crate::node::port::{Hiddens, Value};
use crate::node::step::Step;
use crate::node::{Node, Parameter};
use compute::gemm::Precision;

pub(super) struct Project {
    pub(super) heads: Vec<Head>,
    pub(super) form: Form,
    pub(super) sizes: HeadSizes,
    pub(super) precision: Precision,
}

impl Node for Project {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let mut outputs = vec![];
        let mut macs = 0;
        for (layer, hidden) in step.hiddens(PORT)?.layers {
            let head = self
                .heads
                .iter()
                .find(|head| head.layers.contains(&layer))
                .ok_or("a layer came that is in no group")?;
            macs += self.form.macs(self.sizes) * hidden.spans.total() as u64;
            let mapped = self.form.apply(head, hidden, self.precision, step.tape());
            let layers = self.form.layers(&[layer], self.sizes);
            outputs.extend(layers.into_iter().zip(mapped));
        }
        step.record_products(self.precision, macs, true);
        step.send(PORT, Value::Hiddens(Hiddens { layers: outputs }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let metadata = groups_metadata(self.heads.iter().map(|head| &head.layers));
        save_head(FILE, &self.parameters(), metadata, step)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let tensors = self.heads.iter_mut().flat_map(|head| &mut head.tensors);
        tensors
            .map(|tensor| Parameter {
                name: tensor.plan.name.clone(),
                shape: tensor.plan.shape.clone(),
                weight: &mut tensor.weight,
                sign: 1.0,
            })
            .collect()
    }
}
