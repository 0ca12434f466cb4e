//! y = Σ x² / (frames · width), a number: fairseq's penalty on the extractor's features. dx = 2 x / (frames · width) dy.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::math::sum;
use crate::parallel::{map, parts, wide};
use crate::tensor::cpu::{Hidden, Number, Track, record};

/// Numbers that are summed in f32; their sums are added in f64.
const CHUNK: usize = 1 << 12;

/// 0 where there is no frame.
pub fn mean_square<T: Track>(x: Hidden<T>) -> Number<T> {
    let (x, tape) = x.split();
    let unit = 1.0 / x.read().len().max(1) as f64;
    let chunks: Vec<&[f32]> = x.read().chunks(CHUNK).collect();
    let sums = map(chunks.len(), |c| {
        wide!(sum(chunks[c].len(), |i| chunks[c][i] * chunks[c][i])) as f64
    });
    let y = (sums.into_iter().sum::<f64>() * unit) as f32;
    record(vec![y], (), tape, move |dy, g| {
        let scale = 2.0 * dy[0] * unit as f32;
        parts(g.of(&x.values), CHUNK, |c, dx| {
            wide!(
                dx.iter_mut()
                    .zip(&x.read()[c * CHUNK..])
                    .for_each(|(dx, x)| *dx += scale * x)
            );
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, close};
    use crate::tensor::cpu::read;

    #[test]
    fn mean_square_is_its_formula_and_its_gradient() {
        for rows in [&ROWS[..], &[3000], &[]] {
            for width in WIDTHS {
                let case = Case::new(rows, width, &[]);
                let mean = case.frames().iter().map(|x| x * x).sum::<f64>()
                    / case.x.read().len().max(1) as f64;
                close(read(&mean_square(case.x.clone())), &[mean], 1e-6);
                case.check(|x, _, _| mean_square(x));
            }
        }
    }
}
