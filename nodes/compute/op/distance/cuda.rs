//! [`crate::op::l1`], [`crate::op::mse`], [`crate::op::cosine`], [`crate::op::log_sigmoid_cosine`]: a warp a frame.
use crate::cuda::gpu::{for_rows, gpu};
use crate::cuda::kernels::{self, Pack};
use crate::cuda::sums::add_sum;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, address, record, zeros};
use crate::tensor::{Hidden, NoneTape, Number, Track};

type Target = Hidden<NoneTape, Cuda>;

pub fn l1<T: Track<Cuda>>(student: Hidden<T, Cuda>, target: &Target) -> Number<T, Cuda> {
    mean_over_frames(student, target, 0)
}

pub fn mse<T: Track<Cuda>>(student: Hidden<T, Cuda>, target: &Target) -> Number<T, Cuda> {
    mean_over_frames(student, target, 1)
}

pub fn cosine<T: Track<Cuda>>(student: Hidden<T, Cuda>, target: &Target) -> Number<T, Cuda> {
    mean_over_frames(student, target, 2)
}

pub fn log_sigmoid_cosine<T: Track<Cuda>>(
    student: Hidden<T, Cuda>,
    target: &Target,
) -> Number<T, Cuda> {
    mean_over_frames(student, target, 3)
}

/// `which` as kernels/distance.cu counts them.
fn mean_over_frames<T: Track<Cuda>>(
    student: Hidden<T, Cuda>,
    target: &Target,
    which: usize,
) -> Number<T, Cuda> {
    let ((o, tape), t, width) = (student.split(), target.clone(), target.width());
    assert_eq!(
        (o.width(), &o.spans),
        (width, &t.spans),
        "student and target differ in shape"
    );
    let (frames, [from, to]) = (t.spans.total(), [&o, &t].map(|x| address(&x.values)));
    let (values, y) = (gpu().memory(Precision::F32, frames), zeros(()));
    kernels::distance(
        Pack::of(width),
        for_rows(frames),
        from,
        to,
        values.at(),
        frames,
        width,
        which,
    );
    add_sum(&values, address(&y), frames, 1.0 / frames.max(1) as f64);
    record(y, tape, move |dy, g| {
        let d = g.to(&o.values);
        kernels::distance_backward(
            Pack::of(width),
            for_rows(frames),
            from,
            address(&t.values),
            dy,
            d,
            frames,
            width,
            which,
        );
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS, noise};

    #[test]
    fn distances_are_those_of_the_cpu() {
        for width in [5, 12] {
            let case = Case::new(&ROWS, width, &[]);
            // Away from the student, so that no |o - t| has its corner within the step of a difference.
            let away = noise("t", case.x.spans.total() * width)
                .into_iter()
                .map(|x| x.signum() * 4.0 + x);
            let (away, spans) = (away.collect::<Vec<_>>(), case.x.spans.clone());
            both!(&case, |x, _p, _tape, _precision| l1(
                x,
                &hidden(away.clone(), width, spans.clone())
            ));
            both!(&case, |x, _p, _tape, _precision| mse(
                x,
                &hidden(away.clone(), width, spans.clone())
            ));
            both!(&case, |x, _p, _tape, _precision| cosine(
                x,
                &hidden(away.clone(), width, spans.clone())
            ));
            both!(&case, |x, _p, _tape, _precision| log_sigmoid_cosine(
                x,
                &hidden(away.clone(), width, spans.clone())
            ));
        }
    }
}
