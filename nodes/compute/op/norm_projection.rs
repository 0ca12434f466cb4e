//! A layer norm whose closed channels are gone, and the linear map behind it: y = W (γ ∘ x̂ + β) - m r folded + b.
//! x (frames, in), γ, β (in), W (out, in), b, folded (out), y (frames, out).
//!
//! m and r are those of `norm_width` channels of which only x's are not zero. A closed channel c is x̂ = -m r after the
//! norm: folded = Σ W_c γ_c over the closed ones carries that, b the closed Σ W_c β_c. Exact, not an approximation.
//! With p = -m r: dfolded = Σ p dy, dp = dy · folded; the rest is that of [`super::layer_norm`] and [`super::linear`].
//! `precision` is that of W's products; those of `folded` are small, and f32.
#[cfg(feature = "cuda")]
pub mod cuda;
use super::layer_norm::cpu as layer_norm;
use super::passes::cpu::{affine, weight_gradient};
use crate::gemm::{Epilogue, Out, Precision, Shape, View, gemm, product};
use crate::parallel::{add, column_sums};
use crate::tensor::cpu::{Hidden, Param, Track, read, record_hidden};

pub fn norm_projection<T: Track>(
    x: Hidden<T>,
    [gamma, beta, w, b, folded]: [&Param; 5],
    eps: f32,
    norm_width: usize,
    precision: Precision,
) -> Hidden<T> {
    let (x, tape) = x.split();
    let (frames, width, out) = (x.spans.total(), x.width(), read(b).len());
    let (h, stats) = layer_norm::forward(x.read(), [read(gamma), read(beta)], eps, norm_width);
    let p: Vec<f32> = stats.chunks_exact(2).map(|s| -s[0] * s[1]).collect();
    let mut y = affine(
        precision,
        &h,
        read(w),
        read(b),
        Shape {
            m: frames,
            n: out,
            k: width,
        },
    );
    let outer = Shape {
        m: frames,
        n: out,
        k: 1,
    };
    gemm(
        Precision::F32,
        outer,
        View::rows(&p, 1),
        View::rows(read(folded), out),
        Out::add(&mut y, out),
    );

    let ([gamma, beta, w, b, folded], spans) = (
        [gamma, beta, w, b, folded].map(Param::clone),
        x.spans.clone(),
    );
    record_hidden(y, out, spans, tape, move |dy, g| {
        add(g.of(&b), &column_sums(&dy, out));
        weight_gradient(
            precision,
            &dy,
            &h,
            Out::add(g.of(&w), width),
            Shape {
                m: out,
                n: width,
                k: frames,
            },
        );
        weight_gradient(
            Precision::F32,
            &p,
            &dy,
            Out::add(g.of(&folded), out),
            Shape {
                m: 1,
                n: out,
                k: frames,
            },
        );
        let (rows, along) = (
            View::rows(&dy, out),
            Shape {
                m: frames,
                n: 1,
                k: out,
            },
        );
        let dp = product(
            Precision::F32,
            along,
            rows,
            View::rows(read(&folded), 1),
            Epilogue::None,
        );
        let dh = product(
            precision,
            Shape { n: width, ..along },
            rows,
            View::rows(read(&w), width),
            Epilogue::None,
        );
        let dx = g.of(&x.values);
        let sums = layer_norm::backward(
            &dh,
            x.read(),
            &stats,
            read(&gamma),
            norm_width,
            Some(&dp),
            dx,
        );
        add(g.of(&gamma), &sums[..width]);
        add(g.of(&beta), &sums[width..]);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check;
    use crate::op::check::{Case, ROWS, WIDTHS, close, norm};
    use crate::tensor::cpu::hidden;

    const OUT: usize = 17;

    #[test]
    fn norm_projection_is_its_formula_and_its_gradient() {
        for (width, over) in WIDTHS.into_iter().flat_map(|w| [(w, w), (w, w + 9)]) {
            let case = Case::new(&ROWS, width, &[width, width, OUT * width, OUT, OUT]);
            let p = &case.p;
            let mut reference = vec![];
            for x in case.frames().chunks(width) {
                let (h, mean, rstd) = norm(x, &p[0], &p[1], 1e-2, over);
                let y = check::affine(&h, width, &p[2], &p[3])
                    .into_iter()
                    .zip(read(&p[4]));
                reference.extend(y.map(|(y, folded)| y - mean * rstd * *folded as f64));
            }
            let five = |p: &[Param]| std::array::from_fn::<Param, 5, _>(|i| p[i].clone());
            close(
                norm_projection(
                    case.x.clone(),
                    five(p).each_ref(),
                    1e-2,
                    over,
                    Precision::F32,
                )
                .read(),
                &reference,
                1e-5,
            );
            case.check(|x, p, _| {
                norm_projection(x, five(p).each_ref(), 1e-2, over, Precision::F32).values
            });
        }
    }

    /// Channels that are zero may as well be absent.
    #[test]
    fn closed_channels_fold_away() {
        let (width, kept) = (11, 6);
        let case = Case::new(&ROWS, kept, &[width, width, OUT * width, OUT]);
        let full: Vec<f32> = case
            .x
            .read()
            .chunks(kept)
            .flat_map(|x| [x, &[0.0; 5]].concat())
            .collect();
        let full = hidden(full, width, case.x.spans.clone());
        let zero = crate::tensor::cpu::param(vec![0.0; OUT]);
        let p = &case.p;
        let dense = norm_projection(
            full,
            [&p[0], &p[1], &p[2], &p[3], &zero],
            1e-5,
            width,
            Precision::F32,
        );
        let [gamma, beta, w] = [0, 1, 2].map(|i| read(&p[i]));
        let closed = |norm: &[f32], o: usize| {
            (kept..width)
                .map(|c| w[o * width + c] * norm[c])
                .sum::<f32>()
        };
        let small = [
            gamma[..kept].to_vec(),
            beta[..kept].to_vec(),
            w.chunks(width).flat_map(|w| w[..kept].to_vec()).collect(),
            (0..OUT).map(|o| read(&p[3])[o] + closed(beta, o)).collect(),
            (0..OUT).map(|o| closed(gamma, o)).collect(),
        ]
        .map(crate::tensor::cpu::param);
        let y = norm_projection(
            case.x.clone(),
            small.each_ref(),
            1e-5,
            width,
            Precision::F32,
        );
        close(
            y.read(),
            &dense.read().iter().map(|y| *y as f64).collect::<Vec<_>>(),
            1e-5,
        );
    }
}
