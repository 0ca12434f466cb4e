//! Arrays of f64, on which a graph is evaluated.

/// Values in row-major order.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
    /// Whether they are whole numbers, which divide without a rest.
    pub(super) whole: bool,
}

impl Array {
    pub(super) fn new(shape: Vec<usize>, values: Vec<f64>) -> Array {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        Array {
            shape,
            values,
            whole: false,
        }
    }

    pub(super) fn whole(shape: Vec<usize>, values: Vec<f64>) -> Array {
        Array {
            whole: true,
            ..Array::new(shape, values)
        }
    }

    /// Returns the values as sizes or places.
    pub(super) fn ints(&self) -> Vec<i64> {
        self.values.iter().map(|x| *x as i64).collect()
    }

    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Array {
        Array {
            shape: self.shape.clone(),
            values: self.values.iter().map(|x| f(*x)).collect(),
            whole: self.whole,
        }
    }

    /// Combines two arrays, of which sizes of 1 are repeated.
    pub(super) fn zip(&self, other: &Array, f: impl Fn(f64, f64) -> f64) -> Array {
        let rank = self.shape.len().max(other.shape.len());
        let shapes = [&self.shape, &other.shape].map(|shape| padded(shape, rank));
        let shape: Vec<usize> = (0..rank)
            .map(|d| joined(shapes[0][d], shapes[1][d]))
            .collect();
        let strides = shapes.each_ref().map(|own| broadcast_strides(own));
        let count = shape.iter().product();
        let mut values = Vec::with_capacity(count);
        let mut coordinates = vec![0; rank];
        for _ in 0..count {
            let [a, b] = strides.each_ref().map(|strides| dot(&coordinates, strides));
            values.push(f(self.values[a], other.values[b]));
            advance(&mut coordinates, &shape);
        }
        Array {
            shape,
            values,
            whole: self.whole && other.whole,
        }
    }

    pub(super) fn transposed(&self, order: &[usize]) -> Array {
        let own = strides(&self.shape);
        let shape: Vec<usize> = order.iter().map(|d| self.shape[*d]).collect();
        let turned: Vec<usize> = order.iter().map(|d| own[*d]).collect();
        let mut values = Vec::with_capacity(self.values.len());
        let mut coordinates = vec![0; shape.len()];
        for _ in 0..self.values.len() {
            values.push(self.values[dot(&coordinates, &turned)]);
            advance(&mut coordinates, &shape);
        }
        Array::new(shape, values)
    }

    /// Takes entries `places` of an axis, in place of which come the axes of `shape`.
    pub(super) fn taken(&self, axis: usize, places: &[usize], shape: &[usize]) -> Array {
        let entry_size: usize = self.shape[axis + 1..].iter().product();
        let size = self.shape[axis];
        let mut values = vec![];
        for block in self.values.chunks_exact(size * entry_size) {
            for place in places {
                values.extend_from_slice(&block[place * entry_size..(place + 1) * entry_size]);
            }
        }
        let shape = [&self.shape[..axis], shape, &self.shape[axis + 1..]].concat();
        Array {
            shape,
            values,
            whole: self.whole,
        }
    }

    /// Multiplies the matrices in the last two axes; axes before them are repeated as in `zip`.
    pub(super) fn product(&self, other: &Array) -> Array {
        let [m, k] = last_two(&self.shape);
        let [_, n] = last_two(&other.shape);
        let rank = self.shape.len().max(other.shape.len());
        let shapes = [&self.shape, &other.shape].map(|shape| padded(shape, rank));
        let outer = rank - 2;
        let sizes: Vec<usize> = (0..outer)
            .map(|d| joined(shapes[0][d], shapes[1][d]))
            .collect();
        let strides = shapes
            .each_ref()
            .map(|own| broadcast_strides(&own[..outer]));
        let count: usize = sizes.iter().product();
        let mut values = vec![0.0; count * m * n];
        let mut coordinates = vec![0; outer];
        for product in values.chunks_exact_mut((m * n).max(1)).take(count) {
            let [a, b] = strides.each_ref().map(|strides| dot(&coordinates, strides));
            let left = &self.values[a * m * k..(a + 1) * m * k];
            let right = &other.values[b * k * n..(b + 1) * k * n];
            multiply(left, right, product, k, n);
            advance(&mut coordinates, &sizes);
        }
        Array::new([sizes, vec![m, n]].concat(), values)
    }
}

/// Adds the product of (m, k) and (k, n) to (m, n).
pub(super) fn multiply(left: &[f64], right: &[f64], product: &mut [f64], k: usize, n: usize) {
    for (row, sums) in left.chunks_exact(k).zip(product.chunks_exact_mut(n)) {
        for (x, weights) in row.iter().zip(right.chunks_exact(n)) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += x * weight;
            }
        }
    }
}

fn last_two(shape: &[usize]) -> [usize; 2] {
    [shape[shape.len() - 2], shape[shape.len() - 1]]
}

fn padded(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut padded = vec![1; rank - shape.len()];
    padded.extend(shape);
    padded
}

fn joined(a: usize, b: usize) -> usize {
    assert!(a == b || a == 1 || b == 1, "sizes {a} and {b} do not fit");
    if a == 1 { b } else { a }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    strides
}

fn broadcast_strides(shape: &[usize]) -> Vec<usize> {
    let strides = strides(shape).into_iter().zip(shape);
    strides
        .map(|(stride, size)| if *size == 1 { 0 } else { stride })
        .collect()
}

fn dot(coordinates: &[usize], strides: &[usize]) -> usize {
    coordinates.iter().zip(strides).map(|(c, s)| c * s).sum()
}

/// Goes to the next entry.
fn advance(coordinates: &mut [usize], shape: &[usize]) {
    for (coordinate, size) in coordinates.iter_mut().zip(shape).rev() {
        *coordinate += 1;
        if *coordinate < *size {
            return;
        }
        *coordinate = 0;
    }
}
