//! Sums over rows, in a fixed order: blocks of rows first, then the blocks (sums.cu).
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::kernels::{self, Grid, Pack};
use crate::gemm::Precision;

/// The sums of blocks of rows (blocks, width), which kernels write and [`Parts::add`] adds.
pub(crate) struct Parts {
    memory: Memory,
    width: usize,
    count: usize,
    /// Rows of a block.
    pub per: usize,
}

/// The most blocks of rows. More would occupy the GPU sooner, and take longer to add.
const MOST_BLOCKS: usize = 128;

impl Parts {
    pub(crate) fn new(rows: usize, width: usize) -> Parts {
        let per = rows.div_ceil(MOST_BLOCKS).next_multiple_of(64);
        let count = rows.div_ceil(per.max(1));
        Parts {
            memory: gpu().memory(Precision::F32, count * width),
            width,
            count,
            per,
        }
    }

    pub(crate) fn at(&self) -> Address {
        self.memory.at()
    }

    /// Returns the number of blocks of rows.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Returns the grid of a kernel that writes the parts.
    pub(crate) fn grid(&self) -> Grid {
        [columns(self.width), self.count]
    }

    /// to (width) += the sum of the parts
    pub(crate) fn add(&self, to: Address) {
        let grid = [self.width.div_ceil(256), 1];
        kernels::add_parts(grid, self.at(), to, self.count, self.width);
    }
}

/// Returns the blocks over the columns of a kernel that sums rows.
pub(crate) fn columns(width: usize) -> usize {
    width.div_ceil(32 * Pack::of(width).numbers())
}

/// to (1) += factor times the sum of `n` numbers, in f64
pub(crate) fn add_sum(numbers: &Memory, to: Address, n: usize, factor: f64) {
    kernels::add_sum([1, 1], numbers.at(), to, n, factor);
}

/// to (width) += column sums of x (rows, width), in f32
pub(crate) fn add_column_sums(x: Address, to: Address, rows: usize, width: usize) {
    add_narrow_sums(Precision::F32, x, to, rows, width);
}

/// to (width) += column sums of x (rows, width), which is in the format of a precision
pub(crate) fn add_narrow_sums(
    precision: Precision,
    x: Address,
    to: Address,
    rows: usize,
    width: usize,
) {
    let parts = Parts::new(rows, width);
    let pack = Pack::of(width);
    let grid = parts.grid();
    kernels::column_sums(precision, pack, grid, x, parts.at(), rows, width, parts.per);
    parts.add(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{close, noise};
    use crate::tensor::cuda::{address, param, read};

    #[test]
    fn columns_of_many_rows_are_summed() {
        const ROWS: usize = 20_000;
        const WIDTH: usize = 5;
        let x = noise("x", ROWS * WIDTH);
        let to = param(vec![1.0; WIDTH]);
        add_column_sums(address(&param(x.clone())), address(&to), ROWS, WIDTH);
        let mut expected = [1.0; WIDTH];
        for row in x.chunks_exact(WIDTH) {
            for (sum, x) in expected.iter_mut().zip(row) {
                *sum += *x as f64;
            }
        }
        close(&read(&to), &expected, 1e-5);
    }
}
