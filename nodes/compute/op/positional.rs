//! y = x + GELU(u) with u = conv(x, W) + b, row by row: groups of channels, k taps, k / 2 zero
//! frames around, an even k's last frame dropped.
//! Weight norm: `W[:, :, t] = g[t] v[:, :, t] / ‖v[:, :, t]‖`.
//! x, y, u (frames, width), v (width, width / groups, k), g (k), b (width).
//!
//! With du = dy ∘ GELU'(u) and dW the gradient of W:
//!   db = Σ du, dg = Σ dW ∘ v / ‖v‖, dv = g / ‖v‖ (dW - v dg / ‖v‖),
//!   dx = dy + the convolution of du with W, in and out exchanged and the taps reversed.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::gemm::Precision;
use crate::tensor::{
    DeviceStorage, Grads, Hidden, Matrix, NoneTape, Param, Spans, Track, len, record_hidden,
};

/// What a device must do for [`positional`]; parameters are g, v and b.
pub trait PositionalDevice: DeviceStorage {
    /// What the backward pass needs beside x and the parameters.
    type Saved: 'static;

    /// Returns y.
    fn forward(
        conv: &PositionalConv,
        x: &Matrix<NoneTape, Self>,
        parameters: [&Param<Self>; 3],
    ) -> (Matrix<NoneTape, Self>, Self::Saved);

    /// Adds to the gradients of x and the parameters.
    fn backward(
        conv: &PositionalConv,
        dy: Self::Upstream,
        x: &Matrix<NoneTape, Self>,
        parameters: [&Param<Self>; 3],
        saved: Self::Saved,
        g: &mut Grads<Self>,
    );
}

/// Shape and precision of the convolution.
pub struct PositionalConv {
    spans: Spans,
    width: usize,
    groups: usize,
    /// Number of taps.
    k: usize,
    precision: Precision,
}

impl PositionalConv {
    /// Returns the channels of a group.
    fn channels(&self) -> usize {
        self.width / self.groups
    }

    /// Returns the zero frames before a row.
    fn before(&self) -> usize {
        self.k / 2
    }

    /// Returns the shape of x and y.
    fn shape(&self) -> (usize, usize) {
        (self.spans.total(), self.width)
    }
}

/// Adds positions to features: a grouped convolution with weight norm and GELU, and its input.
pub fn positional<T: Track<D>, D: PositionalDevice>(
    x: Hidden<T, D>,
    parameters: [&Param<D>; 3],
    groups: usize,
    precision: Precision,
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let conv = PositionalConv {
        spans: x.spans.clone(),
        width: x.width(),
        groups,
        k: len(parameters[0]),
        precision,
    };
    let (y, saved) = D::forward(&conv, &x.values, parameters);
    let parameters = parameters.map(Param::clone);
    record_hidden(y, x.spans, tape, move |dy, g| {
        D::backward(&conv, dy, &x.values, parameters.each_ref(), saved, g);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{self, Case, ROWS, check_op, close};
    use crate::tensor::cpu::read;

    fn case(width: usize, groups: usize, k: usize) -> Case {
        Case::new(&ROWS, width, &[k, width * width / groups * k, width])
    }

    fn reference(case: &Case, groups: usize, k: usize) -> Vec<f64> {
        let width = case.x.width();
        let channels = width / groups;
        let gain = read(&case.p[0]);
        let v = read(&case.p[1]);
        let bias = read(&case.p[2]);
        let norm = |t: usize| {
            let squares = v.iter().skip(t).step_by(k).map(|v| (*v as f64).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let norms: Vec<f64> = (0..k).map(norm).collect();
        let x = case.frames();
        let mut y = vec![];
        for row in case.x.spans.iter() {
            for (t, o) in row.clone().flat_map(|t| (0..width).map(move |o| (t, o))) {
                let mut u = bias[o] as f64;
                for (i, j) in (0..channels).flat_map(|i| (0..k).map(move |j| (i, j))) {
                    let frame = (t + j).wrapping_sub(k / 2);
                    if row.contains(&frame) {
                        let direction = v[(o * channels + i) * k + j] as f64;
                        let weight = direction * gain[j] as f64 / norms[j];
                        u += weight * x[frame * width + o / channels * channels + i];
                    }
                }
                y.push(x[t * width + o] + check::gelu(u));
            }
        }
        y
    }

    #[test]
    fn positional_is_its_formula_and_its_gradient() {
        for (width, groups, k) in [
            (6, 2, 4),
            (10, 5, 8),
            (6, 3, 3),
            (7, 1, 5),
            (4, 2, 1),
            (8, 2, 19),
            (7, 1, 40),
        ] {
            let case = case(width, groups, k);
            let parameters = [&case.p[0], &case.p[1], &case.p[2]];
            let y = positional(case.x.clone(), parameters, groups, Precision::F32);
            close(y.read(), &reference(&case, groups, k), 1e-5);
            check_op!(case, |x, p, _, precision| {
                positional(x, [&p[0], &p[1], &p[2]], groups, precision).values
            });
        }
    }
}
