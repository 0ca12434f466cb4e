//! A layer of long short-term memory (Hochreiter and Schmidhuber 1997, forget gate by Gers et al.
//! 2000), as PyTorch's. In each row, from h = c = 0:
//!   i, f, g, o = σ, σ, tanh, σ of the quarters of w_ih x_t + b_ih + w_hh h_{t-1} + b_hh
//!   c_t = f ∘ c_{t-1} + i ∘ g,   h_t = o ∘ tanh(c_t)
//! A second direction goes from the last frame of a row to its first, with weights of its own.
//! x (frames, in), w_ih (4 H, in), w_hh (4 H, H), b_ih, b_hh (4 H), y (frames, directions · H): h
//! of all directions side by side.
//!
//! w_ih x is one GEMM over all frames, in `precision` as those at the end are; the recurrence is
//! f32. In it the rows run side by side, the longest first, so that those which still run are the
//! first n: a step is one GEMM h w_hhᵀ, (n, 4 H). Gates, h_{t-1} and c_{t-1} are saved. Backward
//! goes through the steps from the last, with dh, dc from the step after:
//!   dh += dy, dc += dh ∘ o ∘ (1 - tanh²(c_t)),
//!   do = dh ∘ tanh(c_t), di = dc ∘ g, dg = dc ∘ i, df = dc ∘ c_{t-1}
//! and, with dz these four times the slopes of σ and tanh, dh = dz w_hh and dc = dc ∘ f for the
//! step before. At the end
//!   dw_ih = dzᵀ x, dw_hh = dzᵀ h_{t-1}, db_ih = db_hh = Σ dz, dx = dz w_ih.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::passes::{Affine, Passes};
use crate::gemm::Precision;
use crate::tensor::{
    Grads, Hidden, Matrix, NoneTape, Param, Slot, Spans, Track, len, record_hidden,
};

/// What a device must do for [`lstm`], beside passes.
pub trait LstmDevice: Passes {
    /// Gates, h_{t-1} and c_{t-1} of each direction.
    type Saved: 'static;

    /// Returns y. `shape` is that of w_ih x.
    fn forward(
        precision: Precision,
        x: &Self::Operand,
        directions: &[Direction<Self>],
        spans: &Spans,
        shape: Affine,
    ) -> (Matrix<NoneTape, Self>, Self::Saved);

    /// Goes through the steps of all directions from the last, and replaces the gates by dz.
    fn backward(dy: Self::Upstream, directions: &[Direction<Self>], saved: &mut Self::Saved);

    /// Takes dz and h_{t-1} of a direction, as factors of GEMMs that end before `saved` is dropped.
    fn take_factors(
        precision: Precision,
        saved: &mut Self::Saved,
        direction: usize,
    ) -> [Self::Operand; 2];

    /// Adds Σ dz to the gradients of both biases. `shape` is that of w_ih x.
    fn add_bias_gradients(
        dz: &Self::Operand,
        shape: Affine,
        biases: [&Param<Self>; 2],
        g: &mut Grads<Self>,
    );
}

/// The weights of one direction.
pub struct Direction<D: Passes> {
    w_ih: Param<D>,
    w_hh: Param<D>,
    b_ih: Param<D>,
    b_hh: Param<D>,
    /// w_ih as a factor.
    input_weight: D::Operand,
}

