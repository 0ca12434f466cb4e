//! The place of the largest number of each frame; of equal ones the first. x (frames, width).
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::parallel::{map, wide};
use crate::tensor::cpu::Hidden;

pub fn argmax<T>(x: &Hidden<T>) -> Vec<usize> {
    let (numbers, width) = (x.read(), x.width());
    map(x.spans.total(), |t| {
        wide!(crate::math::argmax(&numbers[t * width..(t + 1) * width]))
    })
}
