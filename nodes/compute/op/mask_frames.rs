//! y = e in masked frames, x in the others. x, y (frames, width), e (width): the model's mask embedding.
//! dx = dy in the frames that are not masked, de = Σ of dy over those that are.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::parallel::{add, column_sums, copied};
use crate::tensor::cpu::{Hidden, Param, Track, read, record_hidden};

/// `masked` says it of every frame of the batch, row after row.
pub fn mask_frames<T: Track>(x: Hidden<T>, masked: Vec<bool>, e: &Param) -> Hidden<T> {
    let (x, tape) = x.split();
    assert_eq!(
        masked.len(),
        x.spans.total(),
        "a mask has a flag for each frame"
    );
    let (mut y, width, spans) = (copied(x.read()), x.width(), x.spans.clone());
    for (y, _) in y
        .chunks_exact_mut(width)
        .zip(&masked)
        .filter(|(_, masked)| **masked)
    {
        y.copy_from_slice(read(e));
    }
    let e = e.clone();
    record_hidden(y, width, spans, tape, move |mut dy, g| {
        let mut hidden = vec![];
        for (dy, _) in dy
            .chunks_exact_mut(width)
            .zip(&masked)
            .filter(|(_, masked)| **masked)
        {
            hidden.extend_from_slice(dy);
            dy.fill(0.0);
        }
        add(g.of(&e), &column_sums(&hidden, width));
        add(g.of(&x.values), &dy);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, close};

    #[test]
    fn mask_frames_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[width]);
            let masked: Vec<bool> = (0..case.x.spans.total())
                .map(|t| t % 3 == 1 || t > 40)
                .collect();
            let frames = case.frames();
            let frame = |(t, m): (usize, &bool)| -> Vec<f64> {
                if *m {
                    read(&case.p[0]).iter().map(|e| *e as f64).collect()
                } else {
                    frames[t * width..][..width].to_vec()
                }
            };
            let reference: Vec<f64> = masked.iter().enumerate().flat_map(frame).collect();
            close(
                mask_frames(case.x.clone(), masked.clone(), &case.p[0]).read(),
                &reference,
                1e-7,
            );
            case.check(|x, p, _| mask_frames(x, masked.clone(), &p[0]).values);
        }
    }
}