/// Applies the layer to every row.
///
/// `directions` are w_ih, w_hh, b_ih and b_hh of the forward direction and, if there are two, of
/// the reversed one.
pub fn lstm<T: Track<D>, D: LstmDevice>(
    x: Hidden<T, D>,
    directions: &[[&Param<D>; 4]],
    precision: Precision,
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let units = len(directions[0][3]) / 4;
    let input = Affine {
        frames: x.spans.total(),
        width: x.width(),
        out: 4 * units,
    };
    let recurrent = Affine {
        width: units,
        ..input
    };
    let rows = D::operand(precision, &x.values);
    let directions: Vec<Direction<D>> = directions
        .iter()
        .map(|[w_ih, w_hh, b_ih, b_hh]| Direction {
            w_ih: (*w_ih).clone(),
            w_hh: (*w_hh).clone(),
            b_ih: (*b_ih).clone(),
            b_hh: (*b_hh).clone(),
            input_weight: D::weight(precision, w_ih),
        })
        .collect();
    let (y, mut saved) = D::forward(precision, &rows, &directions, &x.spans, input);

    let slot = Slot::of(&x.values);
    record_hidden(y, x.spans, tape, move |dy, g| {
        D::backward(dy, &directions, &mut saved);
        for (d, direction) in directions.iter().enumerate() {
            let [dz, h] = D::take_factors(precision, &mut saved, d);
            D::add_weight_gradient(precision, &dz, &rows, input, g.of(&direction.w_ih));
            D::add_weight_gradient(precision, &dz, &h, recurrent, g.of(&direction.w_hh));
            D::add_bias_gradients(&dz, input, [&direction.b_ih, &direction.b_hh], g);
            D::add_input_gradient(precision, &dz, &direction.input_weight, input, g.at(&slot));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, affine, check_op, close};
    use crate::tensor::cpu::{self, read};

    /// Returns input and two directions of `units`, with weights as large as before training.
    fn case(width: usize, units: usize) -> Case {
        let sizes = [4 * units * width, 4 * units * units, 4 * units, 4 * units];
        Case::new(&ROWS, width, &[sizes, sizes].concat()).scaled(0.6 / (units as f32).sqrt())
    }

    fn directions<D: LstmDevice>(p: &[Param<D>], count: usize) -> Vec<[&Param<D>; 4]> {
        p.chunks_exact(4)
            .take(count)
            .map(|p| [&p[0], &p[1], &p[2], &p[3]])
            .collect()
    }

    fn definition(case: &Case, directions: &[[&cpu::Param; 4]]) -> Vec<f64> {
        let input = case.x.width();
        let units = read(directions[0][2]).len() / 4;
        let width = directions.len() * units;
        let x = case.frames();
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let mut y = vec![0.0; case.x.spans.total() * width];
        for (d, [w_ih, w_hh, b_ih, b_hh]) in directions.iter().enumerate() {
            for row in case.x.spans.iter() {
                let mut h = vec![0.0; units];
                let mut c = vec![0.0; units];
                for t in 0..row.len() {
                    let frame = if d == 1 {
                        row.end - 1 - t
                    } else {
                        row.start + t
                    };
                    let of_input = affine(&x[frame * input..][..input], input, w_ih, b_ih);
                    let of_state = affine(&h, units, w_hh, b_hh);
                    let z: Vec<f64> = of_input.iter().zip(of_state).map(|(a, b)| a + b).collect();
                    for k in 0..units {
                        let [i, f, g, o] = [0, 1, 2, 3].map(|quarter| z[quarter * units + k]);
                        c[k] = sigmoid(f) * c[k] + sigmoid(i) * g.tanh();
                        h[k] = sigmoid(o) * c[k].tanh();
                    }
                    y[frame * width + d * units..][..units].copy_from_slice(&h);
                }
            }
        }
        y
    }

    #[test]
    fn lstm_is_its_formula_and_its_gradient() {
        for (width, units) in [(5, 3), (7, 17), (11, 6), (8, 12)] {
            let case = case(width, units);
            for count in [1, 2] {
                let weights = directions(&case.p, count);
                let y = lstm(case.x.clone(), &weights, Precision::F32);
                close(y.read(), &definition(&case, &weights), 1e-5);
                check_op!(case, |x, p, _, precision| {
                    lstm(x, &directions(p, count), precision).values
                });
                let run = |precision| {
                    case.run(|x, p, _| lstm(x, &directions(p, count), precision).values)
                };
                let reference = run(Precision::F32);
                for (narrow, reference) in run(Precision::Bf16).iter().zip(reference) {
                    let reference: Vec<f64> = reference.iter().map(|x| *x as f64).collect();
                    close(narrow, &reference, 2e-2);
                }
            }
        }
    }
}
