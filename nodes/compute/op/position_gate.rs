//! The gate of a position bias (WavLM, arXiv:2110.13900; `gru_rel_pos` in transformers): of each frame and head, with x its
//! d numbers of the layer's input, u = w x + b in eight parts, a = σ(u1 + .. + u4), b = σ(u5 + .. + u8):
//!   gate = a (b c - 1) + 2.
//! x (frames, all heads · d), w (8, d), b (8), c (all heads), gate (frames, heads): heads that were pruned have none.
//!
//! Of w and b only the sums of four rows count. da = dgate (b c - 1), db = dgate a c, dc = Σ dgate a b; du as of any σ.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::math::sum;
use crate::parallel::{FRAMES, add, column_sums, parts, parts2, wide};
use crate::tensor::cpu::{Hidden, Param, Track, read, record_hidden};

/// `heads`: which of all heads there are.
pub fn position_gate<T: Track>(x: Hidden<T>, [w, b, c]: [&Param; 3], heads: &[usize]) -> Hidden<T> {
    let (x, tape) = x.split();
    let (width, d, spans) = (x.width(), read(w).len() / 8, x.spans.clone());
    let all = width / d;
    // (2, d), (2)
    let maps: Vec<f32> = read(w)
        .chunks_exact(4 * d)
        .flat_map(|four| column_sums(four, d))
        .collect();
    let offsets: Vec<f32> = read(b)
        .chunks_exact(4)
        .map(|four| four.iter().sum())
        .collect();
    let (heads, xs) = (heads.to_vec(), x.read());

    let mut ab = vec![0.0; spans.total() * heads.len() * 2]; // (frames, heads, 2)
    parts(&mut ab, heads.len() * 2, |frame, ab| {
        wide!(for (i, ab) in ab.iter_mut().enumerate() {
            let (x, map) = (
                &xs[frame * width + heads[i / 2] * d..][..d],
                &maps[i % 2 * d..][..d],
            );
            *ab = sigmoid(sum(d, |i| x[i] * map[i]) + offsets[i % 2]);
        })
    });
    let factors: Vec<f32> = heads.iter().map(|&h| read(c)[h]).collect();
    let gate = |(ab, c): (&[f32], &f32)| ab[0] * (ab[1] * c - 1.0) + 2.0;
    let y = ab
        .chunks_exact(2)
        .zip(factors.iter().cycle())
        .map(gate)
        .collect();

    let ([w, b, c], count) = ([w, b, c].map(Param::clone), heads.len());
    record_hidden(y, count, spans, tape, move |dy, g| {
        // For every chunk of frames: (2, d) of maps, (2) of offsets, (all heads) of c.
        let size = 2 * d + 2 + all;
        let mut sums = vec![0.0; x.spans.total().div_ceil(FRAMES) * size];
        let xs = x.read();
        parts2(
            (g.of(&x.values), FRAMES * width),
            (&mut sums, size),
            |part, dx, sums| {
                let (dmaps, rest) = sums.split_at_mut(2 * d);
                let (doffsets, dc) = rest.split_at_mut(2);
                wide!(for (frame, dx) in dx.chunks_exact_mut(width).enumerate() {
                    for (i, &h) in heads.iter().enumerate() {
                        let at = (part * FRAMES + frame) * heads.len() + i;
                        let (dy, a, b) = (dy[at], ab[2 * at], ab[2 * at + 1]);
                        dc[h] += dy * a * b;
                        let du = [
                            dy * (b * factors[i] - 1.0) * a * (1.0 - a),
                            dy * a * factors[i] * b * (1.0 - b),
                        ];
                        let (x, dx) = (
                            &xs[(part * FRAMES + frame) * width + h * d..][..d],
                            &mut dx[h * d..][..d],
                        );
                        for (j, du) in du.into_iter().enumerate() {
                            doffsets[j] += du;
                            dmaps[j * d..][..d]
                                .iter_mut()
                                .zip(x)
                                .for_each(|(dmap, x)| *dmap += du * x);
                            dx.iter_mut()
                                .zip(&maps[j * d..])
                                .for_each(|(dx, map)| *dx += du * map);
                        }
                    }
                })
            },
        );
        let sums = column_sums(&sums, size);
        let (dmaps, rest) = sums.split_at(2 * d);
        g.of(&w)
            .chunks_exact_mut(d)
            .enumerate()
            .for_each(|(i, dw)| add(dw, &dmaps[i / 4 * d..][..d]));
        g.of(&b)
            .iter_mut()
            .enumerate()
            .for_each(|(i, db)| *db += rest[i / 4]);
        add(g.of(&c), &rest[2..]);
    })
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, affine, close};

    #[test]
    fn position_gate_is_its_formula_and_its_gradient() {
        let sigmoid = |u: &[f64]| 1.0 / (1.0 + (-u.iter().sum::<f64>()).exp());
        for (all, d, heads) in [(3, 5, vec![0, 1, 2]), (4, 18, vec![3, 1]), (2, 4, vec![0])] {
            let case = Case::new(&ROWS, all * d, &[8 * d, 8, all]);
            let p = &case.p;
            let x = case.frames();
            let gate = |frame: &[f64], h: usize| {
                let u = affine(&frame[h * d..][..d], d, &p[0], &p[1]);
                sigmoid(&u[..4]) * (sigmoid(&u[4..]) * read(&p[2])[h] as f64 - 1.0) + 2.0
            };
            let reference: Vec<f64> = x
                .chunks(all * d)
                .flat_map(|frame| heads.iter().map(|&h| gate(frame, h)).collect::<Vec<_>>())
                .collect();
            close(
                position_gate(case.x.clone(), [&p[0], &p[1], &p[2]], &heads).read(),
                &reference,
                1e-5,
            );
            case.check(|x, p, _| position_gate(x, [&p[0], &p[1], &p[2]], &heads).values);
        }
        Case::new(&[150, 40], 10, &[40, 8, 2])
            .check(|x, p, _| position_gate(x, [&p[0], &p[1], &p[2]], &[1]).values);
    }
}
