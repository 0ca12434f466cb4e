//! Means of losses and of their parts, over the batches of an update or of a dev pass.
use crate::node::port::Scalar;
use compute::tensor::read_all;

/// Name, weighted sum, weight.
#[derive(Default)]
pub struct Sums(Vec<(String, f64, f64)>);

impl Sums {
    /// The losses of one batch. Where several nodes send one, their parts are called by the node too.
    pub fn add_batch(&mut self, losses: &[Scalar], dev: bool) {
        let several = losses.iter().filter(|l| !l.node.is_empty()).count() > 1;
        let weight = losses.iter().map(|l| l.weight).fold(0.0, f64::max);
        // An update's batches count alike; dev batches by their frames, so that their cut does not matter.
        let each = if dev { weight } else { 1.0 };
        let total = read_all(losses.iter().map(|l| &l.value))
            .iter()
            .map(|value| value[0] as f64)
            .sum::<f64>();
        self.add("loss", total, each);
        for (loss, (name, value)) in losses
            .iter()
            .flat_map(|l| l.parts.iter().map(move |p| (l, p)))
        {
            let name = if several && !loss.node.is_empty() {
                format!("{}/{name}", loss.node)
            } else {
                name.clone()
            };
            self.add(&name, *value as f64, each);
        }
    }

    fn add(&mut self, name: &str, value: f64, weight: f64) {
        match self.0.iter_mut().find(|(n, ..)| n == name) {
            Some((_, sum, all)) => (*sum, *all) = (*sum + value * weight, *all + weight),
            None => self.0.push((name.to_owned(), value * weight, weight)),
        }
    }

    pub fn finite(&self) -> bool {
        self.0.iter().all(|(_, sum, _)| sum.is_finite())
    }

    /// The means, to begin anew.
    pub fn take(&mut self) -> Vec<(String, f32)> {
        std::mem::take(&mut self.0)
            .into_iter()
            .map(|(n, sum, all)| (n, (sum / all.max(f64::MIN_POSITIVE)) as f32))
            .collect()
    }
}
