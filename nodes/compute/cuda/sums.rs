//! Sums over rows, in a fixed order: blocks of rows first, then the blocks (sums.cu).
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::kernels::{self, Grid, Pack, SumTargets};
use crate::gemm::Precision;

/// The sums of blocks of rows, of one array or of several of one shape: (sums, blocks, width), which
/// kernels write and [`Parts::add`] adds.
pub(crate) struct Parts {
    memory: Memory,
    width: usize,
    /// The columns that are added, without those that only fill up the width.
    columns: usize,
    count: usize,
    /// Rows of a block.
    pub per: usize,
}

/// The most blocks of rows. More would occupy the GPU sooner, and take longer to add.
const MOST_BLOCKS: usize = 128;

impl Parts {
    pub(crate) fn new(rows: usize, width: usize) -> Parts {
        Parts::several(1, rows, width)
    }

    /// Allocates the parts of this many sums.
    pub(crate) fn several(sums: usize, rows: usize, width: usize) -> Parts {
        let per = rows.div_ceil(MOST_BLOCKS).next_multiple_of(64);
        let count = rows.div_ceil(per.max(1));
        Parts {
            memory: gpu().memory(Precision::F32, sums * count * width),
            width,
            columns: width,
            count,
            per,
        }
    }

    /// Adds the first columns alone: the others fill up the width.
    pub(crate) fn of_columns(self, columns: usize) -> Parts {
        Parts { columns, ..self }
    }

    /// Returns the address of the parts of a sum.
    pub(crate) fn of_sum(&self, sum: usize) -> Address {
        self.memory.element(sum * self.count * self.width)
    }

    /// Returns the number of blocks of rows.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Returns the grid of a kernel that writes the parts of a sum.
    pub(crate) fn grid(&self) -> Grid {
        [columns(self.width), self.count]
    }

    /// to (columns) += the sum of the parts, for each of the first sums, of which a kernel takes three
    pub(crate) fn add<const SUMS: usize>(&self, to: [Address; SUMS]) {
        const { assert!(SUMS <= 3) };
        let target = |sum: usize| to.get(sum).copied().unwrap_or(0);
        let targets = SumTargets {
            first: target(0),
            second: target(1),
            third: target(2),
        };
        let grid = [self.columns.div_ceil(32), SUMS];
        kernels::add_parts(
            grid,
            self.memory.at(),
            targets,
            self.count,
            self.width,
            self.columns,
        );
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
    add_sums_of(precision, [x], [to], rows, width);
}

/// to (columns) += column sums of the first columns of x (rows, width), which is in the format of a
/// precision
pub(crate) fn add_padded_sums(
    precision: Precision,
    x: Address,
    to: Address,
    rows: usize,
    [width, columns]: [usize; 2],
) {
    let parts = Parts::new(rows, width).of_columns(columns);
    write_sums(precision, x, &parts, 0, rows);
    parts.add([to]);
}

/// As [`add_narrow_sums`], for several x of one shape.
pub(crate) fn add_sums_of<const SUMS: usize>(
    precision: Precision,
    x: [Address; SUMS],
    to: [Address; SUMS],
    rows: usize,
    width: usize,
) {
    let parts = Parts::several(SUMS, rows, width);
    for (sum, x) in x.into_iter().enumerate() {
        write_sums(precision, x, &parts, sum, rows);
    }
    parts.add(to);
}

/// Writes the parts of the column sums of x.
fn write_sums(precision: Precision, x: Address, parts: &Parts, sum: usize, rows: usize) {
    let width = parts.width;
    kernels::column_sums(
        precision,
        Pack::of(width),
        parts.grid(),
        x,
        parts.of_sum(sum),
        rows,
        width,
        parts.per,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{close, noise};
    use crate::tensor::cuda::{address, param, read};

    #[test]
    fn columns_of_many_rows_are_summed() {
        const ROWS: usize = 20_000;
        const WIDTH: usize = 37;
        let x = ["a", "b", "c"].map(|name| noise(name, ROWS * WIDTH));
        let on_gpu = x.each_ref().map(|x| param(x.clone()));
        let to = [1.0, 2.0, 3.0].map(|start| param(vec![start; WIDTH]));
        let addresses = [&on_gpu, &to].map(|arrays| arrays.each_ref().map(address));
        add_sums_of(Precision::F32, addresses[0], addresses[1], ROWS, WIDTH);
        for (number, (x, to)) in x.iter().zip(&to).enumerate() {
            let mut expected = [number as f64 + 1.0; WIDTH];
            for row in x.chunks_exact(WIDTH) {
                for (sum, x) in expected.iter_mut().zip(row) {
                    *sum += *x as f64;
                }
            }
            close(&read(to), &expected, 1e-5);
        }
    }
}
