//! Sums over rows, in a fixed order: blocks of rows first, then the blocks (kernels/sums.cu).
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::kernels::{self, Pack};
use crate::gemm::Precision;

/// A sum for each block of rows.
pub struct Parts {
    memory: Memory,
    width: usize,
    count: usize,
    /// Rows that a block sums.
    pub per: usize,
}

/// More blocks would be faster to fill and slower to add.
const MOST: usize = 128;

impl Parts {
    pub fn new(rows: usize, width: usize) -> Parts {
        let per = rows.div_ceil(MOST).next_multiple_of(64);
        let count = rows.div_ceil(per.max(1));
        Parts {
            memory: gpu().memory(Precision::F32, count * width),
            width,
            count,
            per,
        }
    }
    pub fn at(&self) -> Address {
        self.memory.at()
    }
    pub fn count(&self) -> usize {
        self.count
    }
    /// Blocks of the kernel that fills it.
    pub fn grid(&self) -> [usize; 2] {
        [columns(self.width), self.count]
    }
    /// to += their sum.
    pub fn add(&self, to: Address) {
        kernels::add_parts(
            [self.width.div_ceil(256), 1],
            self.at(),
            to,
            self.count,
            self.width,
        );
    }
}

/// Blocks beside each other that such a kernel has.
pub fn columns(width: usize) -> usize {
    width.div_ceil(32 * Pack::of(width).numbers())
}

/// to += factor Σ numbers, summed in f64.
pub fn add_sum(numbers: &Memory, to: Address, n: usize, factor: f64) {
    kernels::add_sum([1, 1], numbers.at(), to, n, factor);
}

/// to += column sums of x (rows, width).
pub fn add_column_sums(x: Address, to: Address, rows: usize, width: usize) {
    add_narrow_sums(Precision::F32, x, to, rows, width);
}

/// The same of numbers in the format of products.
pub fn add_narrow_sums(precision: Precision, x: Address, to: Address, rows: usize, width: usize) {
    let parts = Parts::new(rows, width);
    kernels::column_sums(
        precision,
        Pack::of(width),
        parts.grid(),
        x,
        parts.at(),
        rows,
        width,
        parts.per,
    );
    parts.add(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{close, noise};
    use crate::tensor::cuda::{address, param, read};

    #[test]
    fn columns_of_many_rows_are_summed() {
        let (rows, width) = (20_000, 5);
        let (x, to) = (noise("x", rows * width), param(vec![1.0; width]));
        add_column_sums(address(&param(x.clone())), address(&to), rows, width);
        let column = |c: usize| {
            1.0 + x
                .iter()
                .skip(c)
                .step_by(width)
                .map(|x| *x as f64)
                .sum::<f64>()
        };
        close(
            &read(&to),
            &(0..width).map(column).collect::<Vec<_>>(),
            1e-5,
        );
    }
}
