//! [`crate::op::argmax`]: a warp a frame; a place comes back for each.
use crate::cuda::gpu::for_rows;
use crate::cuda::kernels;
use crate::tensor::cuda::{Cuda, address, read, zeros};
use crate::tensor::{Hidden, Track, split};

pub fn argmax<T: Track<Cuda>>(hidden: &Hidden<T, Cuda>) -> Vec<usize> {
    let (x, _) = split(hidden.values.clone());
    let (frames, width) = (hidden.spans.total(), hidden.width());
    let places = zeros((frames,));
    kernels::argmax(
        for_rows(frames),
        address(&x),
        address(&places),
        frames,
        width,
    );
    read(&places).into_iter().map(|at| at as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::noise;
    use crate::op::cpu;
    use crate::tensor::{Spans, cpu as on_cpu, cuda};

    #[test]
    fn places_are_those_of_the_cpu() {
        for width in [1, 7, 40, 100] {
            let x: Vec<f32> = noise("x", 9 * width)
                .iter()
                .map(|x| (x * 8.0).round())
                .collect();
            let spans = Spans::new([4, 0, 5]);
            let own = argmax(&cuda::hidden(x.clone(), width, spans.clone()));
            assert_eq!(own, cpu::argmax(&on_cpu::hidden(x, width, spans)));
        }
    }
}
