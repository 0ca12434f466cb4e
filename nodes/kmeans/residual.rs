//! Residual quantisation: a frame x becomes one code of each of B books, and is read back as the sum
//! of their codewords, x ≈ c₁ + … + c_B (Juang and Gray 1982, "multiple stage vector quantization").
//!
//! Each book holds centroids of what the books before it leave of the frames, x - c₁ - … - c_(b-1),
//! found by k-means; a frame takes the nearest of each book in turn.
mod file;

use super::{Centroids, FitOptions, fit};
use crate::Result;
use compute::random::Key;

pub use file::{CodebookFile, FILE};

/// Codewords of a book, so that a code is one byte.
pub const CODES: usize = 256;

/// Books of [`CODES`] codewords of one width.
#[derive(Clone, Debug, PartialEq)]
pub struct Codebooks {
    books: Vec<Centroids>,
}

/// How to fit codebooks.
pub struct CodebookOptions<'a> {
    pub books: usize,
    /// Frames of a mini-batch of k-means.
    pub batch: usize,
    /// Passes over all frames for each book.
    pub passes: usize,
    /// Returns the key of the draws for a book.
    pub key: &'a dyn Fn(usize) -> Key,
}

impl Codebooks {
    /// Fits books to `frames`, (frames, width), of which there are at least [`CODES`]. Returns them
    /// and the relative error, the root of Σ|x - c₁ - … - c_B|² / Σ|x|².
    pub fn fit(mut frames: Vec<f32>, width: usize, options: &CodebookOptions) -> (Codebooks, f64) {
        let square = |frames: &[f32]| frames.iter().map(|&x| x as f64 * x as f64).sum::<f64>();
        let total = square(&frames);
        let mut books = vec![];
        for book in 0..options.books {
            let fit_options = FitOptions {
                clusters: CODES,
                batch: options.batch,
                passes: options.passes,
                key: (options.key)(book),
            };
            let (centroids, _) = fit(&frames, width, &fit_options);
            subtract_nearest(&mut frames, &centroids);
            books.push(centroids);
        }
        let left = square(&frames);
        let error = if total > 0.0 {
            (left / total).sqrt()
        } else {
            0.0
        };
        (Codebooks { books }, error)
    }

    /// Returns the number of values of a frame.
    pub fn width(&self) -> usize {
        self.books[0].width
    }

    /// Returns the number of books, which is the number of bytes of a frame.
    pub fn count(&self) -> usize {
        self.books.len()
    }

    /// Returns the codes of frames, (frames, books).
    ///
    /// # Errors
    /// A value is not finite.
    pub fn encode(&self, frames: &[f32]) -> Result<Vec<u8>> {
        if !frames.iter().all(|x| x.is_finite()) {
            return Err("a value is not finite, which no codebook holds".into());
        }
        let books = self.count();
        let mut rest = frames.to_vec();
        let mut codes = vec![0; frames.len() / self.width() * books];
        for (book, centroids) in self.books.iter().enumerate() {
            let chosen = subtract_nearest(&mut rest, centroids);
            for (code, centroid) in codes.chunks_exact_mut(books).zip(chosen) {
                code[book] = centroid as u8;
            }
        }
        Ok(codes)
    }

    /// Returns the sum of the codewords of each frame, added in the order of the books.
    pub fn decode(&self, codes: &[u8]) -> Vec<f32> {
        let width = self.width();
        let mut frames = Vec::with_capacity(codes.len() / self.count() * width);
        for codes in codes.chunks_exact(self.count()) {
            let start = frames.len();
            for (book, &code) in self.books.iter().zip(codes) {
                let word = &book.values[code as usize * width..(code as usize + 1) * width];
                if frames.len() == start {
                    frames.extend_from_slice(word);
                } else {
                    let sums = frames[start..].iter_mut();
                    sums.zip(word).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        frames
    }
}

/// Subtracts the nearest centroid from each frame, and returns which it is.
fn subtract_nearest(frames: &mut [f32], centroids: &Centroids) -> Vec<u32> {
    let width = centroids.width;
    let nearest = centroids.nearest(frames);
    for (frame, nearest) in frames.chunks_exact_mut(width).zip(&nearest) {
        let start = nearest.centroid as usize * width;
        let centroid = &centroids.values[start..start + width];
        frame.iter_mut().zip(centroid).for_each(|(x, c)| *x -= c);
    }
    nearest.iter().map(|nearest| nearest.centroid).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use compute::random::noise;

    /// Fits books to noise.
    pub(crate) fn fitted(books: usize, width: usize) -> (Vec<f32>, Codebooks, f64) {
        let frames = noise("frames", 600 * width);
        let options = CodebookOptions {
            books,
            batch: 300,
            passes: 2,
            key: &|book| Key::new(5, &[&book.to_string()]),
        };
        let (codebooks, error) = Codebooks::fit(frames.clone(), width, &options);
        (frames, codebooks, error)
    }

    fn relative_error(frames: &[f32], decoded: &[f32]) -> f64 {
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let differences = frames.iter().zip(decoded);
        let left = squares(&mut differences.map(|(x, y)| *x as f64 - *y as f64));
        (left / squares(&mut frames.iter().map(|&x| x as f64))).sqrt()
    }

    #[test]
    fn more_books_leave_less() {
        let mut before = 1.0;
        for books in [1, 2, 4] {
            let (frames, codebooks, error) = fitted(books, 5);
            let codes = codebooks.encode(&frames).unwrap();
            assert_eq!(codes.len(), 600 * books);
            let found = relative_error(&frames, &codebooks.decode(&codes));
            assert!((found - error).abs() < 1e-4, "{found} {error}");
            assert!(found < 0.7 * before, "{books}: {found}");
            before = found;
        }
    }

    #[test]
    fn a_frame_takes_the_nearest_of_each_book_in_turn() {
        let (frames, codebooks, _) = fitted(3, 4);
        for frame in frames.chunks(4).take(50) {
            let mut rest: Vec<f64> = frame.iter().map(|&x| x as f64).collect();
            let codes = codebooks.encode(frame).unwrap();
            for (book, code) in codebooks.books.iter().zip(codes) {
                let distance = |word: &[f32]| -> f64 {
                    let pairs = rest.iter().zip(word);
                    pairs.map(|(x, c)| (x - *c as f64).powi(2)).sum()
                };
                let words: Vec<&[f32]> = book.values.chunks(4).collect();
                let distances = words.iter().map(|word| distance(word));
                let least = distances.fold(f64::INFINITY, f64::min);
                let word = words[code as usize];
                assert!(distance(word) < least + 1e-4);
                rest.iter_mut().zip(word).for_each(|(x, c)| *x -= *c as f64);
            }
        }
        assert!(codebooks.encode(&[0.0, f32::NAN, 0.0, 0.0]).is_err());
        assert!(codebooks.encode(&[]).unwrap().is_empty());
    }
}
