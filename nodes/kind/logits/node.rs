//! The head as it runs.
use super::{FILE, IN, OUT};
use crate::Result;
use crate::model::{Numbering, label_head_metadata};
use crate::node::head_file::save_head;
use crate::node::port::{Hiddens, Value};
use crate::node::step::Step;
use crate::node::{Node, Parameter};
use compute::gemm::Precision;
use compute::op::{cosine_logits, linear};
use compute::tensor::{Hidden, Param, Tape, len};

pub(super) struct Logits {
    /// (width, hidden)
    pub(super) weight: Param,
    /// (width)
    pub(super) bias: Param,
    /// (classes, width), uniform in [0, 1) at the start, as in fairseq; `None` if the linear map
    /// gives the logits.
    pub(super) embeddings: Option<Param>,
    pub(super) trains_embeddings: bool,
    pub(super) numbering: Numbering,
    /// The layer that is read; `None`: the only one.
    pub(super) layer: Option<usize>,
    pub(super) temperature: f32,
    pub(super) precision: Precision,
}

impl Logits {
    fn logits(&self, x: Hidden<Tape>) -> Hidden<Tape> {
        let z = linear(x, &self.weight, &self.bias, self.precision);
        match &self.embeddings {
            Some(embeddings) => cosine_logits(z, embeddings, self.temperature),
            None => z,
        }
    }

    /// Lists all tensors of the head.
    fn tensors(&mut self) -> Vec<Parameter<'_>> {
        let width = len(&self.bias);
        let hidden = len(&self.weight) / width;
        let mut weight = Parameter::flat("final_proj.weight".into(), &mut self.weight);
        weight.shape = vec![width, hidden];
        let bias = Parameter::flat("final_proj.bias".into(), &mut self.bias);
        let mut tensors = vec![weight, bias];
        if let Some(embeddings) = &mut self.embeddings {
            let classes = len(embeddings) / width;
            let mut embeddings = Parameter::flat("label_embs".into(), embeddings);
            embeddings.shape = vec![classes, width];
            tensors.push(embeddings);
        }
        tensors
    }
}

impl Node for Logits {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let mut layers = vec![];
        for (layer, hidden) in step.hiddens(IN)?.layers {
            if self.layer.is_none_or(|chosen| chosen == layer) {
                layers.push((layer, self.logits(hidden)));
            }
        }
        step.send(OUT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let metadata = label_head_metadata(self.numbering);
        save_head(FILE, &self.tensors(), metadata, step)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let trains_embeddings = self.trains_embeddings;
        let mut parameters = self.tensors();
        parameters.retain(|p| trains_embeddings || p.name != "label_embs");
        parameters
    }
}
