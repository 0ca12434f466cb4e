//! Weights of frozen models, packed once for all products with them, which then are in memory in this
//! form alone.
//!
//! A parameter of one number, a NaN, stands in place of the weight: whatever does not ask for the packed
//! form cannot take it for a weight.
use super::Passes;
use crate::gemm::{PackedWeight, Precision};
use crate::tensor::cpu::{Param, param, read};
use crate::tensor::{Param as DeviceParam, len};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};

/// Packed weights. A placeholder works while this value or a clone of it lives.
#[derive(Clone, Default)]
pub struct PackedWeights(Vec<Arc<PackedParameter>>);

/// A weight in its packed form.
pub struct PackedParameter {
    /// Keeps the address of its number from being reused.
    placeholder: Param,
    weight: PackedWeight,
}

/// By the address of the placeholder's number.
static PACKED: RwLock<Option<HashMap<usize, Weak<PackedParameter>>>> = RwLock::new(None);

fn packed() -> RwLockReadGuard<'static, Option<HashMap<usize, Weak<PackedParameter>>>> {
    PACKED.read().unwrap_or_else(PoisonError::into_inner)
}

fn address(placeholder: &Param) -> usize {
    read(placeholder).as_ptr() as usize
}

impl PackedWeights {
    /// Packs w (out, width) for products x wᵀ of linear maps and feed-forward layers in this precision,
    /// and puts a placeholder for it in its place. On a device whose products take weights as they are
    /// w stays.
    pub fn pack<D: Passes>(
        &mut self,
        precision: Precision,
        out: usize,
        width: usize,
        w: &mut DeviceParam<D>,
    ) {
        D::pack(self, precision, [out, width], w);
    }

    /// Packs a weight in the host's memory.
    pub(super) fn pack_on_cpu(
        &mut self,
        precision: Precision,
        [out, width]: [usize; 2],
        w: &mut Param,
    ) {
        let Some(weight) = PackedWeight::new(precision, out, width, read(w)) else {
            return;
        };
        let placeholder = param(vec![f32::NAN]);
        *w = placeholder.clone();
        let weight = Arc::new(PackedParameter {
            placeholder,
            weight,
        });
        let mut packed = PACKED.write().unwrap_or_else(PoisonError::into_inner);
        packed
            .get_or_insert_default()
            .insert(address(w), Arc::downgrade(&weight));
        self.0.push(weight);
    }
}

impl PackedParameter {
    /// Returns the packed form of a weight, if `w` stands for one.
    pub(crate) fn find(w: &Param) -> Option<Arc<PackedParameter>> {
        if len(w) != 1 {
            return None;
        }
        packed().as_ref()?.get(&address(w))?.upgrade()
    }

    /// Returns the packed form.
    pub(crate) fn weight(&self) -> &PackedWeight {
        &self.weight
    }
}

impl Drop for PackedParameter {
    fn drop(&mut self) {
        let mut packed = PACKED.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(packed) = packed.as_mut() {
            packed.remove(&address(&self.placeholder));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Dropout;
    use crate::op::check::noise;
    use crate::op::{feed_forward, linear};
    use crate::tensor::Spans;
    use crate::tensor::cpu::{Hidden, hidden};

    fn bits(x: &Hidden) -> Vec<u32> {
        x.read().iter().map(|x| x.to_bits()).collect()
    }

    /// Widths that are no multiples of a tile, rows from one to more than a thread's part.
    #[test]
    fn products_are_those_of_the_weight() {
        for (frames, width, inner) in [(1, 5, 17), (150, 40, 90), (300, 33, 1)] {
            let x = hidden(noise("x", frames * width), width, Spans::new([frames]));
            let weights = [inner * width, inner, width * inner, width];
            let weights = weights.map(|n| param(noise("w", n)));
            for precision in [Precision::F32, Precision::Bf16] {
                let results = |w: &[Param; 4]| {
                    let y = linear(x.clone(), &w[0], &w[1], precision);
                    let drop = Dropout::NONE;
                    let z = feed_forward(x.clone(), w.each_ref(), None, drop, precision);
                    [bits(&y), bits(&z.whole())]
                };
                let mut kept = PackedWeights::default();
                let mut packed = weights.clone();
                kept.pack(precision, inner, width, &mut packed[0]);
                kept.pack(precision, width, inner, &mut packed[2]);
                assert!(
                    results(&packed) == results(&weights),
                    "{frames} {width} {inner}"
                );
            }
        }
    }

    #[test]
    fn a_placeholder_stands_for_a_weight_as_long_as_that_is_kept() {
        let mut kept = PackedWeights::default();
        let mut w = param(noise("w", 12));
        kept.pack(Precision::F32, 3, 4, &mut w);
        if len(&w) == 12 {
            return; // nothing is packed on this machine
        }
        assert!(read(&w)[0].is_nan());
        assert!(PackedParameter::find(&w).is_some());
        assert!(PackedParameter::find(&param(vec![f32::NAN])).is_none());
        let again = kept.clone();
        drop(kept);
        assert!(PackedParameter::find(&w.clone()).is_some());
        drop(again);
        assert!(PackedParameter::find(&w).is_none());
    }
}
