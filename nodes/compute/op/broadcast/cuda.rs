//! [`crate::op::broadcast`].
use crate::cuda::sums::add_column_sums;
use crate::op::linear::cuda::add_row;
use crate::tensor::cuda::{Cuda, Param, address, len, record_hidden, zeros};
use crate::tensor::{Hidden, Spans, Track};

pub fn broadcast<T: Track<Cuda>>(b: &Param, spans: Spans, tape: T) -> Hidden<T, Cuda> {
    let (b, frames, width) = (b.clone(), spans.total(), len(b));
    let y = zeros((frames, width));
    add_row(address(&y), &b, frames);
    record_hidden(y, spans, tape, move |dy, g| {
        add_column_sums(dy, g.to(&b), frames, width)
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn broadcast_is_that_of_the_cpu() {
        let (case, spans) = (Case::new(&ROWS, 7, &[7]), Case::new(&ROWS, 7, &[]).x.spans);
        both!(&case, |_x, p, tape, _precision| broadcast(
            &p[0],
            spans.clone(),
            tape.clone()
        )
        .values);
    }
}
