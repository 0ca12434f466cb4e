//! A layer norm whose closed channels are gone, and the linear map after it:
//! y = W (γ ∘ x̂ + β) + p folded + b with p = -m r.
//! x (frames, in), γ, β (in), W (out, in), b, folded (out), p (frames), y (frames, out).
//!
//! m and r are those of `norm_width` channels of which only x's are not zero. A closed channel c is
//! x̂ = -m r after the norm: folded = Σ W_c γ_c over the closed ones carries that, b the closed
//! Σ W_c β_c. Exact, not an approximation.
//! dfolded = Σ p dy, dp = dy · folded; the rest is that of [`super::layer_norm`] and
//! [`super::linear`]. `precision` is that of W's products; those of `folded` are small, and in f32.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::layer_norm::LayerNormDevice;
use super::passes::{Affine, Passes};
use crate::gemm::Precision;
use crate::tensor::{Grads, Hidden, Matrix, NoneTape, Param, Track, len, record_hidden};

/// What a device must do for [`norm_projection`].
pub trait NormProjectionDevice: LayerNormDevice + Passes {
    /// Normalises x as if zeros filled it up to `norm_width` channels.
    fn normalise(
        x: &Matrix<NoneTape, Self>,
        gamma_beta: [&Param<Self>; 2],
        eps: f32,
        norm_width: usize,
        precision: Precision,
    ) -> Normalised<Self>;
    /// Returns y.
    fn project(
        precision: Precision,
        normalised: &Normalised<Self>,
        w: &Self::Operand,
        b: &Param<Self>,
        folded: &Param<Self>,
        shape: Affine,
    ) -> Matrix<NoneTape, Self>;

    /// Adds Σ p dy to dfolded.
    fn add_folded_gradient(
        p: &Self::Operand,
        dy: &Self::Operand,
        shape: Affine,
        dfolded: Self::Accumulator<'_>,
    );
    /// Returns dp = dy · folded.
    fn share_gradient(dy: &Self::Operand, folded: &Param<Self>, shape: Affine) -> Self::Operand;
    /// Returns dh = dy w in f32, (frames, in).
    fn input_gradient(
        precision: Precision,
        dy: &Self::Operand,
        w: &Self::Operand,
        shape: Affine,
    ) -> Self::Operand;
    /// Adds to the gradients of x, γ and β, from [dh, dp].
    fn add_norm_gradient(
        dh_dp: [Self::Operand; 2],
        x: &Matrix<NoneTape, Self>,
        gamma_beta: [&Param<Self>; 2],
        norm_width: usize,
        saved: &Self::Saved,
        g: &mut Grads<Self>,
    );
}

/// A norm's result as factors of products.
pub struct Normalised<D: LayerNormDevice + Passes> {
    /// γ ∘ x̂ + β in the format of W's products.
    h: D::Operand,
    /// -m r of each frame, in f32.
    p: D::Operand,
    saved: D::Saved,
}

/// Normalises each frame over `norm_width` channels and applies a linear map to it.
pub fn norm_projection<T: Track<D>, D: NormProjectionDevice>(
    x: Hidden<T, D>,
    [gamma, beta, w, b, folded]: [&Param<D>; 5],
    eps: f32,
    norm_width: usize,
    precision: Precision,
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let shape = Affine {
        frames: x.spans.total(),
        width: x.width(),
        out: len(b),
    };
    let normalised = D::normalise(&x.values, [gamma, beta], eps, norm_width, precision);
    let weight = D::weight(precision, w);
    let y = D::project(precision, &normalised, &weight, b, folded, shape);

    let [gamma, beta, w, b, folded] = [gamma, beta, w, b, folded].map(Param::clone);
    record_hidden(y, x.spans, tape, move |dy, g| {
        let Normalised { h, p, saved } = normalised;
        let dy = D::gradient(precision, dy, shape.frames * shape.out);
        D::add_bias_gradient(&dy, shape, g.of(&b));
        D::add_weight_gradient(precision, &dy, &h, shape, g.of(&w));
        D::add_folded_gradient(&p, &dy, shape, g.of(&folded));
        let dp = D::share_gradient(&dy, &folded, shape);
        let dh = D::input_gradient(precision, &dy, &weight, shape);
        D::add_norm_gradient([dh, dp], &x.values, [&gamma, &beta], norm_width, &saved, g);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{self, Case, ROWS, WIDTHS, check_op, close, norm};
    use crate::tensor::cpu::{hidden, param, read};

    const OUT: usize = 17;

    fn case(width: usize, out: usize) -> Case {
        Case::new(&ROWS, width, &[width, width, out * width, out, out])
    }

    #[test]
    fn norm_projection_is_its_formula_and_its_gradient() {
        for (width, over) in WIDTHS.into_iter().flat_map(|w| [(w, w), (w, w + 9)]) {
            let case = case(width, OUT);
            let p = &case.p;
            let mut reference = vec![];
            for x in case.frames().chunks(width) {
                let (h, mean, rstd) = norm(x, &p[0], &p[1], 1e-2, over);
                let projected = check::affine(&h, width, &p[2], &p[3]);
                for (y, folded) in projected.into_iter().zip(read(&p[4])) {
                    reference.push(y - mean * rstd * *folded as f64);
                }
            }
            let parameters = [&p[0], &p[1], &p[2], &p[3], &p[4]];
            let y = norm_projection(case.x.clone(), parameters, 1e-2, over, Precision::F32);
            close(y.read(), &reference, 1e-5);
        }
        for (width, over, out) in [
            (5, 5, OUT),
            (5, 14, OUT),
            (7, 7, OUT),
            (7, 16, OUT),
            (11, 11, OUT),
            (11, 20, OUT),
            (5, 5, 12),
            (5, 14, 12),
            (8, 12, 12),
        ] {
            check_op!(case(width, out), |x, p, _, precision| {
                let parameters = [&p[0], &p[1], &p[2], &p[3], &p[4]];
                norm_projection(x, parameters, 1e-2, over, precision).values
            });
        }
    }

    /// Zero channels may as well be absent.
    #[test]
    fn closed_channels_fold_away() {
        let width = 11;
        let open = 6;
        let case = Case::new(&ROWS, open, &[width, width, OUT * width, OUT]);
        let p = &case.p;
        let frames = case.x.read().chunks(open);
        let padded = frames.flat_map(|x| [x, &[0.0; 5]].concat()).collect();
        let full = hidden(padded, width, case.x.spans.clone());
        let zero = param(vec![0.0; OUT]);
        let parameters = [&p[0], &p[1], &p[2], &p[3], &zero];
        let dense = norm_projection(full, parameters, 1e-5, width, Precision::F32);

        let gamma = read(&p[0]);
        let beta = read(&p[1]);
        let w = read(&p[2]);
        let closed = |norm: &[f32], o: usize| {
            (open..width)
                .map(|c| w[o * width + c] * norm[c])
                .sum::<f32>()
        };
        let small = [
            gamma[..open].to_vec(),
            beta[..open].to_vec(),
            w.chunks(width).flat_map(|w| w[..open].to_vec()).collect(),
            (0..OUT).map(|o| read(&p[3])[o] + closed(beta, o)).collect(),
            (0..OUT).map(|o| closed(gamma, o)).collect(),
        ]
        .map(param);
        let y = norm_projection(
            case.x.clone(),
            small.each_ref(),
            1e-5,
            width,
            Precision::F32,
        );
        let reference: Vec<f64> = dense.read().iter().map(|y| *y as f64).collect();
        close(y.read(), &reference, 1e-5);
    }
}
