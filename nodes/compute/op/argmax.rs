//! The index of the largest number of each frame, of equal ones the first. x (frames, width).
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Track, split};

/// What a device must do for [`argmax`].
pub trait ArgmaxDevice: DeviceStorage {
    /// Returns an index for each row of x.
    fn argmax(x: &Matrix<NoneTape, Self>) -> Vec<usize>;
}

/// Returns the index of the largest number of each frame.
pub fn argmax<T: Track<D>, D: ArgmaxDevice>(x: &Hidden<T, D>) -> Vec<usize> {
    let (values, _) = split(x.values.clone());
    D::argmax(&values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::noise;
    use crate::tensor::{Spans, cpu};

    #[test]
    fn argmax_is_the_first_of_the_largest() {
        for width in [1, 7, 40, 100] {
            let x: Vec<f32> = noise("x", 9 * width)
                .iter()
                .map(|x| (x * 8.0).round())
                .collect();
            let spans = Spans::new([4, 0, 5]);
            let first_of_largest = |frame: &[f32]| {
                let largest = frame.iter().copied().fold(f32::MIN, f32::max);
                frame.iter().position(|x| *x == largest).expect("a number")
            };
            let reference: Vec<usize> = x.chunks(width).map(first_of_largest).collect();
            let on_cpu = cpu::hidden(x.clone(), width, spans.clone());
            assert_eq!(argmax(&on_cpu), reference);
            #[cfg(feature = "cuda")]
            assert_eq!(
                argmax(&crate::tensor::cuda::hidden(x, width, spans)),
                reference
            );
        }
    }
}
