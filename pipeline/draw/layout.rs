//! Places for things that follow each other, in rows (Sugiyama, Tagawa and Toda 1981): rows by longest path; a link over
//! several rows keeps an empty place in each between; the order of a row by the means of its neighbours; places by least
//! squares from those means.

pub struct Item {
    pub row: usize,
    pub width: f64,
}

/// From an item to one in a later row; `at` is where on each, from its middle.
pub struct Link {
    pub ends: [usize; 2],
    pub at: [f64; 2],
}

/// All x.
pub struct Places {
    /// The middle of each item.
    pub items: Vec<f64>,
    /// Of each link, where it passes the rows between its ends.
    pub passes: Vec<Vec<f64>>,
}

const GAP: f64 = 26.0;
/// A link's empty place.
pub const PASS: f64 = 14.0;
/// Sweeps that order rows, down and up in turn, and sweeps that only move.
const ORDERS: usize = 6;
const SETTLES: usize = 40;
/// How much more a link wants to be straight between two rows that it passes.
const STRAIGHT: f64 = 6.0;

/// The row of each of `n` items: after all that lead to it. What nothing leads to stands just before what it leads to.
pub fn rows(n: usize, links: &[[usize; 2]]) -> Vec<usize> {
    let mut rows = vec![0; n];
    for _ in 0..n {
        links
            .iter()
            .for_each(|&[a, b]| rows[b] = rows[b].max(rows[a] + 1));
    }
    for first in (0..n).filter(|i| links.iter().all(|l| l[1] != *i)) {
        let next = links
            .iter()
            .filter(|l| l[0] == first)
            .map(|l| rows[l[1]])
            .min();
        rows[first] = next.map_or(0, |row| row - 1);
    }
    rows
}

/// A place in a row: an item's, or a link's.
struct Spot {
    width: f64,
    pass: bool,
    x: f64,
    /// What pulls from the row above and from the row below: the spot, and how far from its middle.
    pulls: [Vec<(usize, f64)>; 2],
}

pub fn places(items: &[Item], links: &[Link]) -> Places {
    let mut spots: Vec<Spot> = vec![];
    let mut rows: Vec<Vec<usize>> =
        vec![vec![]; items.iter().map(|i| i.row + 1).max().unwrap_or(0)];
    let mut add = |row: usize, width: f64, pass: bool, spots: &mut Vec<Spot>| {
        spots.push(Spot {
            width,
            pass,
            x: 0.0,
            pulls: [vec![], vec![]],
        });
        rows[row].push(spots.len() - 1);
        spots.len() - 1
    };
    for item in items {
        add(item.row, item.width, false, &mut spots);
    }
    let mut passes = vec![];
    for Link {
        ends: [from, to],
        at,
    } in links
    {
        let rows = items[*from].row + 1..items[*to].row;
        let between: Vec<usize> = rows.map(|row| add(row, PASS, true, &mut spots)).collect();
        let mut above = (*from, at[0]);
        for below in between.iter().map(|s| (*s, 0.0)).chain([(*to, at[1])]) {
            spots[below.0].pulls[0].push((above.0, above.1 - below.1));
            spots[above.0].pulls[1].push((below.0, below.1 - above.1));
            above = (below.0, 0.0);
        }
        passes.push(between);
    }
    let downwards: Vec<usize> = (0..rows.len()).collect();
    let upwards: Vec<usize> = downwards.iter().rev().copied().collect();
    for sweep in 0..ORDERS + SETTLES {
        let (orders, side) = (sweep < ORDERS, sweep % 2);
        let pulls = |s: &Spot| {
            if orders {
                s.pulls[side].clone()
            } else {
                s.pulls.concat()
            }
        };
        let wish = |spots: &[Spot], s: usize| mean(spots, s, &pulls(&spots[s]));
        for &row in if side == 0 { &downwards } else { &upwards } {
            if orders {
                rows[row].sort_by(|a, b| wish(&spots, *a).total_cmp(&wish(&spots, *b)));
            }
            settle(&rows[row], &mut spots, wish);
        }
    }
    let x = |spot: &usize| spots[*spot].x;
    let items = (0..items.len()).map(|i| spots[i].x).collect();
    Places {
        items,
        passes: passes
            .iter()
            .map(|spots| spots.iter().map(x).collect())
            .collect(),
    }
}

/// Where a spot would be if it were alone: where it is, if nothing pulls.
fn mean(spots: &[Spot], spot: usize, pulls: &[(usize, f64)]) -> f64 {
    let weight = |other: usize| {
        if spots[spot].pass && spots[other].pass {
            STRAIGHT
        } else {
            1.0
        }
    };
    let all: f64 = pulls.iter().map(|(s, _)| weight(*s)).sum();
    let sum: f64 = pulls
        .iter()
        .map(|(s, beside)| weight(*s) * (spots[*s].x + beside))
        .sum();
    if pulls.is_empty() {
        spots[spot].x
    } else {
        sum / all
    }
}

/// Keeps the order and the widths of a row, and moves each spot as little from its wish as that allows: neighbours whose
/// wishes overlap stand together at their mean (pool adjacent violators).
fn settle(row: &[usize], spots: &mut [Spot], wish: impl Fn(&[Spot], usize) -> f64) {
    // Spots of a pool, sum of their wishes less `shift`, where each would be if the pool began at 0.
    let (mut pools, mut shift): (Vec<(usize, f64)>, f64) = (vec![], 0.0);
    let mut shifts = vec![];
    for (i, &s) in row.iter().enumerate() {
        shift += if i == 0 {
            0.0
        } else {
            (spots[row[i - 1]].width + spots[s].width) / 2.0 + GAP
        };
        shifts.push(shift);
        pools.push((1, wish(spots, s) - shift));
        while let [.., (n, left), (m, right)] = pools[..]
            && left / n as f64 > right / m as f64
        {
            pools.truncate(pools.len() - 2);
            pools.push((n + m, left + right));
        }
    }
    let places = pools
        .iter()
        .flat_map(|&(n, sum)| std::iter::repeat_n(sum / n as f64, n));
    for ((&s, place), shift) in row.iter().zip(places).zip(shifts) {
        spots[s].x = place + shift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_links_and_sources_stand_near() {
        assert_eq!(rows(5, &[[0, 1], [1, 2], [0, 2], [3, 2]]), [0, 1, 2, 1, 0]);
    }

    #[test]
    fn nothing_overlaps_and_a_long_link_is_straight() {
        let items =
            [(0, 100.0), (1, 100.0), (1, 60.0), (2, 100.0)].map(|(row, width)| Item { row, width });
        let links = [[0, 1], [0, 2], [1, 3], [0, 3]].map(|ends| Link {
            ends,
            at: [0.0, 0.0],
        });
        let found = places(&items, &links);
        let mut row = [
            (found.items[1], 100.0),
            (found.items[2], 60.0),
            (found.passes[3][0], PASS),
        ];
        row.sort_by(|a, b| a.0.total_cmp(&b.0));
        for pair in row.windows(2) {
            assert!(
                pair[1].0 - pair[0].0 >= (pair[0].1 + pair[1].1) / 2.0 + GAP - 1e-9,
                "{row:?}"
            );
        }
        assert!(found.passes.iter().map(Vec::len).eq([0, 0, 0, 1]));
    }
}
