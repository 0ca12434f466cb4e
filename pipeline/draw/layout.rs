//! Layout of a directed graph in rows (Sugiyama, Tagawa and Toda 1981).
//!
//! Items get rows by their longest path. A link over several rows keeps an empty place in each row
//! that it passes. Rows are ordered by the mean positions of their neighbours, and positions are
//! the least-squares fit to those means.

/// A box in a row.
pub(super) struct RowItem {
    pub(super) row: usize,
    pub(super) width: f64,
}

/// A link from an item to an item of a later row.
pub(super) struct RowLink {
    /// Indices of the two items.
    pub(super) items: [usize; 2],
    /// Where the link ends on each item, from the item's middle.
    pub(super) offsets: [f64; 2],
}

/// The x of everything in the rows.
pub(super) struct RowPositions {
    /// The middle of each item.
    pub(super) items: Vec<f64>,
    /// For each link, where it passes each row between those of its items.
    pub(super) passes: Vec<Vec<f64>>,
}

/// Space between the neighbours of a row, in pixels.
const GAP: f64 = 26.0;
/// Width of the empty place of a link in a row that it passes.
pub(super) const PASS_WIDTH: f64 = 14.0;
/// Sweeps, down and up in turn, that order the rows.
const ORDERING_SWEEPS: usize = 6;
/// Later sweeps, which only move items.
const SETTLING_SWEEPS: usize = 40;
/// Weight of the neighbour in the next row for a link that passes both rows: keeps long links
/// straight. All other neighbours have weight 1.
const STRAIGHT_WEIGHT: f64 = 6.0;

/// Returns the row of each of `count` items: below the rows of all items that link to it.
///
/// An item that nothing links to stands in the row just above its first successor.
pub(super) fn rows(count: usize, links: &[[usize; 2]]) -> Vec<usize> {
    let mut rows = vec![0; count];
    for _ in 0..count {
        for &[from, to] in links {
            rows[to] = rows[to].max(rows[from] + 1);
        }
    }
    for item in 0..count {
        if links.iter().any(|&[_, to]| to == item) {
            continue;
        }
        let successors = links.iter().filter(|&&[from, _]| from == item);
        let next_row = successors.map(|&[_, to]| rows[to]).min();
        rows[item] = next_row.map_or(0, |row| row - 1);
    }
    rows
}

/// An item, or the empty place of a link in a row.
struct Spot {
    width: f64,
    is_pass: bool,
    x: f64,
    /// Neighbours in the row above, and in the row below.
    neighbours: [Vec<Neighbour>; 2],
}

/// A spot in the next row that a spot is linked to.
struct Neighbour {
    spot: usize,
    /// Where the link would place this spot's middle, from the middle of the neighbour.
    offset: f64,
}

/// The spots, and their order in each row.
struct SpotRows {
    spots: Vec<Spot>,
    rows: Vec<Vec<usize>>,
}

/// Returns the positions of items and links.
pub(super) fn positions(items: &[RowItem], links: &[RowLink]) -> RowPositions {
    let row_count = items.iter().map(|item| item.row + 1).max().unwrap_or(0);
    let mut spot_rows = SpotRows {
        spots: vec![],
        rows: vec![vec![]; row_count],
    };
    for item in items {
        spot_rows.add(item.row, item.width, false);
    }
    let mut passes: Vec<Vec<usize>> = vec![];
    for link in links {
        let [from, to] = link.items;
        let [from_offset, to_offset] = link.offsets;
        let mut pass = vec![];
        let mut last_spot = (from, from_offset);
        for row in items[from].row + 1..items[to].row {
            let spot = spot_rows.add(row, PASS_WIDTH, true);
            spot_rows.connect(last_spot, (spot, 0.0));
            last_spot = (spot, 0.0);
            pass.push(spot);
        }
        spot_rows.connect(last_spot, (to, to_offset));
        passes.push(pass);
    }
    for sweep in 0..ORDERING_SWEEPS + SETTLING_SWEEPS {
        spot_rows.sweep(sweep % 2, sweep < ORDERING_SWEEPS);
    }
    let x = |spot: &usize| spot_rows.spots[*spot].x;
    RowPositions {
        items: (0..items.len()).map(|item| x(&item)).collect(),
        passes: passes
            .iter()
            .map(|pass| pass.iter().map(x).collect())
            .collect(),
    }
}

impl SpotRows {
    /// Adds a spot at the end of a row and returns its index.
    fn add(&mut self, row: usize, width: f64, is_pass: bool) -> usize {
        let spot = self.spots.len();
        self.spots.push(Spot {
            width,
            is_pass,
            x: 0.0,
            neighbours: [vec![], vec![]],
        });
        self.rows[row].push(spot);
        spot
    }

    /// Links two spots of adjacent rows, each with the offset at which the link ends.
    fn connect(&mut self, above: (usize, f64), below: (usize, f64)) {
        let (above_spot, above_offset) = above;
        let (below_spot, below_offset) = below;
        self.spots[below_spot].neighbours[0].push(Neighbour {
            spot: above_spot,
            offset: above_offset - below_offset,
        });
        self.spots[above_spot].neighbours[1].push(Neighbour {
            spot: below_spot,
            offset: below_offset - above_offset,
        });
    }

    /// Moves the spots of each row towards their neighbours: downwards for `side` 0, upwards for 1.
    ///
    /// With `orders`, only the neighbours of the row before count, and the row is sorted by them.
    fn sweep(&mut self, side: usize, orders: bool) {
        for i in 0..self.rows.len() {
            let row = if side == 0 {
                i
            } else {
                self.rows.len() - 1 - i
            };
            let sides = if orders { side..side + 1 } else { 0..2 };
            let mut wishes: Vec<(usize, f64)> = vec![];
            for &spot in &self.rows[row] {
                wishes.push((spot, self.wish(spot, sides.clone())));
            }
            if orders {
                wishes.sort_by(|(_, a), (_, b)| a.total_cmp(b));
                self.rows[row] = wishes.iter().map(|(spot, _)| *spot).collect();
            }
            self.settle(&wishes);
        }
    }

    /// Returns where a spot would be if it were alone in its row: at the weighted mean of what its
    /// neighbours on `sides` imply. A spot without neighbours stays where it is.
    fn wish(&self, spot: usize, sides: std::ops::Range<usize>) -> f64 {
        let weight = |neighbour: &Neighbour| {
            if self.spots[spot].is_pass && self.spots[neighbour.spot].is_pass {
                STRAIGHT_WEIGHT
            } else {
                1.0
            }
        };
        let neighbours = || self.spots[spot].neighbours[sides.clone()].iter().flatten();
        if neighbours().next().is_none() {
            return self.spots[spot].x;
        }
        let total_weight: f64 = neighbours().map(weight).sum();
        let sum: f64 = neighbours()
            .map(|n| weight(n) * (self.spots[n.spot].x + n.offset))
            .sum();
        sum / total_weight
    }

    /// Moves the spots of a row, given in their order, as near to their wishes as their widths
    /// allow: neighbours whose wishes overlap stand together at their mean (pool adjacent
    /// violators).
    fn settle(&mut self, wishes: &[(usize, f64)]) {
        // The number of spots in each pool, and the sum of where they want the row to begin.
        let mut pools: Vec<(usize, f64)> = vec![];
        // The middle of each spot in a row that begins at 0.
        let mut shifts = vec![];
        let mut shift = 0.0;
        for (i, &(spot, wish)) in wishes.iter().enumerate() {
            if i > 0 {
                let (previous, _) = wishes[i - 1];
                shift += (self.spots[previous].width + self.spots[spot].width) / 2.0 + GAP;
            }
            shifts.push(shift);
            pools.push((1, wish - shift));
            while let [.., (n, left), (m, right)] = pools[..]
                && left / n as f64 > right / m as f64
            {
                pools.truncate(pools.len() - 2);
                pools.push((n + m, left + right));
            }
        }
        let starts = pools
            .iter()
            .flat_map(|&(count, sum)| std::iter::repeat_n(sum / count as f64, count));
        for ((&(spot, _), start), shift) in wishes.iter().zip(starts).zip(shifts) {
            self.spots[spot].x = start + shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_links_and_sources_stand_above_their_successor() {
        assert_eq!(rows(5, &[[0, 1], [1, 2], [0, 2], [3, 2]]), [0, 1, 2, 1, 0]);
    }

    #[test]
    fn nothing_overlaps_and_a_long_link_has_a_place() {
        let items = [(0, 100.0), (1, 100.0), (1, 60.0), (2, 100.0)];
        let items = items.map(|(row, width)| RowItem { row, width });
        let links = [[0, 1], [0, 2], [1, 3], [0, 3]].map(|items| RowLink {
            items,
            offsets: [0.0, 0.0],
        });
        let found = positions(&items, &links);
        let mut row = [
            (found.items[1], 100.0),
            (found.items[2], 60.0),
            (found.passes[3][0], PASS_WIDTH),
        ];
        row.sort_by(|a, b| a.0.total_cmp(&b.0));
        for pair in row.windows(2) {
            let distance = pair[1].0 - pair[0].0;
            let least = (pair[0].1 + pair[1].1) / 2.0 + GAP;
            assert!(distance >= least - 1e-9, "{row:?}");
        }
        assert!(found.passes.iter().map(Vec::len).eq([0, 0, 0, 1]));
    }
}
